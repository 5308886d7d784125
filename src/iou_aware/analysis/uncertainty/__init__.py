"""How sure a number is, and what follows from it."""
