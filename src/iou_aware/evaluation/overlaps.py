"""How well each detection's box is placed, whatever its rank: its IoU with the nearest object."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pycocotools import mask

from iou_aware.data.annotations import Annotations

# A detection that overlaps an object of its class by so much has found it.
MATCHED = 0.5


@dataclass(frozen=True)
class Overlaps:
    """What N detections overlap.

    Attributes:
        same: ``(N,)`` IoU with the nearest object of the detection's class, 0 where there is none.
        any: ``(N,)`` IoU with the nearest object of any class.
        crowd: ``(N,)`` bool, whether a detection that overlaps no object by half lies at least half in a crowd of its
            class: neither right nor wrong.
    """

    same: np.ndarray
    any: np.ndarray
    crowd: np.ndarray


def overlaps(truth: Annotations, results: np.ndarray) -> Overlaps:
    """Return what each detection overlaps.

    Args:
        truth: The objects.
        results: ``(N, 7)``, see ``Detections.results``.
    """
    count = len(results)
    same, of_any, crowd = np.zeros(count), np.zeros(count), np.zeros(count, dtype=bool)
    for mine, objects in by_image(truth, results):
        groups = truth.crowd[objects]
        # With a crowd, pycocotools divides by the detection's own area: the part of it that lies inside.
        shares = mask.iou(results[mine, 1:5], truth.boxes[objects], groups.astype(np.uint8))
        of_class = results[mine, 6][:, None] == truth.category_ids[objects]
        same[mine] = np.where(of_class & ~groups, shares, 0.0).max(axis=1)
        of_any[mine] = np.where(groups, 0.0, shares).max(axis=1)
        inside = np.where(of_class & groups, shares, 0.0).max(axis=1)
        crowd[mine] = (inside >= MATCHED) & (same[mine] < MATCHED)
    return Overlaps(same, of_any, crowd)


def by_image(truth: Annotations, results: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the indices of the detections and of the objects of each image that has both."""
    order = np.argsort(results[:, 0], kind="stable")
    images, starts = np.unique(results[order, 0], return_index=True)
    for image, mine in zip(images.astype(int).tolist(), np.split(order, starts[1:]), strict=False):
        if len(objects := truth.of_image[image]):
            yield mine, objects


def paired_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes with each other one by one: ``(N, 4)`` x, y, width, height each, to ``(N,)``."""
    low = np.maximum(first[:, :2], second[:, :2])
    high = np.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    union = first[:, 2:].prod(axis=1) + second[:, 2:].prod(axis=1) - shared
    return np.divide(shared, union, out=np.zeros(len(first)), where=union > 0)
