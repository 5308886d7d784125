"""The images of a split drawn again and again, and every metric on each draw."""
