"""The bootstrap over images (Efron): COCO's AP and AR, and correlations, where images count different numbers of times.

The images of a split are drawn with replacement, as many as there are, from a fixed seed. All sets of detections are
measured on the same draws, so that a difference of two of them (or any sum of gains) has its distribution by plain
subtraction, and what makes an image hard for both cancels out.

Drawing images with replacement and evaluating again is the same as giving every image an integer weight, because
matching never looks beyond one image. So detections are matched once; each resample only re-weights the counts of
which precision and recall are made. The result equals evaluating duplicated images to rounding (tested against
pycocotools), but for one thing: detections of equal confidence within one image may change places.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from scipy import sparse

from iou_aware.evaluation.coco import THRESHOLDS
from iou_aware.evaluation.matching import Matches

RESAMPLES = 1000
SEED = 0
METRICS = ("AP", *(f"AP{round(100 * threshold)}" for threshold in THRESHOLDS), "APs", "APm", "APl")
# Of confidence with IoU, over the true positives at an IoU of one half.
CORRELATIONS = ("spearman", "pearson")
# So many resamples at once keep the memory of a class of COCO's below a hundred megabytes.
_AT_ONCE = 100
_RECALLS = np.linspace(0.0, 1.0, 101)
_EPSILON = np.spacing(1)


def draws(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> Iterator[np.ndarray]:
    """Yield ``(at most 100, I)`` integers: how often each of I images is drawn in each resample."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - start)
        drawn = random.integers(images, size=(count, images)) + images * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images)


