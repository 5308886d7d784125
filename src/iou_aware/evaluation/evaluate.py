"""The stage ``evaluate``: the detections of one run on one split, under every rule, become metrics."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from iou_aware import provenance
from iou_aware.data.manifest import Manifest
from iou_aware.errors import InputError
from iou_aware.evaluation import coco, voc07
from iou_aware.files import sha256, write_json

if TYPE_CHECKING:
    from iou_aware.study.experiment import Experiment

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Found:
    """The detections of all rules, as columns of equal length, and what the file says about itself."""

    image_ids: np.ndarray
    category_ids: np.ndarray
    boxes: np.ndarray
    confidences: np.ndarray
    rules: np.ndarray
    about: dict[str, Any]

    def of(self, rule: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return image ids, boxes, confidences and category ids of one rule, in the file's order."""
        mine = np.flatnonzero(self.rules == self.about["rules"].index(rule))
        return self.image_ids[mine], self.boxes[mine], self.confidences[mine], self.category_ids[mine]


def evaluate(experiment: "Experiment", run_name: str, split: str) -> Path:
    """Write ``results/<experiment>/evaluations/<run>/<split>.json`` and return its path.

    Args:
        experiment: The study; its ``referee`` makes pycocotools confirm every number.
        run_name: One of ``experiment.runs``.
        split: A split of the run's dataset with annotations.

    Raises:
        InputError: A stage before this one has not run, or its files do not belong together: detections of other
            weights, on other images, of other classes, or without a rule of the experiment.
        RuntimeError: pycocotools comes to other numbers.
    """
    run, paths = experiment.run(run_name), experiment.paths
    manifest = Manifest.load(paths.manifest(run.dataset))
    record = _record(paths.seal(run_name))
    source = paths.detections(run_name, split)
    data = manifest.split(split)
    if not data.labelled:
        raise InputError(f"dataset {run.dataset}: the split {split!r} has no boxes to evaluate with.")
    annotations = experiment.root / data.annotations

    found = _load(source)
    evaluator = coco.CocoEvaluator(annotations)
    rules = experiment.rules_for(run)
    _check(source, found, evaluator, record, rules)
    referee = coco.Referee(annotations) if experiment.referee else None
    truth = voc07.load_ground_truth(annotations) if manifest.layout == "voc" else None
    names = dict(zip(manifest.category_ids, manifest.classes, strict=True))
    classes = [names[category] for category in evaluator.category_ids]

    results = {}
    for rule in rules:
        results[rule] = _evaluate_rule(found.of(rule), evaluator, referee, truth, classes)
        logger.info("%s, %s, %s: AP %s", run_name, split, rule, _shown(results[rule]["metrics"]["AP"]))
    made = {
        **provenance.collect(),
        "config_sha256": record["config_sha256"],
        "weights_sha256": record["weights_sha256"],
        "annotations_sha256": sha256(annotations),
        "detections_sha256": sha256(source),
        "images": data.counts["images"],
        "boxes": data.counts["boxes"],
        "referee": experiment.referee,
    }
    target = paths.evaluation(run_name, split)
    write_json(target, {"run": run_name, "dataset": run.dataset, "split": split, "rules": results, "provenance": made})
    return target


def _evaluate_rule(
    found: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    evaluator: coco.CocoEvaluator,
    referee: coco.Referee | None,
    truth: voc07.GroundTruth | None,
    classes: list[str],
) -> dict[str, Any]:
    """Return ``metrics`` and ``per_class`` of one rule's detections."""
    results = coco.results_array(*found)
    curves = evaluator.curves(results)
    if referee is not None:
        difference = coco.disagreement(curves, referee.curves(results))
        if difference:
            raise RuntimeError(
                f"hotcoco and pycocotools differ by up to {difference:g} in precision or recall. "
                "Please report this with the detections; the numbers of pycocotools are the official ones."
            )
    metrics = coco.summarise(curves)
    if truth is not None:
        metrics |= voc07.summarise(voc07.average_precisions(truth, *found))
    return {"metrics": metrics, "per_class": dict(zip(classes, coco.summarise_classes(curves), strict=True))}


def _load(path: Path) -> _Found:
    if not path.is_file():
        raise InputError(f"{path} does not exist: run `iou-aware predict` for this run and split first.")
    table = pq.read_table(
        path, columns=["image_id", "rule", "category_id", "x1", "y1", "x2", "y2", "confidence"], memory_map=True
    )
    rules = table.column("rule").combine_chunks()
    about = json.loads(table.schema.metadata[b"provenance"])
    return _Found(
        image_ids=table.column("image_id").to_numpy(),
        category_ids=table.column("category_id").to_numpy(),
        boxes=np.column_stack([table.column(name).to_numpy() for name in ["x1", "y1", "x2", "y2"]]),
        confidences=table.column("confidence").to_numpy(),
        rules=rules.indices.to_numpy(),
        about=about,
    )


def _record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} does not exist: the run is not finished. Run `iou-aware train` for it.")
    return json.loads(path.read_text())


def _check(
    source: Path, found: _Found, evaluator: coco.CocoEvaluator, record: dict[str, Any], rules: list[str]
) -> None:
    """Refuse detections which are not of these weights, images, classes and rules."""
    again = "Run `iou-aware predict` again for this run and split."
    if found.about["weights_sha256"] != record["weights_sha256"]:
        raise InputError(
            f"{source} was made with the weights {found.about['weights_sha256']}, but the run's are now "
            f"{record['weights_sha256']}. {again}"
        )
    if found.about["images"] != len(evaluator.image_ids):
        raise InputError(
            f"{source} covers {found.about['images']} images, but the split has {len(evaluator.image_ids)}. {again}"
        )
    for what, values, known in [
        ("image", found.image_ids, evaluator.image_ids),
        ("category", found.category_ids, evaluator.category_ids),
    ]:
        strange = np.setdiff1d(values, known)
        if len(strange):
            raise InputError(
                f"{source} has detections of {what} id {strange[0]} ({len(strange)} such ids), which the split's "
                f"annotations do not have. {again}"
            )
    missing = [rule for rule in rules if rule not in found.about["rules"]]
    if missing:
        raise InputError(f"{source} lacks the rules {', '.join(missing)} of the experiment. {again}")


def _shown(percent: float | None) -> str:
    return "-" if percent is None else f"{percent:.1f}"
