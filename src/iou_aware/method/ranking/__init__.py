"""From the head's outputs to detections, for every confidence rule at once."""

from iou_aware.method.ranking.boxes import nearest_iou, rescaled
from iou_aware.method.ranking.depth import Depth
from iou_aware.method.ranking.engine import sweep
from iou_aware.method.ranking.found import Found
from iou_aware.method.ranking.outputs import DenseOutputs
from iou_aware.method.ranking.settings import Settings

__all__ = ["DenseOutputs", "Depth", "Found", "Settings", "nearest_iou", "rescaled", "sweep"]
