"""Box arithmetic that more than one selection needs."""

from collections.abc import Mapping
from typing import Any

from mmdet.structures.bbox import bbox_overlaps, scale_boxes
from torch import Tensor


def rescaled(boxes: Tensor, img_meta: Mapping[str, Any]) -> Tensor:
    """Return boxes (K, 4) in pixels of the network's input as pixels of the stored image, as MMDetection does."""
    return scale_boxes(boxes, [1 / factor for factor in img_meta["scale_factor"]])


def nearest_iou(boxes: Tensor, gt_bboxes: Tensor) -> Tensor:
    """Return each box's (K, 4) IoU with the ground truth (G, 4) it overlaps most, whatever its class: (K,), [0, 1]."""
    if not len(gt_bboxes):
        return boxes.new_zeros(len(boxes))
    return bbox_overlaps(boxes, gt_bboxes.to(boxes)).amax(1)
