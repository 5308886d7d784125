"""What every part uses: files, errors, YAML with line numbers, provenance, seals, drawing, Markdown."""
