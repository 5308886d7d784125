"""From the head's outputs to detections, for every confidence rule at once."""

from iou_aware.postprocess.boxes import nearest_iou, rescaled
from iou_aware.postprocess.depth import Depth
from iou_aware.postprocess.engine import sweep
from iou_aware.postprocess.found import Found
from iou_aware.postprocess.outputs import DenseOutputs
from iou_aware.postprocess.settings import Settings

__all__ = ["DenseOutputs", "Depth", "Found", "Settings", "nearest_iou", "rescaled", "sweep"]
