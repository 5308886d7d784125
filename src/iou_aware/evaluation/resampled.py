"""COCO's AP, and correlations, of a split whose images count different numbers of times: for a bootstrap over images.

Drawing images with replacement and evaluating again is the same as giving every image an integer weight, because
matching never looks beyond one image. So detections are matched once; each resample only re-weights the counts of
which precision and recall are made. The result equals evaluating duplicated images to rounding (tested against
pycocotools), but for one thing: detections of equal confidence within one image may change places.
"""

import numpy as np
from scipy import sparse

from iou_aware.evaluation.matching import Matches

_RECALLS = np.append(np.linspace(0.0, 1.0, 101), np.inf)
_EPSILON = np.spacing(1)


def average_precisions(matches: Matches, weights: np.ndarray) -> np.ndarray:
    """Return the AP of each class at each threshold in each resample.

    Args:
        matches: Of one set of detections in one area range.
        weights: ``(B, I)`` integers, how often each of the I images counts in each of B resamples.

    Returns:
        ``(B, T, K)`` in [0, 1]; NaN where a class has no object in a resample.
    """
    weights = np.ascontiguousarray(weights.T, dtype=np.float64)  # (I, B)
    classes = len(matches.category_ids)
    positives = _counts(matches.object_classes, matches.object_images, (classes, len(weights))) @ weights
    result = np.full((weights.shape[1], len(matches.matched), classes), np.nan)
    bounds = np.searchsorted(matches.classes, np.arange(classes + 1))
    for k in range(classes):
        if positives[k].any():
            result[:, :, k] = _of_class(matches, slice(bounds[k], bounds[k + 1]), positives[k], weights)
    return result


def correlations(first: np.ndarray, second: np.ndarray, images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return how two values of N detections correlate in each resample, as if detections were there several times.

    Args:
        first: ``(N,)``.
        second: ``(N,)``.
        images: ``(N,)`` index of each detection's image.
        weights: ``(B, I)`` integers, how often each image counts.

    Returns:
        ``(2, B)``: Spearman's and Pearson's coefficient; NaN where all values of a resample are equal.
    """
    times = np.ascontiguousarray(weights.T, dtype=np.float64)[images]  # (N, B)
    ranks = _correlation(_ranks(first, times), _ranks(second, times), times)
    return np.stack([ranks, _correlation(first[:, None], second[:, None], times)])


def _ranks(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the rank of each of N values among its copies and the others' in each resample, ``(N, B)``; ties share."""
    order = np.argsort(values, kind="stable")
    _, group = np.unique(values[order], return_inverse=True)
    last = np.append(np.flatnonzero(np.diff(group)), len(values) - 1)
    upto = np.vstack([np.zeros(times.shape[1]), times[order].cumsum(axis=0)[last]])
    shared = (upto[:-1] + upto[1:] + 1) / 2
    ranks = np.empty_like(times)
    ranks[order] = shared[group]
    return ranks


def _correlation(first: np.ndarray, second: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return Pearson's coefficient of values that count ``times``, ``(N, B)``, in each resample."""
    count = times.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        one = first - (first * times).sum(axis=0) / count
        two = second - (second * times).sum(axis=0) / count
        spread = np.sqrt((one**2 * times).sum(axis=0) * (two**2 * times).sum(axis=0))
        return np.where(spread > 0, (one * two * times).sum(axis=0) / spread, np.nan)


def _of_class(matches: Matches, mine: slice, positives: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return ``(B, T)``, the AP of one class; ``positives`` is ``(B,)``, how many objects there are.

    Precision and recall matter only where a true positive stands, so false positives are counted between those. Most
    of them find nothing at any threshold; only the few others differ from threshold to threshold.
    """
    images, matched, ignored = matches.images[mine], matches.matched[:, mine], matches.ignored[:, mine]
    ever = matched.any(axis=0)
    stops = np.flatnonzero(ever)
    result = np.where(positives > 0, 0.0, np.nan)[:, None].repeat(len(matched), axis=1)
    if not len(stops):
        return result
    plain = np.flatnonzero(~ever & ~ignored[0])  # what never finds anything is ignored at all thresholds or at none
    between = np.searchsorted(stops, plain)
    before = between < len(stops)  # what comes after the last true positive changes nothing
    segments = _counts(between[before], images[plain[before]], (len(stops), len(weights)))
    wrong_anyway = np.cumsum(segments @ weights, axis=0)
    here = weights[images[stops]]
    for t in range(len(matched)):
        true = (matched[t] & ~ignored[t])[stops]
        if not true.any():
            continue
        # What finds something at another threshold only is wrong at this one.
        wrong = np.where((~matched[t] & ~ignored[t])[stops][:, None], here, 0.0).cumsum(axis=0)
        average = _interpolated(here[true], wrong_anyway[true] + wrong[true], positives)
        result[:, t] = np.where(positives > 0, average, np.nan)
    return result


def _interpolated(found: np.ndarray, false: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Return ``(B,)``, precision averaged over the 101 recalls.

    Args:
        found: ``(P, B)``, how often each true positive counts.
        false: ``(P, B)``, the false positives before it.
        positives: ``(B,)``.
    """
    right = found.cumsum(axis=0)
    precision = right / (right + false + _EPSILON)
    highest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        reached = _recalls_reached(right / positives)
    steps = np.diff(reached, axis=0, prepend=0)
    return (highest * steps).sum(axis=0) / 101


def _recalls_reached(recall: np.ndarray) -> np.ndarray:
    """Return how many of the 101 recalls are at most ``recall``, exactly as comparing each of them would."""
    guess = np.nan_to_num(recall * 100.0).astype(np.int64)
    guess += _RECALLS[guess + 1] <= recall
    guess -= _RECALLS[guess] > recall
    return guess + 1


def _counts(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """Return how often each pair of indices occurs, ``shape`` as a sparse matrix."""
    return sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
