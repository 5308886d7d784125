"""The study: from an experiment's YAML to runs, metrics, tables, figures and the report."""
