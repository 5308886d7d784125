"""Pages to read: the report, its notebooks, the documentation's results."""
