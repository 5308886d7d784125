"""Inference: one forward pass over a split, whose outputs serve every confidence rule."""
