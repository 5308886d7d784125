"""How confidence goes with IoU."""
