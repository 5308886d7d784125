"""One image with the boxes that represent its objects, and which images to show."""

from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from iou_aware.common import drawing
from iou_aware.common.drawing import Mark
from iou_aware.data.annotations import Annotations
from iou_aware.evaluation.overlaps import MATCHED, paired_iou

_EACH_WAY = 3
_SIDE = 320


def representatives(truth: Annotations, results: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for every object the most confident detection of its class that overlaps it by half or more.

    Args:
        truth: The G objects.
        results: ``(N, 7)``, see ``Detections.results``; of equal confidences the first counts.

    Returns:
        ``(G,)`` index into the detections, -1 where none overlaps the object by half and for crowds; ``(G,)`` its IoU
        with the object, 0 likewise.
    """
    rows, ious = np.full(len(truth.boxes), -1), np.zeros(len(truth.boxes))
    order = np.lexsort([-results[:, 5], results[:, 0]])
    images, starts = np.unique(results[order, 0], return_index=True)
    for image, mine in zip(images.astype(int).tolist(), np.split(order, starts[1:]), strict=False):
        for index in truth.of_image[image]:
            if truth.crowd[index]:
                continue
            shares = paired_iou(results[mine, 1:5], np.broadcast_to(truth.boxes[index], (len(mine), 4)))
            fitting = np.flatnonzero((results[mine, 6] == truth.category_ids[index]) & (shares >= MATCHED))
            if len(fitting):
                rows[index], ious[index] = mine[fitting[0]], shares[fitting[0]]
    return rows, ious


def chosen(change: dict[int, float]) -> list[int]:
    """Return the images that gained most, most first, then those that lost most, most first; ties by image id."""
    gained = sorted((image for image in change if change[image] > 0), key=lambda image: (-change[image], image))
    lost = sorted((image for image in change if change[image] < 0), key=lambda image: (change[image], image))
    return gained[:_EACH_WAY] + lost[:_EACH_WAY]


def panel(
    picture: Image, truth: Annotations, image: int, results: np.ndarray, best: tuple[np.ndarray, np.ndarray]
) -> Image:
    """Draw an image's objects, broken white, and what represents them with its confidence and IoU."""
    objects = [index for index in truth.of_image[image] if not truth.crowd[index]]
    marks = [Mark(_corners(truth.boxes[index]), colour=drawing.WHITE, dashed=True) for index in objects]
    rows, ious = best
    for number, index in enumerate(objects):
        if rows[index] >= 0:
            row = results[rows[index]]
            text = f"{row[5]:.2f}, IoU {ious[index]:.2f}"
            marks.append(Mark(_corners(row[1:5]), text, drawing.COLOURS[number % len(drawing.COLOURS)]))
    return drawing.draw(*drawing.fitted(picture, _SIDE, _SIDE), marks, size=11)


def in_words(
    truth: Annotations, image: int, best: Sequence[tuple[np.ndarray, np.ndarray]], titles: Sequence[str]
) -> str:
    """Return what the picture shows, in words, for those who do not see it."""
    objects = [index for index in truth.of_image[image] if not truth.crowd[index]]
    parts = []
    for (rows, ious), title in zip(best, titles, strict=True):
        shown = [f"{ious[index]:.2f}" if rows[index] >= 0 else "missed" for index in objects]
        parts.append(f"{title}: {', '.join(shown)}")
    return f"IoU of the most confident box, object by object. {'; '.join(parts)}."


def _corners(box: np.ndarray) -> np.ndarray:
    return np.concatenate([box[:2], box[:2] + box[2:]])
