"""Average precision from detections: COCO's measure, and VOC2007's 11-point measure as the paper's authors used it."""
