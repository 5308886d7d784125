"""The paper: confidence rules, the IoU loss, the head, its anchors, and the ranking of detections."""
