"""The command ``export``: one rule's detections as COCO's results JSON."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from iou_aware import detections
from iou_aware.common.files import writing
from iou_aware.data.annotations import Annotations
from iou_aware.data.manifest import Manifest
from iou_aware.detections import Detections
from iou_aware.evaluation.coco import require_known
from iou_aware.experiment.experiment import Experiment
from iou_aware.method.confidence import Rule

Ids = Mapping[int, int | str]  # the user's, by those of the prepared annotations


def export(experiment: Experiment, run_name: str, split: str, rule: str, target: Path) -> None:
    """Write the detections of one run on one split by one rule.

    Args:
        experiment: The study.
        run_name: One of its runs.
        split: A split that the run was predicted on.
        rule: The rule.
        target: The JSON to write.

    Raises:
        InputError: The rule is none, or the run has no detections by it on the split.
    """
    found = detections.pieces(experiment.paths.detections(run_name, split), Rule(rule))
    manifest = Manifest.load(experiment.paths.manifest(experiment.run(run_name).dataset), verify=True)
    annotations = Annotations.load(experiment.root / manifest.split(split).annotations)
    with writing(target) as beside, beside.open("w", encoding="utf-8") as file:
        write_results(file, found, annotations.source_images, annotations.source_categories)


def write_results(file: IO[str], found: Iterable[Detections], image_ids: Ids, category_ids: Ids) -> None:
    """Write COCO's results JSON: boxes as x, y, width, height, and the confidence as score.

    Args:
        file: Where to.
        found: The detections, a piece at a time; as read, with finite boxes and scores.
        image_ids: What the user's annotation file calls each image of the split.
        category_ids: What it calls each category.

    Raises:
        InputError: A detection is of another image or category.
    """
    before = "\n"
    file.write("[")
    for part in found:
        require_known(part.results, list(image_ids), list(category_ids), "export")
        boxes = part.boxes.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        columns = (part.image_ids, part.category_ids, boxes, part.confidences.astype(np.float64))
        for image, category, box, score in zip(*(column.tolist() for column in columns), strict=True):
            ids = {"image_id": image_ids[image], "category_id": category_ids[category]}
            file.write(before + json.dumps({**ids, "bbox": box, "score": score}))
            before = ",\n"
    file.write("\n]\n")
