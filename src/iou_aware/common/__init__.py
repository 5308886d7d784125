"""What every part uses: files, errors and the log, YAML with line numbers, provenance, seals, drawing, Markdown."""