def distributions(
    matches: Mapping[str, Matches], weights: Sequence[np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return every kind of AP of one set of detections in every resample.

    Args:
        matches: Of the detections, by area range; see ``match_areas``.
        weights: See ``average_precisions``.

    Returns:
        ``(B,)`` percent by ``METRICS``, NaN where no class has an object; ``(B, K)``, the AP of each class.
    """
    values: dict[str, np.ndarray] = {}
    for area, found in matches.items():
        precisions = average_precisions(found, weights)
        by_threshold = 100 * over_classes(precisions)
        values["AP" if area == "all" else f"AP{area}"] = by_threshold.mean(axis=1)
        if area == "all":
            values |= zip(METRICS[1:], by_threshold.T, strict=False)
            classes = 100 * precisions.mean(axis=1)
    return values, classes


def over_classes(values: np.ndarray) -> np.ndarray:
    """Return the mean of ``(..., K)`` over the classes that have a value."""
    with np.errstate(invalid="ignore"):  # the mean of nothing is NaN, as it should be
        return np.nansum(values, axis=-1) / (~np.isnan(values)).sum(axis=-1)


def average_precisions(matches: Matches, weights: Iterable[np.ndarray]) -> np.ndarray:
    """Return the AP of each class at each threshold in each resample.

    Args:
        matches: Of one set of detections in one area range.
        weights: ``(b, I)`` integers each, how often each of the I images counts in each of the next b of B resamples.

    Returns:
        ``(B, T, K)`` in [0, 1]; NaN where a class has no object in a resample.
    """
    classes = [_Class(matches, k) for k in range(len(matches.category_ids))]
    of_images = (np.ascontiguousarray(part.T) for part in weights)
    return np.concatenate([np.stack([one.average_precisions(part) for one in classes], 2) for part in of_images])


def recalls(matches: Matches, weights: Iterable[np.ndarray]) -> np.ndarray:
    """Return the recall of each class at each threshold in each resample, as ``average_precisions`` its AP."""
    shape = len(matches.category_ids), len(matches.image_ids)
    objects = per_image(matches.object_classes, matches.object_images, shape)
    found = [per_image(matches.classes[true], matches.images[true], shape) for true in matches.true]
    parts = []
    for part in weights:
        times = np.ascontiguousarray(part.T)
        with np.errstate(invalid="ignore"):
            parts.append(np.stack([one @ times for one in found]) / (objects @ times))
    return np.concatenate(parts, axis=2).transpose(2, 0, 1)


def influences(matches: Matches) -> np.ndarray:
    """Return ``(I,)``, how much each image moves AP: AP's change per unit of weight of the image (Efron 1992).

    They add up to zero, and their squares to the variance of AP over draws of the images (the infinitesimal jackknife).
    AP is taken as the mean over the objects of the precision at which each is found, not at 101 recalls.
    """
    images, present = len(matches.image_ids), np.unique(matches.object_classes)
    moved = np.zeros(images)
    for k in present:
        mine = slice(*np.searchsorted(matches.classes, [k, k + 1]))
        objects = np.bincount(matches.object_images[matches.object_classes == k], minlength=images)
        for true, ignored in zip(matches.true[:, mine], matches.ignored[:, mine], strict=True):
            right, seen = np.cumsum(true), np.maximum(np.cumsum(~ignored), 1)
            precision = right / seen
            highest = np.maximum.accumulate(precision[::-1])[::-1]
            # A true positive has the highest precision at it or behind it, and moves as that one does.
            peaks = np.flatnonzero(precision == highest)
            leaning = np.bincount(peaks[np.searchsorted(peaks, np.flatnonzero(true))], minlength=len(true))
            by_right, by_seen = (np.cumsum((leaning * part)[::-1])[::-1] for part in (1 / seen, right / seen**2))
            moves = true * (highest + by_right) - ~ignored * by_seen
            moved += np.bincount(matches.images[mine], moves, images) / objects.sum()
            moved -= objects * highest[true].sum() / objects.sum() ** 2
    return 100 * moved / max(len(present) * len(matches.true), 1)


def correlations(matches: Matches, weights: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Return how confidence correlates with IoU in each resample: ``(B,)`` by ``CORRELATIONS``, NaN where undefined.

    They are those of true positives of which each is there as often as its image counts.

    Args:
        matches: Of one set of detections, whose first threshold is one half.
        weights: See ``average_precisions``.
    """
    true, parts = matches.true[0], []
    confidences, ious, images = matches.confidences[true], matches.ious[true], matches.images[true]
    for part in weights:
        times = np.ascontiguousarray(part.T, dtype=np.float64)[images]  # (N, b)
        of_ranks = _correlation(_ranks(confidences, times), _ranks(ious, times), times)
        parts.append([of_ranks, _correlation(confidences[:, None], ious[:, None], times)])
    return dict(zip(CORRELATIONS, np.concatenate(parts, axis=1), strict=True))


def _ranks(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the rank of each of N values among its copies and the others' in each resample, ``(N, B)``; ties share."""
    order = np.argsort(values, kind="stable")
    _, group = np.unique(values[order], return_inverse=True)
    last = np.flatnonzero(np.diff(group, append=-1))
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


class _Class:
    """What the AP of one class is made of, whatever the images' weights.

    Precision and recall matter only where a true positive stands, so what else counts is added up between those stops.
    Most of it is wrong at all thresholds alike; what counts at some thresholds only is a stop as well.
    """

    def __init__(self, matches: Matches, k: int):
        mine = slice(*np.searchsorted(matches.classes, [k, k + 1]))
        images, ignored, true = matches.images[mine], matches.ignored[:, mine], matches.true[:, mine]
        stop = true.any(axis=0) | (ignored.any(axis=0) & ~ignored.all(axis=0))
        stops, plain = np.flatnonzero(stop), np.flatnonzero(~stop & ~ignored[0])
        between = np.searchsorted(stops, plain)
        before = between < len(stops)  # what comes after the last stop changes nothing
        objects = matches.object_images[matches.object_classes == k]
        self._objects = per_image(np.zeros_like(objects), objects, (1, len(matches.image_ids)))
        self._between = per_image(between[before], images[plain[before]], (len(stops), len(matches.image_ids)))
        self._images = images[stops]
        self._counted = ~ignored[:, stops]
        self._true = [np.flatnonzero(row) for row in true[:, stops]]

    def average_precisions(self, weights: np.ndarray) -> np.ndarray:
        """Return ``(b, T)``, the AP in resamples whose ``weights`` are ``(I, b)``."""
        positives = (self._objects @ weights)[0]
        result = np.where(positives > 0, 0.0, np.nan)[:, None].repeat(len(self._true), axis=1)
        if not len(self._images) or not positives.any():
            return result
        # Along the S stops, (b, S), so that running sums walk through memory in order.
        wrong = np.ascontiguousarray((self._between @ weights).T).cumsum(axis=1)
        here = np.ascontiguousarray(weights[self._images].T)
        recalls = _recalls_by_count(positives)
        for t, (true, counted) in enumerate(zip(self._true, self._counted, strict=True)):
            if t == 0 or (counted != self._counted[t - 1]).any():
                seen = wrong + (here * counted).cumsum(axis=1)
            if len(true):
                average = _interpolated(here[:, true], seen[:, true], recalls)
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
    steps = reached.copy()
    steps[:, 1:] -= reached[:, :-1]
    # By stop again, (P, b), which is summed one after the other.
    return np.multiply(highest.T, steps.T, order="C").sum(axis=0) / 101


def _recalls_by_count(positives: np.ndarray) -> np.ndarray:
    """Return ``(B, 1 + objects)``: how many of the 101 recalls each number of objects found reaches."""
    counts = np.arange(positives.max() + 1)
    recall = np.minimum(counts / np.maximum(positives, 1)[:, None], 1.0)
    return np.searchsorted(_RECALLS, recall, side="right").astype(np.int8)


def per_image(
    rows: np.ndarray, images: np.ndarray, shape: tuple[int, int], values: np.ndarray | int = 1
) -> sparse.csr_array:
    """Return how often each row and image occur, or the sum of their values, ``shape`` as a sparse matrix."""
    return sparse.coo_array((values * np.ones(len(rows), np.int64), (rows, images)), shape=shape).tocsr()
