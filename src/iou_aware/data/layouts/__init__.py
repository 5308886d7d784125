"""How annotations lie on disk, a layout a file."""
