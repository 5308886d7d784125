"""Tables beside the paper's."""
