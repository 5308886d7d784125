"""The stage ``evaluate``: the detections of one run on one split, under every rule, become metrics."""

from pathlib import Path

from iou_aware import detections
from iou_aware.common import provenance, seal
from iou_aware.common.files import sha256, write_json
from iou_aware.common.messages import InputError, log
from iou_aware.detections import AGAIN
from iou_aware.evaluation import coco, voc07
from iou_aware.experiment.experiment import Experiment


def evaluate(experiment: Experiment, run_name: str, split: str) -> Path:
    """Write ``results/<experiment>/evaluations/<run>/<split>.json`` and return its path.

    Args:
        experiment: The study.
        run_name: One of ``experiment.runs``.
        split: A split of the run's dataset with annotations.

    Raises:
        InputError: A stage before this one has not run; one of the run's files has changed since it was finished; or
            the files do not belong together: detections of other weights, on other images, of other classes, or without
            a rule of the experiment.
    """
    run, paths = experiment.run(run_name), experiment.paths
    manifest = experiment.manifest(run)
    data = manifest.split(split)
    if not data.labelled:
        raise InputError(f"dataset {run.dataset}: the split {split!r} has no boxes to evaluate with.")
    source, rules = paths.detections(run_name, split), experiment.rules_for(run)
    record = seal.verify(paths.run_folder(run_name))
    _check_origin(source, record["weights_sha256"], data.counts["images"])
    evaluator = coco.CocoEvaluator(experiment.root / data.annotations)
    classes = [evaluator.objects.classes[category] for category in evaluator.category_ids]

    measured = {}
    for rule, found in detections.by_rule(source, rules):
        results = found.results
        place = f"{source}, rule '{rule}'"
        coco.require_known(results, evaluator.image_ids, evaluator.category_ids, place)
        curves = evaluator.curves(results)
        metrics = coco.summarise(curves)
        if manifest.layout == "voc":
            metrics |= voc07.summarise(voc07.average_precisions(evaluator.objects, results, evaluator.category_ids))
        per_class = dict(zip(classes, coco.summarise_classes(curves), strict=True))
        measured[rule] = {"metrics": metrics, "per_class": per_class}
        log.info("%s, %s, %s: AP %s", run_name, split, rule, "-" if metrics["AP"] is None else f"{metrics['AP']:.1f}")
    made = {
        **provenance.collect(),
        "config_sha256": record["config_sha256"],
        "weights_sha256": record["weights_sha256"],
        "annotations_sha256": data.sha256,
        "detections_sha256": sha256(source),
        "images": data.counts["images"],
        "boxes": data.counts["boxes"],
    }
    target = paths.evaluation(run_name, split)
    write_json(target, {"run": run_name, "dataset": run.dataset, "split": split, "rules": measured, "provenance": made})
    return target


def _check_origin(source: Path, weights: str, images: int) -> None:
    """Refuse detections of other weights or of other images."""
    about = detections.provenance(source)
    if about["weights_sha256"] != weights:
        raise InputError(
            f"{source} was made with the weights {about['weights_sha256']}, but the run's are now {weights}. {AGAIN}"
        )
    if about["images"] != images:
        raise InputError(f"{source} covers {about['images']} images, but the split has {images}. {AGAIN}")
