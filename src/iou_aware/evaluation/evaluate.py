"""The stage ``evaluate``: the detections of one run on one split, under every rule, become metrics."""

import logging
from pathlib import Path
from typing import Any

from iou_aware import detections
from iou_aware.common import provenance, seal
from iou_aware.common.errors import InputError
from iou_aware.common.files import sha256, write_json
from iou_aware.data.manifest import Manifest
from iou_aware.detections import AGAIN, Detections
from iou_aware.evaluation import coco, voc07
from iou_aware.experiment.experiment import Experiment

logger = logging.getLogger(__name__)


def evaluate(experiment: Experiment, run_name: str, split: str) -> Path:
    """Write ``results/<experiment>/evaluations/<run>/<split>.json`` and return its path.

    Args:
        experiment: The study; its ``referee`` makes pycocotools confirm every number.
        run_name: One of ``experiment.runs``.
        split: A split of the run's dataset with annotations.

    Raises:
        InputError: A stage before this one has not run; one of the run's files has changed since it was finished; or
            the files do not belong together: detections of other weights, on other images, of other classes, or without
            a rule of the experiment.
        RuntimeError: pycocotools comes to other numbers.
    """
    run, paths = experiment.run(run_name), experiment.paths
    manifest = Manifest.load(paths.manifest(run.dataset))
    data = manifest.split(split)
    if not data.labelled:
        raise InputError(f"dataset {run.dataset}: the split {split!r} has no boxes to evaluate with.")
    source, rules = paths.detections(run_name, split), experiment.rules_for(run)
    record = seal.verify(paths.run_folder(run_name))
    _check_origin(source, record["weights_sha256"], data.counts["images"], rules)
    measure = _Measure(experiment.root / data.annotations, manifest, experiment.referee)

    results = {}
    for rule in rules:
        results[rule] = measure(detections.read(source, rule), f"{source}, rule '{rule}'")
        percent = results[rule]["metrics"]["AP"]
        logger.info("%s, %s, %s: AP %s", run_name, split, rule, "-" if percent is None else f"{percent:.1f}")
    made = {
        **provenance.collect(),
        "config_sha256": record["config_sha256"],
        "weights_sha256": record["weights_sha256"],
        "annotations_sha256": data.sha256,
        "detections_sha256": sha256(source),
        "images": data.counts["images"],
        "boxes": data.counts["boxes"],
        "referee": experiment.referee,
    }
    target = paths.evaluation(run_name, split)
    write_json(target, {"run": run_name, "dataset": run.dataset, "split": split, "rules": results, "provenance": made})
    return target


class _Measure:
    """Measures detections of any rule against one split, whose ground truth is loaded once."""

    def __init__(self, annotations: Path, manifest: Manifest, referee: bool):
        self.evaluator = coco.CocoEvaluator(annotations)
        self._referee = coco.Referee(annotations) if referee else None
        self._voc = voc07.load_ground_truth(annotations) if manifest.layout == "voc" else None
        names = dict(zip(manifest.category_ids, manifest.classes, strict=True))
        self._classes = [names[category] for category in self.evaluator.category_ids]

    def __call__(self, found: Detections, place: str) -> dict[str, Any]:
        """Return ``metrics`` of one rule's detections, which lie at ``place``, and the same ``per_class``."""
        columns = (found.image_ids, found.boxes, found.confidences, found.category_ids)
        results = coco.results_array(*columns)
        coco.require_known(results, self.evaluator.image_ids, self.evaluator.category_ids, place)
        curves = self.evaluator.curves(results)
        if self._referee:
            self._confirm(curves, self._referee.curves(results))
        metrics = coco.summarise(curves)
        if self._voc:
            metrics |= voc07.summarise(voc07.average_precisions(self._voc, *columns))
        return {"metrics": metrics, "per_class": dict(zip(self._classes, coco.summarise_classes(curves), strict=True))}

    def _confirm(self, ours: coco.Curves, theirs: coco.Curves) -> None:
        difference = coco.disagreement(ours, theirs)
        if difference:
            raise RuntimeError(
                f"hotcoco and pycocotools differ by up to {difference:g} in precision or recall. The numbers of "
                "pycocotools are the official ones; please report this with the detections."
            )


def _check_origin(source: Path, weights: str, images: int, rules: list[str]) -> None:
    """Refuse detections of other weights, of other images or without one of the rules."""
    about = detections.provenance(source)
    if about["weights_sha256"] != weights:
        raise InputError(
            f"{source} was made with the weights {about['weights_sha256']}, but the run's are now {weights}. {AGAIN}"
        )
    if about["images"] != images:
        raise InputError(f"{source} covers {about['images']} images, but the split has {images}. {AGAIN}")
    missing = [rule for rule in rules if rule not in about["rules"]]
    if missing:
        raise InputError(f"{source} lacks the rules {', '.join(missing)} of the experiment. {AGAIN}")
