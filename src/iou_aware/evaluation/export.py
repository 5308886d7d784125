"""The command ``export``: one rule's detections as COCO's results JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iou_aware import detections
from iou_aware.common.files import write_text
from iou_aware.data.annotations import Annotations
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
    run = experiment.run(run_name)
    manifest = experiment.manifest(run, verify=True)
    annotations = Annotations.load(experiment.root / manifest.split(split).annotations)
    found = detections.read(experiment.paths.detections(run_name, split), Rule(rule))
    entries = results(found, annotations.source_images, annotations.source_categories)
    write_text(target, "[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n")


def results(found: detections.Detections, image_ids: Ids, category_ids: Ids) -> list[dict[str, Any]]:
    """Return detections as the entries of COCO's results: boxes as x, y, width, height, and the confidence as score.

    Args:
        found: The detections; as read, with finite boxes and scores.
        image_ids: What the user's annotation file calls each image of the split.
        category_ids: What it calls each category.

    Raises:
        InputError: A detection is of another image or category.
    """
    require_known(found.results, list(image_ids), list(category_ids), "export")
    return [
        {"image_id": image_ids[image], "category_id": category_ids[category], "bbox": box, "score": score}
        for image, *box, score, category in found.results.tolist()
    ]
