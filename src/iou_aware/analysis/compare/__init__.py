"""Sets of detections side by side, of any framework or of runs."""
