"""Evaluations gathered into one tidy file."""
