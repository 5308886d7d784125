"""The ground truth, which all that starts from detections reads."""

from pathlib import Path

from iou_aware.common.errors import InputError
from iou_aware.data.manifest import Manifest
from iou_aware.experiment.layout import Layout


def annotations_of(paths: Layout, dataset: str, split: str) -> Path:
    """Return the COCO instances file of a split; InputError unless the dataset is prepared and has it."""
    file = paths.root / Manifest.load(paths.manifest(dataset)).split(split).annotations
    if not file.is_file():
        raise InputError(f"{file}: missing, though {dataset} was prepared. Run `iou-aware prepare` for it again.")
    return file
