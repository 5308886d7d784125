"""PASCAL VOC2007's 11-point AP at COCO's ten IoU thresholds, as the paper's authors evaluated VOC.

The paper calls its VOC numbers COCO-style; the authors' evaluation script averages the 11-point AP of MMDetection's
``eval_map`` (then ``dataset="voc07"``, today ``eval_mode="11points"``) over the ten thresholds. The differences from
COCO's measure: precision is read at 11 recalls instead of 101; a detection is compared only with the ground truth that
it overlaps most, so it may be a duplicate although another object is free; the objects marked difficult are ignored
and so is what overlaps them most.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from iou_aware.evaluation.coco import THRESHOLDS, Metrics

# MMDetection's own recalls, including their rounding: the fourth one is a little above 0.3, so that a recall of
# exactly 3/10 does not reach it.
_RECALLS = np.arange(0, 1 + 1e-3, 0.1)


@dataclass(frozen=True)
class GroundTruth:
    """Boxes of one split, ordered by (image, class) and, within these, with the difficult ones last.

    Attributes:
        boxes: ``(G, 4)`` corners in pixels.
        difficult: ``(G,)`` bool.
        keys: ``(G,)`` ascending; image and class as one number, see ``key``.
        counts: ``(K,)``, the boxes to find per class: those which are not difficult.
        image_ids: ``(I,)`` ascending.
        category_ids: ``(K,)`` ascending.
    """

    boxes: np.ndarray
    difficult: np.ndarray
    keys: np.ndarray
    counts: np.ndarray
    image_ids: np.ndarray
    category_ids: np.ndarray

    def key(self, image_ids: np.ndarray, category_ids: np.ndarray) -> np.ndarray:
        """Return one number per (image, class)."""
        images = np.searchsorted(self.image_ids, image_ids)
        return images * len(self.category_ids) + np.searchsorted(self.category_ids, category_ids)


def load_ground_truth(annotations: Path) -> GroundTruth:
    """Read a COCO instances file in which difficult objects are marked as ``iscrowd``."""
    content = json.loads(annotations.read_text())
    marked = content["annotations"]
    boxes = np.array([annotation["bbox"] for annotation in marked], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    difficult = np.array([bool(annotation.get("iscrowd", 0)) for annotation in marked], dtype=bool)
    categories = np.array([annotation["category_id"] for annotation in marked], dtype=np.int64)
    images = np.array([annotation["image_id"] for annotation in marked], dtype=np.int64)
    image_ids = np.unique([image["id"] for image in content["images"]])
    category_ids = np.unique([category["id"] for category in content["categories"]])
    keys = np.searchsorted(image_ids, images) * len(category_ids) + np.searchsorted(category_ids, categories)
    order = np.lexsort([difficult, keys])
    counts = np.bincount(np.searchsorted(category_ids, categories[~difficult]), minlength=len(category_ids))
    return GroundTruth(boxes[order], difficult[order], keys[order], counts, image_ids, category_ids)


def average_precisions(
    truth: GroundTruth,
    image_ids: np.ndarray,
    boxes: np.ndarray,
    confidences: np.ndarray,
    category_ids: np.ndarray,
    thresholds: np.ndarray = THRESHOLDS,
) -> np.ndarray:
    """Return the 11-point AP of each class at each IoU threshold.

    Args:
        truth: What is to be found.
        image_ids: ``(N,)``, each in ``truth.image_ids``.
        boxes: ``(N, 4)`` corners in pixels.
        confidences: ``(N,)``. Equal ones rank in the order given.
        category_ids: ``(N,)``, each in ``truth.category_ids``.
        thresholds: ``(T,)`` IoU thresholds in [0, 1].

    Returns:
        ``(T, K)`` in [0, 1]; NaN for a class without ground truth (or with difficult objects only).
    """
    order = np.argsort(-np.asarray(confidences), kind="stable")
    keys = truth.key(image_ids, category_ids)[order]
    classes = keys % len(truth.category_ids)
    overlap, nearest = _nearest(truth, keys, np.asarray(boxes, dtype=np.float64)[order])
    result = np.full((len(thresholds), len(truth.category_ids)), np.nan)
    for index in np.flatnonzero(truth.counts):
        mine = np.flatnonzero(classes == index)
        true, false = _judge(truth.difficult, overlap[mine], nearest[mine], thresholds)
        result[:, index] = _eleven_points(true, false, truth.counts[index])
    return result


def summarise(precisions: np.ndarray) -> Metrics:
    """Return ``VOC07_AP``, the mean over all thresholds, and ``VOC07_AP50`` ... in percent; None without any class.

    Args:
        precisions: ``(10, K)`` from ``average_precisions`` at the default thresholds.
    """
    present = precisions[:, ~np.isnan(precisions[0])]
    if not present.size:
        return dict.fromkeys(["VOC07_AP", *(f"VOC07_AP{round(100 * t)}" for t in THRESHOLDS)])
    parts = 100.0 * present.mean(axis=1)
    named = {f"VOC07_AP{round(100 * t)}": float(part) for t, part in zip(THRESHOLDS, parts, strict=True)}
    return {"VOC07_AP": float(parts.mean())} | named


def _nearest(truth: GroundTruth, keys: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return per detection its largest IoU with a box of its image and class, and that box's row (-1: there is none).

    All (detection, box) pairs are laid out in one flat array, so that no loop over images or classes is needed.
    """
    first = np.searchsorted(truth.keys, keys, side="left")
    pairs = np.searchsorted(truth.keys, keys, side="right") - first
    starts = np.cumsum(pairs) - pairs
    detection = np.repeat(np.arange(len(keys)), pairs)
    candidate = np.repeat(first - starts, pairs) + np.arange(len(detection))
    overlap = _overlaps(boxes[detection], truth.boxes[candidate])

    some = pairs > 0
    best = np.zeros(len(keys))
    nearest = np.full(len(keys), -1)
    if some.any():
        best[some] = np.maximum.reduceat(overlap, starts[some])
        # the first of the equally near boxes, as argmax takes it: the last write wins, so write backwards
        top = np.flatnonzero(overlap == best[detection])[::-1]
        nearest[detection[top]] = candidate[top]
    return best, nearest


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU of each pair of rows of ``a`` and ``b``, both ``(P, 4)`` corners."""
    shared = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = shared.clip(min=0).prod(axis=1)
    together = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
    return shared / np.maximum(together, np.finfo(np.float32).eps)


def _judge(
    difficult: np.ndarray, overlap: np.ndarray, nearest: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of one class's detections, in descending confidence, are true and false: two ``(T, n)`` bool."""
    near = (overlap >= thresholds[:, None]) & (nearest >= 0)
    ignored = near & difficult[nearest] if len(difficult) else near
    true = np.zeros_like(near)
    for row, hits in zip(true, near & ~ignored, strict=True):
        which = np.flatnonzero(hits)
        row[which[np.unique(nearest[which], return_index=True)[1]]] = True
    return true, ~true & ~ignored


def _eleven_points(true: np.ndarray, false: np.ndarray, count: int) -> np.ndarray:
    """Return the mean over 11 recalls of the best precision at that recall or beyond, per row of ``(T, n)``."""
    if not true.shape[1]:
        return np.zeros(len(true))
    found = np.cumsum(true, axis=1)
    recall = found / count
    precision = found / np.maximum(found + np.cumsum(false, axis=1), 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.column_stack([envelope, np.zeros(len(true))])
    reached = np.array([np.searchsorted(row, _RECALLS) for row in recall])
    return np.take_along_axis(envelope, reached, axis=1).mean(axis=1)
