"""The miniature data sets: scenes, and what is drawn of them."""
