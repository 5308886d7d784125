"""IoU-aware single-stage object detection: the head, the confidence rules, and the study that reproduces the paper.

In an MMDetection process, ``custom_imports = dict(imports=['iou_aware'])`` makes the IoU-aware heads,
``IoUPredictionLoss``, ``RoundedAnchorGenerator``, ``BatchNormaliser``, ``Trunk`` and ``LossScaling`` known. Elsewhere
the import stays light (no torch): the stages that only read files start fast.
"""

import sys

__version__ = "0.2.0"

if "mmengine" in sys.modules:
    from iou_aware.method import heads as heads
    from iou_aware.method import targets as targets
    from iou_aware.method import trunk as trunk
