"""PASCAL VOC2007's 11-point AP at COCO's ten IoU thresholds, as the paper's authors evaluated VOC.

The paper calls its VOC numbers COCO-style; the authors' evaluation script averages the 11-point AP of MMDetection's
``eval_map`` (then ``dataset="voc07"``, today ``eval_mode="11points"``) over the ten thresholds. The differences from
COCO's measure: precision is read at 11 recalls instead of 101; a detection is compared only with the ground truth that
it overlaps most, so it may be a duplicate although another object is free; the objects marked difficult are ignored
and so is what overlaps them most.
"""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask

from iou_aware.data.annotations import Annotations
from iou_aware.evaluation.coco import THRESHOLDS, Metrics
from iou_aware.evaluation.matching import by_image

# MMDetection's own recalls, including their rounding: the fourth one is a little above 0.3, so that a recall of
# exactly 3/10 does not reach it.
_RECALLS = np.arange(0, 1 + 1e-3, 0.1)


def average_precisions(truth: Annotations, results: np.ndarray, category_ids: Sequence[int]) -> np.ndarray:
    """Return the 11-point AP of each class at each of COCO's IoU thresholds.

    Args:
        truth: What is to be found; difficult objects are its crowds.
        results: ``(N, 7)``, see ``Detections.results``. Equal confidences rank in the order given.
        category_ids: The ids of the K classes, ascending.

    Returns:
        ``(10, K)`` in [0, 1]; NaN for a class without ground truth (or with difficult objects only).
    """
    overlap, nearest = _nearest(truth, results)
    ranked = np.argsort(-results[:, 5], kind="stable")
    categories = results[ranked, 6]
    result = np.full((len(THRESHOLDS), len(category_ids)), np.nan)
    for index, category in enumerate(category_ids):
        count = np.sum((truth.category_ids == category) & ~truth.crowd)
        if count:
            mine = ranked[categories == category]
            true, false = _judge(truth.crowd, overlap[mine], nearest[mine])
            result[:, index] = _eleven_points(true, false, count)
    return result


def summarise(precisions: np.ndarray) -> Metrics:
    """Return ``VOC07_AP``, the mean over all thresholds, and ``VOC07_AP50`` ... in percent; None without any class.

    Args:
        precisions: ``(10, K)`` from ``average_precisions``.
    """
    names = ["VOC07_AP", *(f"VOC07_AP{round(100 * threshold)}" for threshold in THRESHOLDS)]
    present = precisions[:, ~np.isnan(precisions[0])]
    if not present.size:
        return dict.fromkeys(names)
    parts = 100.0 * present.mean(axis=1)
    return dict(zip(names, [float(parts.mean()), *parts.tolist()], strict=True))


def _nearest(truth: Annotations, results: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return per detection its largest IoU with an object of its image and class, and that object (-1: no object)."""
    overlap, nearest = np.zeros(len(results)), np.full(len(results), -1)
    for mine, objects in by_image(truth, results):
        objects = objects[np.argsort(truth.crowd[objects], kind="stable")]  # of equally near ones, the difficult last
        ious = mask.iou(results[mine, 1:5], truth.boxes[objects], np.zeros(len(objects), np.uint8))
        ious[results[mine, 6][:, None] != truth.category_ids[objects]] = -1
        overlap[mine], nearest[mine] = ious.max(axis=1), objects[ious.argmax(axis=1)]
    return overlap, nearest


def _judge(difficult: np.ndarray, overlap: np.ndarray, nearest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of one class's detections, in descending confidence, are true and false: two ``(10, n)`` bool."""
    near = overlap >= THRESHOLDS[:, None]
    ignored = near & difficult[nearest]
    true = np.zeros_like(near)
    for row, hits in zip(true, near & ~ignored, strict=True):
        which = np.flatnonzero(hits)
        row[which[np.unique(nearest[which], return_index=True)[1]]] = True
    return true, ~true & ~ignored


def _eleven_points(true: np.ndarray, false: np.ndarray, count: int) -> np.ndarray:
    """Return the mean over 11 recalls of the best precision at that recall or beyond, per row of ``(10, n)``."""
    found = np.cumsum(true, axis=1)
    recall = found / count
    precision = found / np.maximum(found + np.cumsum(false, axis=1), 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.column_stack([envelope, np.zeros(len(true))])
    reached = np.array([np.searchsorted(row, _RECALLS) for row in recall])
    return np.take_along_axis(envelope, reached, axis=1).mean(axis=1)
