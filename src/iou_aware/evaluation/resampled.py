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
    classes, of_images = len(matches.category_ids), np.ascontiguousarray(weights.T)
    positives = _counts(matches.object_classes, matches.object_images, (classes, len(of_images))) @ of_images
    result = np.full((len(weights), len(matches.matched), classes), np.nan)
    bounds = np.searchsorted(matches.classes, np.arange(classes + 1))
    for k in range(classes):
        if positives[k].any():
            result[:, :, k] = _of_class(matches, slice(bounds[k], bounds[k + 1]), positives[k], of_images)
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
    """Return ``(B, T)``, the AP of one class.

    Precision and recall matter only where a true positive stands, so what else counts is added up between those stops.
    Most of it is wrong at all thresholds alike; what counts at some thresholds only is a stop as well.

    Args:
        matches: Of all classes.
        mine: Where the class's detections stand.
        positives: ``(B,)``, how many objects there are.
        weights: ``(I, B)``.
    """
    images, ignored = matches.images[mine], matches.ignored[:, mine]
    true = matches.true[:, mine]
    stop = true.any(axis=0) | (ignored.any(axis=0) & ~ignored.all(axis=0))
    stops, plain = np.flatnonzero(stop), np.flatnonzero(~stop & ~ignored[0])
    true, counted = true[:, stops], ~ignored[:, stops]
    result = np.where(positives > 0, 0.0, np.nan)[:, None].repeat(len(true), axis=1)
    if not len(stops):
        return result
    between = np.searchsorted(stops, plain)
    before = between < len(stops)  # what comes after the last stop changes nothing
    segments = _counts(between[before], images[plain[before]], (len(stops), len(weights)))
    # Along the stops from here on, (B, S), so that running sums walk through memory in order.
    wrong = np.ascontiguousarray((segments @ weights).T).cumsum(axis=1)
    here = np.ascontiguousarray(weights[images[stops]].T)
    recalls = _recalls_by_count(positives)
    for t in range(len(true)):
        right = np.flatnonzero(true[t])
        if not len(right):
            continue
        if t == 0 or (counted[t] != counted[t - 1]).any():
            seen = wrong + (here * counted[t]).cumsum(axis=1)
        average = _interpolated(here[:, right], seen[:, right], recalls)
        result[:, t] = np.where(positives > 0, average, np.nan)
    return result


def _interpolated(found: np.ndarray, seen: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """Return ``(B,)``, precision averaged over the 101 recalls.

    Args:
        found: ``(B, P)``, how often each true positive counts.
        seen: ``(B, P)``, the detections up to it that count, itself included.
        recalls: ``(B, 1 + objects)``, see ``_recalls_by_count``.
    """
    right = found.cumsum(axis=1)
    precision = right / (seen + _EPSILON)
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = recalls.take(right + recalls.shape[1] * np.arange(len(right))[:, None], mode="clip")
    steps = np.diff(reached, axis=1, prepend=0)
    return np.multiply(highest.T, steps.T, order="C").sum(axis=0) / 101


def _recalls_by_count(positives: np.ndarray) -> np.ndarray:
    """Return ``(B, 1 + objects)``: how many of the 101 recalls each number of objects found reaches."""
    counts = np.arange(positives.max() + 1)
    recall = np.minimum(counts / np.maximum(positives, 1)[:, None], 1.0)
    return _recalls_reached(recall).astype(np.int8)


def _recalls_reached(recall: np.ndarray) -> np.ndarray:
    """Return how many of the 101 recalls are at most ``recall``, exactly as comparing each of them would."""
    guess = (recall * 100.0).astype(np.int64)
    guess += _RECALLS[guess + 1] <= recall
    guess -= _RECALLS[guess] > recall
    return guess + 1


def _counts(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """Return how often each pair of indices occurs, ``shape`` as a sparse matrix."""
    return sparse.coo_array((np.ones(len(rows), np.int64), (rows, columns)), shape=shape).tocsr()
