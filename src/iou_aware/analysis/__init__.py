"""The study: from evaluated runs to metrics, tables, figures, claims and the report."""
