"""What is read by all that starts from detections: the ground truth, and detections as the evaluators load them."""

from pathlib import Path

import numpy as np

from iou_aware.common.errors import InputError
from iou_aware.data.manifest import Manifest
from iou_aware.detections import Detections
from iou_aware.evaluation.coco import results_array
from iou_aware.experiment.layout import Layout


def results(detections: Detections) -> np.ndarray:
    """Return detections as the evaluators load them, ``(N, 7)``."""
    return results_array(detections.image_ids, detections.boxes, detections.confidences, detections.category_ids)


def annotations_of(paths: Layout, dataset: str, split: str) -> Path:
    """Return the COCO instances file of a split; InputError unless the dataset is prepared and has it."""
    file = paths.root / Manifest.load(paths.manifest(dataset)).split(split).annotations
    if not file.is_file():
        raise InputError(f"{file}: missing, though {dataset} was prepared. Run `iou-aware prepare` for it again.")
    return file
