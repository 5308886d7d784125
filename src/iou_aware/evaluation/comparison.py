"""Sets of detections on the same images, side by side: every metric, its difference, and how sure that is.

Arrays in, frames out; neither PyTorch nor MMDetection is needed. Differences have intervals from the paired bootstrap
over images (see ``resampled``). They are about the images only: that another training of the same model would come out
otherwise they do not know.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr

from iou_aware.common.errors import InputError
from iou_aware.data.annotations import Annotations
from iou_aware.evaluation.coco import CocoEvaluator, summarise, summarise_classes
from iou_aware.evaluation.intervals import LEVEL, interval
from iou_aware.evaluation.lrp import errors, resampled_errors
from iou_aware.evaluation.matching import match_areas
from iou_aware.evaluation.resampled import (
    METRICS,
    RESAMPLES,
    correlation_distributions,
    distributions,
    draws,
    influences,
    over_classes,
    recalls,
)

LOWER_IS_BETTER = ("olrp", "localisation", "false", "missed", "laece")
HIGHER, LOWER, EQUAL, UNDECIDED = "surely higher", "surely lower", "equal", "undecided"
# From fewer images with objects of a class the bootstrap learns too little of it.
FEWEST_IMAGES = 10


@dataclass(frozen=True)
class Comparison:
    """Two or more sets of detections by name; differences are to the first of them.

    Attributes:
        metrics: One row per metric and set: ``metric``, ``detections``, ``value``, ``difference``, ``low`` and
            ``high`` of its 95 % interval, ``higher`` (the share of the resamples where the difference is above zero),
            ``verdict``. Percent, but for the correlations.
        classes: Likewise the AP of each class, with ``p`` of the difference and ``p_holm``, that corrected for the
            number of classes (Holm 1979), by which ``verdict`` goes.
        images: ``influence`` of each image on the difference of AP, the most decisive first; see ``influences``.
    """

    metrics: pd.DataFrame
    classes: pd.DataFrame
    images: pd.DataFrame


@dataclass(frozen=True)
class _Measured:
    """The metrics of one set of detections, on the images as they are and in B resamples."""

    values: dict[str, float]
    drawn: dict[str, np.ndarray]
    classes: np.ndarray
    drawn_classes: np.ndarray
    influences: np.ndarray


def compare(evaluator: CocoEvaluator, sets: Mapping[str, np.ndarray], resamples: int = RESAMPLES) -> Comparison:
    """Compare sets of detections with the first of them.

    Args:
        evaluator: The ground truth.
        sets: By name, ``(N, 7)`` each: image id, x, y, width, height, score, category id; see ``read_results``.
        resamples: How often the images are drawn.

    Raises:
        InputError: There are fewer than two, or they have ids that the annotations do not have.
    """
    if len(sets) < 2:
        raise InputError(f"found {len(sets)} set of detections, expected two or more to compare.")
    truth = Annotations.load(evaluator.annotations)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        found = threads.map(lambda results: _measure(evaluator, truth, results, resamples), sets.values())
        measured = dict(zip(sets, found, strict=True))
    first = next(iter(measured.values()))
    with_class = np.unique([truth.image_ids[~truth.crowd], truth.category_ids[~truth.crowd]], axis=1)[1]
    images_of = np.array([(with_class == category).sum() for category in evaluator.category_ids])
    tables: list[list[pd.DataFrame]] = [[], [], []]
    for name, one in measured.items():
        rows = [
            {"metric": metric, "detections": name, "value": value}
            | ({} if one is first else _difference(value - first.values[metric], one.drawn[metric] - first.drawn[metric]))
            for metric, value in one.values.items()
        ]
        tables[0].append(pd.DataFrame(rows))
        classes = {"category_id": evaluator.category_ids, "class": [*map(truth.classes.get, evaluator.category_ids)]}
        frame = pd.DataFrame({**classes, "detections": name, "AP": one.classes})
        tables[1].append(frame if one is first else frame.join(_by_class(first, one, images_of)))
        if one is not first:
            images = {"image_id": evaluator.image_ids, "detections": name}
            frame = pd.DataFrame({**images, "influence": one.influences - first.influences})
            frame["file_name"] = frame["image_id"].map(truth.file_names)
            tables[2].append(frame.sort_values("influence", key=abs, ascending=False, kind="stable"))
    return Comparison(*(pd.concat(parts, ignore_index=True) for parts in tables))


def _measure(evaluator: CocoEvaluator, truth: Annotations, results: np.ndarray, resamples: int) -> _Measured:
    curves, matches = evaluator.curves(results), match_areas(evaluator, results)
    found, images = matches["all"], len(evaluator.image_ids)
    drawn, drawn_classes = distributions(matches, resamples)
    drawn["AR100"] = 100 * over_classes(recalls(found, draws(images, resamples))).mean(axis=1)
    drawn |= resampled_errors(truth, results, found, draws(images, resamples))
    drawn |= correlation_distributions(truth, results, found, draws(images, resamples))
    once = [np.ones((1, images), dtype=np.int64)]
    whole = {name: value[0] for name, value in correlation_distributions(truth, results, found, once).items()}
    values = summarise(curves) | asdict(errors(truth, results, found)) | whole
    if len(results) and results[:, 5].max() > 1:
        values["laece"] = None  # of what is no probability
    order = (*METRICS, "AR100", *LOWER_IS_BETTER, *whole)
    plain = {name: np.nan if values[name] is None else float(values[name]) for name in order}
    classes = np.array([one["AP"] for one in summarise_classes(curves)], dtype=np.float64)
    return _Measured(plain, drawn, classes, drawn_classes, influences(found))


def _difference(change: float, drawn: np.ndarray) -> dict[str, float | str]:
    """Return a difference with its interval, from its resamples ``(B,)``, and what that says."""
    sure = None if np.isnan(change) else interval(change, drawn)
    if sure is None:
        return {"difference": change}
    word = EQUAL if sure.low == sure.high == 0 else UNDECIDED
    word = HIGHER if sure.low > 0 else LOWER if sure.high < 0 else word
    limits = {"low": sure.low, "high": sure.high, "higher": sure.positive}
    return {"difference": change, **limits, "verdict": word}


def _by_class(first: _Measured, second: _Measured, images: np.ndarray) -> pd.DataFrame:
    """Return the columns of ``Comparison.classes`` about the differences of K classes.

    A thousand resamples cannot tell apart the small probabilities that a correction for many classes asks for, so ``p``
    is Student's, of the difference over its standard deviation in the resamples.

    Args:
        first: One set of detections.
        second: The other.
        images: ``(K,)``, on how many images each class has objects.
    """
    rows = []
    changes, drawn = second.classes - first.classes, (second.drawn_classes - first.drawn_classes).T
    for count, change, values in zip(images, changes, drawn, strict=True):
        if count < FEWEST_IMAGES:
            rows.append({"difference": change, "p": np.nan})
            continue
        deviation = np.nanstd(values)
        p = 2 * stdtr(count - 1, -abs(change) / deviation) if deviation else float(change == 0)
        rows.append(_difference(change, values) | {"p": p})
    frame = pd.DataFrame(rows).reindex(columns=["difference", "low", "high", "p", "verdict"])
    frame["p_holm"] = holm(frame["p"].to_numpy(dtype=np.float64))
    frame.loc[(frame["p_holm"] >= 1 - LEVEL) & (frame["verdict"] != EQUAL), "verdict"] = UNDECIDED
    return frame


def holm(p: np.ndarray) -> np.ndarray:
    """Return ``(K,)`` probabilities corrected for their number (Holm 1979); NaN, which is no test, stays."""
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected
