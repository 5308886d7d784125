"""How sure a difference of AP is: the bootstrap over images (Efron), paired because all draws are the same for all.

The images of a split are drawn with replacement, as many as there are, 1,000 times, from a fixed seed. Every run and
rule is measured on the same draws, so that a difference of two of them (or any sum of gains) has its distribution by
plain subtraction, and what makes an image hard for both cancels out. The interval is about the images only: that
another training of the same model would come out otherwise it does not know.

hotcoco's own ``compare`` counts an image that was drawn twice once, which leaves 63 % of the images and is not the
bootstrap; hence ``evaluation.resampled``.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iou_aware import detections
from iou_aware.analysis.bootstrap.resamples import CORRELATIONS, METRICS, RESAMPLES, SEED
from iou_aware.common import provenance
from iou_aware.common.files import sha256, writing
from iou_aware.data.annotations import Annotations
from iou_aware.data.manifest import Manifest
from iou_aware.evaluation import resampled
from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.matching import AREAS, match
from iou_aware.evaluation.overlaps import MATCHED, placement
from iou_aware.experiment.experiment import Experiment

logger = logging.getLogger(__name__)

# So many resamples at once keep the memory of a class of COCO's below a hundred megabytes.
_AT_ONCE = 100


def draws(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> Iterator[np.ndarray]:
    """Yield ``(at most 100, I)`` integers: how often each of I images is drawn in each resample."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - start)
        drawn = random.integers(images, size=(count, images)) + images * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images)


def distributions(evaluator: CocoEvaluator, detected: np.ndarray, resamples: int = RESAMPLES) -> dict[str, np.ndarray]:
    """Return every metric of one set of detections in every resample; the images drawn are the same for all sets.

    Args:
        evaluator: The ground truth.
        detected: ``(N, 7)``, see ``Detections.results``.
        resamples: How many.

    Returns:
        ``(B,)`` percent by ``METRICS``; NaN where no class has an object.
    """
    values: dict[str, np.ndarray] = {}
    for area in AREAS:
        matches = match(evaluator, detected, area)
        precisions = resampled.average_precisions(matches, draws(len(evaluator.image_ids), resamples))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN, as it should be
            by_threshold = 100 * np.nanmean(precisions, axis=2)
        values["AP" if area == "all" else f"AP{area}"] = by_threshold.mean(axis=1)
        if area == "all":
            values |= zip(METRICS[1:], by_threshold.T, strict=False)
    return values


def correlations(
    evaluator: CocoEvaluator, truth: Annotations, detected: np.ndarray, resamples: int = RESAMPLES
) -> dict[str, np.ndarray]:
    """Return how confidence correlates with IoU in every resample: ``(B,)`` by ``CORRELATIONS``, NaN where undefined.

    Args:
        evaluator: The ground truth, to match with.
        truth: Its boxes.
        detected: ``(N, 7)``, see ``Detections.results``.
        resamples: How many.
    """
    matches = match(evaluator, detected, thresholds=np.array([MATCHED]))
    ious, true = placement(truth, detected, matches), matches.true[0]
    parts = [
        resampled.correlations(matches.confidences[true], ious[true], matches.images[true], drawn)
        if true.any()
        else np.full((len(CORRELATIONS), len(drawn)), np.nan)
        for drawn in draws(len(evaluator.image_ids), resamples)
    ]
    return dict(zip(CORRELATIONS, np.concatenate(parts, axis=1), strict=True))


def resample(experiment: Experiment, run_name: str, split: str, resamples: int = RESAMPLES) -> Path:
    """Write ``results/<experiment>/bootstrap/<run>/<split>.parquet``: all metrics, in every resample, for every rule.

    Raises:
        InputError: The detections or the manifest are missing.
    """
    run, target = experiment.run(run_name), experiment.paths.bootstrap(run_name, split)
    manifest = Manifest.load(experiment.paths.manifest(run.dataset))
    annotations = experiment.root / manifest.split(split).annotations
    source = experiment.paths.detections(run_name, split)
    truth, evaluator = Annotations.load(annotations), CocoEvaluator(annotations)
    tables = []
    for rule in experiment.rules_for(run):
        detected = detections.read(source, rule).results
        values = distributions(evaluator, detected, resamples=resamples)
        values |= correlations(evaluator, truth, detected, resamples)
        tables.append(pa.table({"rule": [rule] * resamples, "resample": range(resamples), **values}))
        logger.info("%s, %s, %s: %d resamples", run_name, split, rule, resamples)
    made = {
        **provenance.collect(),
        "weights_sha256": detections.provenance(source)["weights_sha256"],
        "annotations_sha256": sha256(annotations),
        "detections_sha256": sha256(source),
        "images": len(evaluator.image_ids),
        "resamples": resamples,
        "seed": SEED,
    }
    table = pa.concat_tables(tables).replace_schema_metadata({"provenance": json.dumps(made)})
    with writing(target) as beside:
        pq.write_table(table, beside, compression="zstd")
    return target
