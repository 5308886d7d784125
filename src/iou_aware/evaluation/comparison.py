"""Sets of detections on the same images, side by side: every metric, its difference, and how sure that is.

Arrays in, frames out; neither PyTorch nor MMDetection is needed. Differences have intervals from the paired bootstrap
over images (see ``resampled``). They are about the images only: that another training of the same model would come out
otherwise they do not know.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr

from iou_aware.common.errors import InputError
from iou_aware.data.annotations import Annotations
from iou_aware.evaluation.coco import CocoEvaluator, summarise, summarise_classes
from iou_aware.evaluation.intervals import EQUAL, LEVEL, UNDECIDED, interval
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
# From fewer images with objects of a class the bootstrap learns too little of it.
FEWEST_IMAGES = 10
# The parts of oLRP are taken at the best threshold, which jumps from resample to resample: their intervals are too
# narrow for a verdict (benchmarks/comparison.py).
_PARTS = ("localisation", "false", "missed")
# So many sets are measured at the same time: of COCO's size each needs half a gigabyte.
_AT_ONCE = 2


_COLUMNS = ["first", "value", "difference", "low", "high", "higher", "verdict"]


@dataclass(frozen=True)
class Comparison:
    """Two or more sets of detections by name; differences are to the first of them.

    Attributes:
        metrics: One row per metric and further set (``detections``): its ``value``, that of the ``first`` set, the
            ``difference``, ``low`` and ``high`` of its 95 % interval, ``higher`` (the share of the resamples where it
            is above zero) and the ``verdict``. Percent, but for the correlations.
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
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        first, *others = threads.map(lambda one: _measure(evaluator, truth, one, resamples), sets.values())
    pairs = np.unique([truth.image_ids[~truth.crowd], truth.category_ids[~truth.crowd]], axis=1)
    images_of = pd.Series(pairs[1]).value_counts()
    metrics, classes, images = [], [], []
    for name, other in zip([*sets][1:], others, strict=True):
        changes = [
            {"metric": metric} | _change(first.values[metric], value, first.drawn[metric], other.drawn[metric])
            for metric, value in other.values.items()
        ]
        metrics.append(pd.DataFrame(changes).reindex(columns=["metric", *_COLUMNS]))
        unjudged = metrics[-1]["metric"].isin(_PARTS) & (metrics[-1]["verdict"] != EQUAL)
        metrics[-1].loc[unjudged, "verdict"] = ""
        by_class = _by_class(first, other, images_of.reindex(evaluator.category_ids, fill_value=0).to_numpy())
        by_class.insert(0, "category_id", evaluator.category_ids)
        by_class.insert(1, "class", [*map(truth.classes.get, evaluator.category_ids)])
        classes.append(by_class)
        moved = {"image_id": evaluator.image_ids, "influence": other.influences - first.influences}
        images.append(pd.DataFrame(moved).sort_values("influence", key=abs, ascending=False, kind="stable"))
        images[-1].insert(1, "file_name", images[-1]["image_id"].map(truth.file_names))
        for frames in (metrics, classes, images):
            frames[-1].insert(0, "detections", name)
    return Comparison(*(pd.concat(frames, ignore_index=True) for frames in (metrics, classes, images)))


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


def _change(first: float, value: float, drawn_first: np.ndarray, drawn: np.ndarray) -> dict[str, float | str]:
    """Return two values, their difference with its interval, from ``(B,)`` resamples, and what that says."""
    change = value - first
    sure = None if np.isnan(change) else interval(change, drawn - drawn_first)
    limits = {} if sure is None else {"low": sure.low, "high": sure.high, "higher": sure.positive}
    return {
        "first": first,
        "value": value,
        "difference": change,
        **limits,
        "verdict": "" if sure is None else sure.verdict,
    }


def _by_class(first: _Measured, second: _Measured, images: np.ndarray) -> pd.DataFrame:
    """Return the changes of AP of K classes, with their probabilities.

    A thousand resamples cannot tell apart the small probabilities that a correction for many classes asks for, so ``p``
    is Student's, of the difference over its standard deviation in the resamples.

    Args:
        first: One set of detections.
        second: The other.
        images: ``(K,)``, on how many images each class has objects.
    """
    sides = first.classes, second.classes, first.drawn_classes.T, second.drawn_classes.T
    frame = pd.DataFrame([_change(*values) for values in zip(*sides, strict=True)]).reindex(columns=_COLUMNS)
    few = images < FEWEST_IMAGES
    frame.loc[few, ["low", "high", "higher", "verdict"]] = [np.nan, np.nan, np.nan, ""]
    scaled = frame["difference"].abs() / pd.DataFrame((sides[3] - sides[2]).T).std(ddof=0)
    p = 2 * stdtr(np.maximum(images - 1, 1), -scaled)
    frame["p"] = np.where(few, np.nan, np.where(frame["difference"] == 0, 1.0, p))
    frame["p_holm"] = holm(frame["p"].to_numpy())
    frame.loc[(frame["p_holm"] >= 1 - LEVEL) & (frame["verdict"] != EQUAL), "verdict"] = UNDECIDED
    return frame


def holm(p: np.ndarray) -> np.ndarray:
    """Return ``(K,)`` probabilities corrected for their number (Holm 1979); NaN, which is no test, stays."""
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected
