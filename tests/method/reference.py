"""The definition of post-processing, written to be read: one image, one rule, no sharing, no shortcuts.

The engine must agree with it to the last bit. Order, everywhere: higher confidence first; equal confidences by lower
level, then lower anchor, then lower class. Thresholds are exceeded in single precision, as everywhere in mmcv.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from iou_aware.method.confidence import confidence
from iou_aware.method.ranking.settings import Settings

Level = tuple[Tensor, Tensor, Tensor]


def detect(levels: Sequence[Level], rule: str, settings: Settings) -> dict[str, np.ndarray]:
    """Return the detections of one image under one rule.

    Args:
        levels: Per pyramid level: classification scores (N, C), IoUs (N, 1) (predicted, or true ones for ``oracle``)
            and boxes (N, 4) of its anchors, float32.
        rule: The confidence rule.
        settings: The numbers of the selection.

    Returns:
        ``bboxes`` (n, 4), ``labels``, ``scores``, ``cls_scores`` and ``iou_preds`` (n,), n <= ``max_per_img``, in
        descending confidence.
    """
    candidates = []
    for scores, ious, boxes in levels:
        confidences = confidence(scores, ious, rule)
        for anchor in _top_anchors(confidences, settings.nms_pre):
            for label in range(scores.shape[1]):
                if confidences[anchor, label] > settings.score_thr and _large(boxes[anchor], settings.min_bbox_size):
                    numbers = (confidences[anchor, label], scores[anchor, label], ious[anchor, 0])
                    candidates.append((boxes[anchor], label, *numbers))
    candidates.sort(key=lambda candidate: -candidate[2])  # a stable sort: ties stay by level, anchor and class

    kept = []
    for box, label, *numbers in candidates:
        if len(kept) == settings.max_per_img:
            break
        suppressed = any(
            label == other_label and overlap(box, other) > settings.iou_threshold for other, other_label, *_ in kept
        )
        if not suppressed:
            kept.append((box, label, *numbers))
    boxes, labels, *numbers = zip(*kept, strict=True) if kept else ((), (), (), (), ())
    scores, cls_scores, iou_preds = (np.array([float(number) for number in part], np.float32) for part in numbers)
    return {
        "bboxes": np.array([box.tolist() for box in boxes], np.float32).reshape(-1, 4),
        "labels": np.array(labels, np.int64),
        "scores": scores,
        "cls_scores": cls_scores,
        "iou_preds": iou_preds,
    }


def _top_anchors(confidences: Tensor, nms_pre: int) -> list[int]:
    """Return the anchors that go on, ascending: the ``nms_pre`` first by the confidence of their best class."""
    keys = confidences.amax(1).tolist() if len(confidences) else []
    order = sorted(range(len(keys)), key=lambda anchor: (-keys[anchor], anchor))
    return sorted(order[:nms_pre] if nms_pre > 0 else order)


def _large(box: Tensor, min_bbox_size: float) -> bool:
    width, height = box[2:] - box[:2]
    return min_bbox_size < 0 or bool(width > min_bbox_size and height > min_bbox_size)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU of two boxes (4,) as mmcv's NMS computes it: single precision, no offset.

    Two boxes without area have the IoU 0/0, which is not a number and exceeds no threshold: they do not overlap.
    """
    left, top = torch.maximum(a[:2], b[:2])
    right, bottom = torch.minimum(a[2:], b[2:])
    shared = (right - left).clamp(min=0) * (bottom - top).clamp(min=0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (areas[0] + areas[1] - shared)
