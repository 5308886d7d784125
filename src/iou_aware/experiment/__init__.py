"""An experiment, as its YAML defines it: runs, tables and files; what they need, and what they would cost."""
