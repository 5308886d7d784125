"""The stage ``gallery``: the images on which the rule changed the boxes most, chosen by a criterion and not by hand.

The criterion: for every object of an image, take the most confident detection of its class that overlaps it by half
or more (the one that represents it), and its IoU with the object. An image's change is the mean over its objects of
that IoU under the second rule less that under the first; an object that one of the rules has no box for counts 0, since
that is the score threshold's doing and not the ranking's. The rules are of the same IoU-aware run, so that boxes and
scores are the same and only their order, and what it suppresses, differs: the classification score alone (alpha 1.00)
and the paper's alpha 0.50. As many images are shown of those that lost most as of those that gained most; images of no
change are not.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from iou_aware import detections
from iou_aware.common import drawing
from iou_aware.common.drawing import Mark
from iou_aware.common.files import csv_text, write_text
from iou_aware.data.annotations import Annotations
from iou_aware.data.manifest import Manifest
from iou_aware.evaluation.overlaps import MATCHED, paired_iou
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import BASELINE_RULE, matched_pairs

logger = logging.getLogger(__name__)

EACH_WAY = 3
RULES = ("alpha=1.00", "alpha=0.50")
COLUMNS = ["file", "run", "baseline", "split", "image_id", "file_name", "change", "text"]
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


def changes(
    truth: Annotations, first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> dict[int, float]:
    """Return each image's change of IoU from the first rule's representatives to the second's, if it has objects."""
    both = (first[0] >= 0) & (second[0] >= 0)
    by = np.where(both, second[1] - first[1], 0.0)
    plain = {image: objects[~truth.crowd[objects]] for image, objects in truth.of_image.items()}
    return {image: float(by[objects].mean()) for image, objects in plain.items() if len(objects)}


def chosen(change: dict[int, float], each_way: int = EACH_WAY) -> list[int]:
    """Return the images that gained most, most first, then those that lost most, most first; ties by image id."""
    gained = sorted((image for image in change if change[image] > 0), key=lambda image: (-change[image], image))
    lost = sorted((image for image in change if change[image] < 0), key=lambda image: (change[image], image))
    return gained[:each_way] + lost[:each_way]


def write_gallery(experiment: Experiment) -> list[Path]:
    """Write ``results/<experiment>/gallery``: a JPEG per image and ``gallery.csv``, which says what they show.

    For the first IoU-aware run of each dataset that has detections under both rules, with its baseline.

    Raises:
        InputError: Detections, a manifest or an image are missing or damaged.
    """
    folder = experiment.paths.gallery
    lines, paths = [], []
    for name, baseline, split in _shown(experiment):
        for line, picture in _pictures(experiment, name, baseline, split):
            paths.append(drawing.save(picture, folder / line["file"], quality=80))
            lines.append(line)
    for old in set(folder.glob("*.jpg")) - set(paths):
        old.unlink()
    write_text(folder / "gallery.csv", csv_text(COLUMNS, lines))
    logger.info("%d images in %s", len(paths), folder)
    return [*paths, folder / "gallery.csv"]


def _shown(experiment: Experiment) -> Iterator[tuple[str, str, str]]:
    """Yield IoU-aware run, baseline and split: the first of each dataset and split that has been predicted."""
    if not set(RULES) <= set(experiment.rules):
        logger.warning("missing: the gallery compares the rules %s, which are not both computed", " and ".join(RULES))
        return
    seen = set()
    for name, baseline in matched_pairs(experiment.runs):
        run = experiment.runs[name]
        for split in experiment.splits_for(run):
            predicted = all(experiment.paths.detections(one, split).is_file() for one in (name, baseline))
            if predicted and (run.dataset, split) not in seen:
                seen.add((run.dataset, split))
                yield name, baseline, split


def _pictures(experiment: Experiment, name: str, baseline: str, split: str) -> Iterator[tuple[dict[str, Any], Image]]:
    paths, dataset = experiment.paths, experiment.runs[name].dataset
    part = Manifest.load(paths.manifest(dataset)).split(split)
    truth = Annotations.load(paths.root / part.annotations)
    sides = [
        (baseline, BASELINE_RULE, experiment.runs[baseline].model),
        *((name, rule, f"IoU-aware, {rule}") for rule in RULES),
    ]
    detected = [detections.read(paths.detections(run, split), rule).results for run, rule, _ in sides]
    best = [representatives(truth, results) for results in detected]
    change = changes(truth, best[1], best[2])
    for number, image in enumerate(chosen(change), 1):
        picture = drawing.load(paths.root / part.images / truth.file_names[image])
        panels = [_panel(picture, truth, image, *pair) for pair in zip(detected, best, strict=True)]
        line = {
            "file": f"{dataset}-{split}-{number}.jpg",
            "run": name,
            "baseline": baseline,
            "split": split,
            "image_id": image,
            "file_name": truth.file_names[image],
            "change": f"{change[image]:+.4f}",
            "text": _text(truth, image, best, [title for *_, title in sides]),
        }
        yield line, drawing.beside(panels, [title for *_, title in sides])


def _panel(
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


def _text(truth: Annotations, image: int, best: Sequence[tuple[np.ndarray, np.ndarray]], titles: Sequence[str]) -> str:
    """Return what the picture shows, in words, for those who do not see it."""
    objects = [index for index in truth.of_image[image] if not truth.crowd[index]]
    parts = []
    for (rows, ious), title in zip(best, titles, strict=True):
        shown = [f"{ious[index]:.2f}" if rows[index] >= 0 else "missed" for index in objects]
        parts.append(f"{title}: {', '.join(shown)}")
    return f"IoU of the most confident box, object by object. {'; '.join(parts)}."


def _corners(box: np.ndarray) -> np.ndarray:
    return np.concatenate([box[:2], box[:2] + box[2:]])
