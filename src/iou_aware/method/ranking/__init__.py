"""From the head's outputs to detections, for every confidence rule at once."""

from iou_aware.method.ranking.detections import BatchDetections
from iou_aware.method.ranking.engine import Depth, sweep
from iou_aware.method.ranking.outputs import DenseOutputs
from iou_aware.method.ranking.settings import Settings

__all__ = ["BatchDetections", "DenseOutputs", "Depth", "Settings", "sweep"]
