"""Images on which the rule changed most."""
