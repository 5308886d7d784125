"""How sure a difference of AP is: the paired bootstrap over images, for every rule of one run on one split.

The interval is about the images only: that another training of the same model would come out otherwise it does not
know.

hotcoco's own ``compare`` counts an image that was drawn twice once, which leaves 63 % of the images and is not the
bootstrap; hence ``evaluation.resampled``.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from iou_aware import detections
from iou_aware.common import provenance
from iou_aware.common.files import sha256, writing
from iou_aware.common.messages import log
from iou_aware.data.manifest import Manifest
from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.matching import match_areas
from iou_aware.evaluation.resampled import RESAMPLES, SEED, correlation_distributions, distributions, draws
from iou_aware.experiment.experiment import Experiment


def resample(experiment: Experiment, run_name: str, split: str, resamples: int = RESAMPLES) -> Path:
    """Write ``results/<experiment>/bootstrap/<run>/<split>.parquet``: all metrics, in every resample, for every rule.

    Raises:
        InputError: The detections or the manifest are missing.
    """
    run, target = experiment.run(run_name), experiment.paths.bootstrap(run_name, split)
    manifest = Manifest.load(experiment.paths.manifest(run.dataset))
    seed = SEED + manifest.fold(run.seed)  # the draws of one fold are not those of another
    annotations = experiment.root / manifest.for_seed(run.seed).split(split).annotations
    source = experiment.paths.detections(run_name, split)
    evaluator = CocoEvaluator(annotations)
    weights = list(draws(len(evaluator.image_ids), resamples, seed))
    tables = []
    for rule, found in detections.by_rule(source, experiment.rules_for(run)):
        matches = match_areas(evaluator, found.results)
        values, _ = distributions(matches, weights)
        values |= correlation_distributions(matches["all"], weights)
        tables.append(pa.table({"rule": [rule] * resamples, "resample": range(resamples), **values}))
        log.info("%s, %s, %s: %d resamples", run_name, split, rule, resamples)
    made = {
        **provenance.collect(),
        "weights_sha256": detections.provenance(source)["weights_sha256"],
        "annotations_sha256": sha256(annotations),
        "detections_sha256": sha256(source),
        "images": len(evaluator.image_ids),
        "resamples": resamples,
        "seed": seed,
    }
    table = pa.concat_tables(tables).replace_schema_metadata({"provenance": json.dumps(made)})
    with writing(target) as beside:
        pq.write_table(table, beside, compression="zstd")
    return target
