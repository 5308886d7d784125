"""The stage ``premise``: what the paper starts from and never measures, measured.

A single-stage detector's classification score is said to tell little about how well a box is placed, and confidence
made of score and predicted IoU to tell more. Here is by how much, for every run and rule: rank and linear correlation
with IoU, the joint density, whether the predicted IoU can be believed (and on what it cannot), LRP and LaECE.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iou_aware import detections
from iou_aware.common.files import write_text
from iou_aware.common.messages import log
from iou_aware.detections import Detections
from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.lrp import ERRORS, errors
from iou_aware.evaluation.matching import MATCHED, Matches, Overlaps, match, overlaps
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import FIELDS

TABLES = {
    "correlations": ["boxes", "score", "detections", "spearman", "pearson"],
    "density": ["confidence", "iou", "detections"],
    "reliability": ["from", "to", "detections", "iou_pred", "iou"],
    "bias": ["group", "detections", "iou_pred", "iou", "bias"],
    "lrp": [*ERRORS],
}
# Which detections correlations are over. ``found``: one for each object that was found, the true positives at an IoU of
# one half, which is what AP ranks. ``near``: all that overlap an object of their class by so much, with the duplicates
# that NMS has left; they are badly placed and low in rank by its making, and a rule that keeps more of them correlates
# better for that alone. ``all``: objects and background.
BOXES = ("found", "near", "all")
BINS = 20
# What a detection is, by its IoU with the nearest object of any class: the IoU head does not know classes.
GROUPS = {"object": (0.5, 1.01), "poorly placed": (0.1, 0.5), "background": (-0.01, 0.1)}
_FEWEST = 3
_SHARED = ["run", "split", "rule", *FIELDS]


def write_premise(experiment: Experiment) -> list[Path]:
    """Write ``results/<experiment>/premise/<table>.csv`` for each of ``TABLES``; return the paths.

    Works on the runs that have detections. All tables have the run's fields, its split and the rule.

    - ``correlations``: Spearman's and Pearson's correlation of ``score`` (the confidence, the classification score
      or the predicted IoU) with the IoU with an object of the class, over some of the detections (``BOXES``).
    - ``density``: counts of detections by bins of confidence and IoU (lower edges, 20 bins of 0.05).
    - ``reliability``: by bins of predicted IoU, its mean and the mean IoU with the nearest object of any class.
    - ``bias``: predicted less true IoU, its mean over what is an object, a poorly placed box, background.
    - ``lrp``: oLRP with its parts, and LaECE, percent.

    Raises:
        InputError: A file of detections or a manifest is damaged.
    """
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    ground_truth = cache(CocoEvaluator)  # which runs share
    for name, split in experiment.evaluations():
        run, file = experiment.runs[name], experiment.paths.detections(name, split)
        if not file.is_file():
            continue
        evaluator = ground_truth(experiment.root / experiment.manifest(run).split(split).annotations)
        for rule, detected in detections.by_rule(file, experiment.rules_for(run)):
            if rule.kind == "oracle":
                detected = replace(detected, iou_preds=None)  # they are the truth, and no prediction to be judged
            shared = {"run": name, "split": split, "rule": rule} | run.as_dict()
            array = detected.results
            near = overlaps(evaluator.objects, array)
            matches = match(evaluator, array, thresholds=np.array([MATCHED]))
            parts = {
                "correlations": correlations(detected, near, matches),
                "density": density(detected, near),
                "lrp": [errors(matches)],
            }
            if detected.iou_preds is not None:
                parts |= {"reliability": reliability(detected, near), "bias": bias(detected, near)}
            for table, rows in parts.items():
                tables[table] += [shared | row for row in rows]
            log.info("%s, %s, %s: %d detections", name, split, rule, len(detected.confidences))
    files = {name: experiment.paths.premise / f"{name}.csv" for name in TABLES}
    for name, rows in tables.items():
        frame = pd.DataFrame(rows, columns=[*_SHARED, *TABLES[name]])
        write_text(files[name], frame.to_csv(index=False, lineterminator="\n"))
    return list(files.values())


def load_premise(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the tables that ``write_premise`` wrote to a folder, by name; without lines before it has run."""
    tables = {name: pd.DataFrame(columns=[*_SHARED, *columns]) for name, columns in TABLES.items()}
    return tables | {file.stem: pd.read_csv(file) for file in folder.glob("*.csv") if file.stem in TABLES}


def correlations(detected: Detections, near: Overlaps, matches: Matches) -> list[dict[str, Any]]:
    """Return rows of ``correlations``; None where fewer than three detections, or equal ones, have no correlation.

    Args:
        detected: N detections.
        near: What they overlap.
        matches: What they were matched with.
    """
    from scipy import stats  # half a second, which readers of the tables do not need

    scores = {"confidence": detected.confidences, "cls_score": detected.cls_scores}
    if detected.iou_preds is not None:
        scores["iou_pred"] = detected.iou_preds
    rows = []
    own, same = np.full(len(near.same), np.nan), np.where(near.crowd, np.nan, near.same)
    own[matches.rows] = matches.ious
    for boxes, ious in zip(BOXES, (own, np.where(same >= MATCHED, same, np.nan), same), strict=True):
        mine = ~np.isnan(ious)
        for name, values in scores.items():
            row: dict[str, Any] = {"boxes": boxes, "score": name, "detections": int(mine.sum())}
            defined = mine.sum() >= _FEWEST and np.ptp(values[mine]) > 0 and np.ptp(ious[mine]) > 0
            row["spearman"] = float(stats.spearmanr(values[mine], ious[mine])[0]) if defined else None
            row["pearson"] = float(stats.pearsonr(values[mine], ious[mine])[0]) if defined else None
            rows.append(row)
    return rows


def density(detected: Detections, near: Overlaps) -> list[dict[str, Any]]:
    """Return rows of ``density``, the bins that hold a detection."""
    keep = ~near.crowd
    counts, edges, _ = np.histogram2d(detected.confidences[keep], near.same[keep], bins=BINS, range=[[0, 1], [0, 1]])
    lower = np.round(edges[:-1], 4)
    return [
        {"confidence": lower[i], "iou": lower[j], "detections": int(counts[i, j])}
        for i, j in zip(*np.nonzero(counts), strict=True)
    ]


def reliability(detected: Detections, near: Overlaps) -> list[dict[str, Any]]:
    """Return rows of ``reliability``, of detections with a predicted IoU."""
    keep = ~near.crowd
    predicted, true = detected.iou_preds[keep].astype(np.float64), near.any[keep]
    bins = np.minimum((predicted * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    means = [np.bincount(bins, values, BINS) / np.maximum(counts, 1) for values in (predicted, true)]
    return [
        {"from": b / BINS, "to": (b + 1) / BINS, "detections": int(counts[b])}
        | {"iou_pred": float(means[0][b]), "iou": float(means[1][b])}
        for b in np.flatnonzero(counts)
    ]


def bias(detected: Detections, near: Overlaps) -> list[dict[str, Any]]:
    """Return rows of ``bias``, of detections with a predicted IoU."""
    rows = []
    for group, (low, high) in GROUPS.items():
        mine = (near.any >= low) & (near.any < high) & ~near.crowd
        row: dict[str, Any] = {"group": group, "detections": int(mine.sum())}
        if mine.any():
            predicted, true = float(detected.iou_preds[mine].mean(dtype=np.float64)), float(near.any[mine].mean())
            row |= {"iou_pred": predicted, "iou": true, "bias": predicted - true}
        rows.append(row)
    return rows
