"""The stage ``gallery``: the images on which the rule changed the boxes most, chosen by a criterion and not by hand.

The criterion: for every object of an image, take the most confident detection of its class that overlaps it by half
or more (the one that represents it), and its IoU with the object. An image's change is the mean over its objects of
that IoU under the second rule less that under the first; an object that one of the rules has no box for counts 0, since
that is the score threshold's doing and not the ranking's. The rules are of the same IoU-aware run, so that boxes and
scores are the same and only their order, and what it suppresses, differs: the classification score alone (alpha 1.00)
and the paper's alpha 0.50. As many images are shown of those that lost most as of those that gained most; images of no
change are not.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from iou_aware import detections
from iou_aware.analysis.gallery.panels import Representatives, pictures, representatives
from iou_aware.common import drawing
from iou_aware.common.files import csv_text, write_text
from iou_aware.common.messages import log
from iou_aware.data.annotations import Annotations
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import BASELINE_RULE, matched_pairs

RULES = ("alpha=1.00", "alpha=0.50")
COLUMNS = ["file", "run", "baseline", "split", "image_id", "file_name", "change", "text"]


def changes(truth: Annotations, first: Representatives, second: Representatives) -> dict[int, float]:
    """Return each image's change of IoU from the first rule's representatives to the second's, if it has objects."""
    both = (first[0] >= 0) & (second[0] >= 0)
    by = np.where(both, second[1] - first[1], 0.0)
    plain = {image: objects[~truth.crowd[objects]] for image, objects in truth.of_image.items()}
    return {image: float(by[objects].mean()) for image, objects in plain.items() if len(objects)}


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
    log.info("%d images in %s", len(paths), folder)
    return [*paths, folder / "gallery.csv"]


def _shown(experiment: Experiment) -> Iterable[tuple[str, str, str]]:
    """Return IoU-aware run, baseline and split: the first of each dataset and split that has been predicted."""
    shown: dict[tuple[str, str], tuple[str, str, str]] = {}
    if not set(RULES) <= set(experiment.rules):
        log.warning("missing: the gallery compares the rules %s, which are not both computed", " and ".join(RULES))
        return ()
    for name, baseline in matched_pairs(experiment.runs):
        run = experiment.runs[name]
        for split in experiment.splits_for(run):
            if all(experiment.paths.detections(one, split).is_file() for one in (name, baseline)):
                shown.setdefault((run.dataset, split), (name, baseline, split))
    return shown.values()


def _pictures(experiment: Experiment, name: str, baseline: str, split: str) -> Iterator[tuple[dict[str, Any], Image]]:
    paths, run = experiment.paths, experiment.runs[name]
    part = experiment.manifest(run).split(split)
    truth = Annotations.load(paths.root / part.annotations)
    sides = {experiment.runs[baseline].model: (baseline, BASELINE_RULE)}
    sides |= {f"IoU-aware, {rule}": (name, rule) for rule in RULES}
    shown = {
        title: detections.read(paths.detections(side, split), rule).results for title, (side, rule) in sides.items()
    }
    _, *ranked = shown.values()
    change = changes(truth, *(representatives(truth, results) for results in ranked))
    drawn = pictures(truth, paths.root / part.images, change, shown)
    for number, (image, picture, text) in enumerate(drawn, 1):
        file, moved = f"{run.dataset}-{split}-{number}.jpg", f"{change[image]:+.4f}"
        line = (file, name, baseline, split, image, truth.file_names[image], moved, text)
        yield dict(zip(COLUMNS, line, strict=True)), picture
