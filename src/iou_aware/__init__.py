"""IoU-aware single-stage object detection: the head, the confidence rules, and the study that reproduces the paper."""

__version__ = "0.1.0"
