"""Sets of detections on the same images, side by side: every metric, its difference, and how sure that is.

Arrays in, frames out; neither PyTorch nor MMDetection is needed. The paired bootstrap over images (see ``resampled``)
gives the standard error of a difference; the interval and the probability are Student's. Both are symmetric about the
difference, as the difference of two equally good detectors is about zero. The basic interval of ``intervals`` would
subtract the bias of resampling as well. In a difference that bias is zero on average, so that subtracting its estimate
adds nothing but noise: of LaECE and of the parts of oLRP so much that equal detectors are called different too often.

The error is about the images only: that another training of the same model would come out otherwise it does not know.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from iou_aware.common.messages import InputError
from iou_aware.evaluation import resampled
from iou_aware.evaluation.coco import CocoEvaluator, summarise, summarise_classes
from iou_aware.evaluation.intervals import LEVEL
from iou_aware.evaluation.lrp import resampled_errors
from iou_aware.evaluation.matching import match_areas
from iou_aware.evaluation.resampled import RESAMPLES

HIGHER, LOWER, EQUAL, UNDECIDED = "surely higher", "surely lower", "equal", "undecided"
# From fewer images with objects of a class the bootstrap learns too little of it.
FEWEST_IMAGES = 10
# So many sets are measured at the same time: of COCO's size each needs half a gigabyte.
_AT_ONCE = 2


@dataclass(frozen=True)
class Comparison:
    """Two or more sets of detections by name; differences are to the first of them.

    Attributes:
        metrics: One row per further set (``detections``) and ``metric``: its ``value``, that of the ``first`` set, the
            ``difference``, ``low`` and ``high`` of its 95 % interval, ``p``, the probability that equally good sets
            differ as much, and the ``verdict``. Percent, but for the correlations and ``p``.
        classes: Likewise the AP of each class, with ``p_holm``, ``p`` corrected for the number of classes (Holm 1979),
            by which ``verdict`` goes.
        images: ``influence`` of each image on the difference of AP, the most decisive first; see ``influences``.
    """

    metrics: pd.DataFrame
    classes: pd.DataFrame
    images: pd.DataFrame


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
    images = len(evaluator.image_ids)
    weights = [np.ones((1, images), dtype=np.int64), *resampled.draws(images, resamples)]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        measured = threads.map(lambda results: _measure(evaluator, results, weights), sets.values())
    (metrics, classes, influence), *others = measured
    further = dict(zip([*sets][1:], others, strict=True))
    return Comparison(
        _stacked("metric", {name: differences(metrics, one, images) for name, (one, _, _) in further.items()}),
        _stacked("category_id", {name: _by_class(classes, one, evaluator) for name, (_, one, _) in further.items()}),
        _stacked("image_id", {name: _by_image(one - influence, evaluator) for name, (_, _, one) in further.items()}),
    )


def _measure(
    evaluator: CocoEvaluator, results: np.ndarray, weights: Sequence[np.ndarray]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Return metrics and the AP of each class, a row for each of the ``weights``, and the influence of each image.

    The first of the weights are all one: that row is about the images as they are.
    """
    curves, matches = evaluator.curves(results), match_areas(evaluator, results)
    every_size = matches["all"]
    metrics, classes = resampled.distributions(matches, weights)
    metrics["AR100"] = 100 * resampled.over_classes(resampled.recalls(every_size, weights)).mean(axis=1)
    metrics |= resampled_errors(every_size, weights)
    metrics |= resampled.correlations(every_size, weights)
    # On the images as they are, to the last bit as pycocotools has them; None becomes NaN.
    for name, value in summarise(curves).items():
        metrics[name][0] = value
    classes[0] = [one["AP"] for one in summarise_classes(curves)]
    if len(results) and results[:, 5].max() > 1:
        metrics["laece"] = np.full(len(classes), np.nan)  # of what is no probability
    of_images = pd.Series(resampled.influences(every_size), evaluator.image_ids, name="influence")
    return pd.DataFrame(metrics), pd.DataFrame(classes, columns=evaluator.category_ids), of_images


def _stacked(index: str, frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, names=["detections", index]).reset_index()


def differences(first: pd.DataFrame, second: pd.DataFrame, images: int | pd.Series) -> pd.DataFrame:
    """Return how M metrics differ, and how surely: a row per metric, see ``Comparison.metrics``.

    Args:
        first: ``(1 + B, M)`` of one set of detections: on the images as they are, and on B resamples, NaN where a
            metric is undefined. A metric that is so on more than half of the resamples has no interval.
        second: Likewise of another set, on the same resamples.
        images: On how many images each metric is measured: one more than Student's degrees of freedom.
    """
    changes = second - first
    change, drawn = changes.iloc[0], changes.iloc[1:]
    error = drawn.std(ddof=0).where(2 * drawn.count() >= len(drawn))
    freedom = np.maximum(images - 1, 1)
    half_width = stdtrit(freedom, (1 + LEVEL) / 2) * error
    limits = {"low": change - half_width, "high": change + half_width}
    p = (2 * stdtr(freedom, -change.abs() / error)).mask((change == 0) & error.notna(), 1.0)
    frame = pd.DataFrame({"first": first.iloc[0], "value": second.iloc[0], "difference": change, **limits, "p": p})
    return frame.assign(verdict=_verdicts(frame, p))


def _verdicts(frame: pd.DataFrame, p: pd.Series) -> np.ndarray:
    verdicts = {
        "": p.isna(),
        EQUAL: (frame["low"] == 0) & (frame["high"] == 0),
        UNDECIDED: p >= 1 - LEVEL,
        HIGHER: frame["difference"] > 0,
    }
    return np.select([*verdicts.values()], [*verdicts], LOWER)


def _by_class(first: pd.DataFrame, second: pd.DataFrame, evaluator: CocoEvaluator) -> pd.DataFrame:
    """Return the differences of the AP of K classes; see ``differences`` and ``Comparison.classes``."""
    truth = evaluator.objects
    objects = pd.DataFrame({"category": truth.category_ids, "image": truth.image_ids})[~truth.crowd]
    images = objects.groupby("category")["image"].nunique().reindex(evaluator.category_ids, fill_value=0)
    frame = differences(first, second, images)
    frame.loc[images < FEWEST_IMAGES, ["low", "high", "p"]] = np.nan
    p_holm = pd.Series(holm(frame["p"].to_numpy()), frame.index)
    frame["verdict"] = _verdicts(frame, p_holm)
    frame.insert(0, "class", frame.index.map(truth.classes))
    frame.insert(len(frame.columns) - 1, "p_holm", p_holm)
    return frame


def _by_image(influence: pd.Series, evaluator: CocoEvaluator) -> pd.DataFrame:
    """Return the images with their influence on the difference, the most decisive first."""
    frame = influence.sort_values(key=abs, ascending=False, kind="stable").to_frame()
    frame.insert(0, "file_name", frame.index.map(evaluator.objects.file_names))
    return frame


def holm(p: np.ndarray) -> np.ndarray:
    """Return ``(K,)`` probabilities corrected for their number (Holm 1979); NaN, which is no test, stays."""
    corrected = np.full(len(p), np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected
