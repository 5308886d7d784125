"""How sure a difference of AP is: the paired bootstrap over images, for every rule of one run on one split.

The interval is about the images only: that another training of the same model would come out otherwise it does not
know.

hotcoco's own ``compare`` counts an image that was drawn twice once, which leaves 63 % of the images and is not the
bootstrap; hence ``evaluation.resampled``.
"""

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from iou_aware import detections
from iou_aware.common import provenance
from iou_aware.common.files import sha256, writing
from iou_aware.common.messages import InputError, log
from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.matching import match_areas
from iou_aware.evaluation.resampled import RESAMPLES, SEED, correlations, distributions, draws
from iou_aware.experiment.experiment import Experiment


def resample(experiment: Experiment, run_name: str, split: str, resamples: int = RESAMPLES) -> Path:
    """Write ``results/<experiment>/bootstrap/<run>/<split>.parquet``: all metrics, in every resample, for every rule.

    Raises:
        InputError: The detections or the manifest are missing.
    """
    run, target = experiment.run(run_name), experiment.paths.bootstrap(run_name, split)
    manifest = experiment.manifest(run)
    seed = SEED + manifest.fold(run.seed)  # the draws of one fold are not those of another
    annotations = experiment.root / manifest.split(split).annotations
    source = experiment.paths.detections(run_name, split)
    evaluator = CocoEvaluator(annotations)
    weights = list(draws(len(evaluator.image_ids), resamples, seed))
    tables = []
    for rule, found in detections.by_rule(source, experiment.rules_for(run)):
        matches = match_areas(evaluator, found.results)
        values, _ = distributions(matches, weights)
        values |= correlations(matches["all"], weights)
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


def load(path: Path) -> pd.DataFrame | None:
    """Return what ``resample`` wrote to ``path``: a row per rule and resample, a column per metric; None before it has.

    The provenance is in the frame's ``attrs``, and the ``path``.

    Raises:
        InputError: It is not such a file.
    """
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
        frame = table.to_pandas()
        frame.attrs = json.loads(table.schema.metadata[b"provenance"]) | {"path": str(path)}
        frame["rule"]
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as fault:
        raise InputError(
            f"{path}: expected a file that `iou-aware bootstrap` wrote ({type(fault).__name__}). Run it again."
        ) from fault
    return frame


def means(cells: Sequence[tuple[Sequence[pd.DataFrame | None], str, str]]) -> np.ndarray | None:
    """Return ``(B, K)``, each of K cells in each resample; None if one of them is not resampled.

    Args:
        cells: The resamples of a row's seeds, which ``load`` returned; a rule; and a metric.

    Raises:
        InputError: The images were not drawn alike for all cells, so that their differences are not paired.
    """
    frames = [frame for of_cell, *_ in cells for frame in of_cell]
    if any(frame is None for frame in frames):
        return None
    files = {frame.attrs["path"]: frame.attrs for frame in frames}
    for first, second in combinations(files.values(), 2):
        differ = [key for key in ("resamples", "annotations_sha256", "seed") if first[key] != second[key]]
        # Folds of cross-validation are other images, drawn from another seed.
        if differ and differ != ["annotations_sha256", "seed"]:
            key = differ[0]
            raise InputError(
                f"{first['path']} and {second['path']} cannot be compared: their {key} are {first[key]} and"
                f" {second[key]}. Run `iou-aware bootstrap` again for both."
            )
    drawn, starts = [], []
    for of_cell, rule, metric in cells:
        starts.append(len(drawn))
        for frame in of_cell:
            mine = frame[frame["rule"] == rule]
            if metric not in frame or mine.empty:
                return None
            drawn.append(1 / len(of_cell) * mine[metric].to_numpy())
    return np.add.reduceat(np.stack(drawn, axis=1), starts, axis=1)
