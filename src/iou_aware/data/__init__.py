"""Datasets: their layouts, their conversion and checking, the miniatures, and fetching."""
