"""One image with the boxes that represent its objects, and which images to show."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL.Image import Image

from iou_aware.common import drawing
from iou_aware.data.annotations import Annotations
from iou_aware.evaluation.matching import MATCHED, by_image, paired_iou

_EACH_WAY = 3
_SIDE = 320

# What ``representatives`` returns.
Representatives = tuple[np.ndarray, np.ndarray]


def representatives(truth: Annotations, results: np.ndarray) -> Representatives:
    """Return for every object the most confident detection of its class that overlaps it by half or more.

    Args:
        truth: The G objects.
        results: ``(N, 7)``, see ``Detections.results``; of equal confidences the first counts.

    Returns:
        ``(G,)`` index into the detections, -1 where none overlaps the object by half and for crowds; ``(G,)`` its IoU
        with the object, 0 likewise.
    """
    rows, ious = np.full(len(truth.boxes), -1), np.zeros(len(truth.boxes))
    for mine, objects in by_image(truth, results):
        mine = mine[np.argsort(-results[mine, 5], kind="stable")]
        for index in objects[~truth.crowd[objects]]:
            shares = paired_iou(results[mine, 1:5], np.broadcast_to(truth.boxes[index], (len(mine), 4)))
            fitting = np.flatnonzero((results[mine, 6] == truth.category_ids[index]) & (shares >= MATCHED))
            if len(fitting):
                rows[index], ious[index] = mine[fitting[0]], shares[fitting[0]]
    return rows, ious


def chosen(change: dict[int, float]) -> list[int]:
    """Return the images that gained most, most first, then those that lost most, most first; ties by image id."""
    gained = sorted((-by, image) for image, by in change.items() if by > 0)
    lost = sorted((by, image) for image, by in change.items() if by < 0)
    return [image for _, image in gained[:_EACH_WAY] + lost[:_EACH_WAY]]


def pictures(
    truth: Annotations, images: Path, change: dict[int, float], sides: Mapping[str, np.ndarray]
) -> Iterator[tuple[int, Image, str]]:
    """Yield each image of ``chosen``: its id, a panel for every side, and the same in words for who does not see it.

    Args:
        truth: The objects.
        images: The folder of the image files.
        change: By image id, what an image gained.
        sides: By title, detections, see ``Detections.results``.
    """
    picked = chosen(change)
    kept = {title: results[np.isin(results[:, 0], picked)] for title, results in sides.items()}
    best = {title: representatives(truth, results) for title, results in kept.items()}
    for image in picked:
        photograph = drawing.load(images / truth.file_names[image])
        objects = [index for index in truth.of_image[image] if not truth.crowd[index]]
        panels, words = [], []
        for title, (rows, ious) in best.items():
            panels.append(_panel(photograph, truth, objects, kept[title], best[title]))
            shown = [f"{ious[index]:.2f}" if rows[index] >= 0 else "missed" for index in objects]
            words.append(f"{title}: {', '.join(shown)}")
        text = f"IoU of the most confident box, object by object. {'; '.join(words)}."
        yield image, drawing.beside(panels, [*sides]), text


def _panel(
    photograph: Image, truth: Annotations, objects: Sequence[int], results: np.ndarray, best: Representatives
) -> Image:
    """Draw an image's objects, broken white, and what represents them with its confidence and IoU."""
    marks = [drawing.Mark(_corners(truth.boxes[index]), colour=drawing.WHITE, dashed=True) for index in objects]
    rows, ious = best
    for number, index in enumerate(objects):
        if rows[index] >= 0:
            row = results[rows[index]]
            text = f"{row[5]:.2f}, IoU {ious[index]:.2f}"
            marks.append(drawing.Mark(_corners(row[1:5]), text, drawing.COLOURS[number % len(drawing.COLOURS)]))
    return drawing.draw(photograph, marks, _SIDE, _SIDE)


def _corners(box: np.ndarray) -> np.ndarray:
    return np.concatenate([box[:2], box[:2] + box[2:]])
