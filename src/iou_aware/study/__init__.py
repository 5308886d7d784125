"""The study: an experiment's runs, their metrics, and the tables, figures and report made of them."""
