"""Localisation-Recall-Precision error (Oksuz et al., ECCV 2018; TPAMI 2021) and LaECE (Oksuz et al., CVPR 2023).

LRP is one number for what a detector gets wrong at one confidence threshold: how badly the boxes it finds are placed,
what it finds that is not there, and what it misses, each object and each false box counting one. oLRP takes for each
class the threshold at which this is least. LaECE asks whether confidence is what it would best be: the chance that
there is an object times the IoU with it.
"""

from dataclasses import dataclass

import numpy as np

from iou_aware.data.annotations import Annotations
from iou_aware.evaluation.matching import Matches
from iou_aware.evaluation.overlaps import placement

LEAST = 0.5
_BINS = 25


@dataclass(frozen=True)
class Errors:
    """Means over classes, in percent; lower is better. None where no class has a value.

    Attributes:
        olrp: The error at the best threshold of each class.
        localisation: Mean 1 - IoU of what was found there.
        false: Share of the detections there that are wrong: 1 - precision.
        missed: Share of the objects that are missed there: 1 - recall.
        laece: How far confidence is from precision times IoU, over all detections.
    """

    olrp: float | None
    localisation: float | None
    false: float | None
    missed: float | None
    laece: float | None


def errors(truth: Annotations, results: np.ndarray, matches: Matches) -> Errors:
    """Return the errors of one set of detections.

    Args:
        truth: The objects.
        results: ``(N, 7)``, the detections that were matched.
        matches: Their matching at the one threshold ``LEAST``.
    """
    true, ious = matches.true[0], placement(truth, results, matches)
    classes = []
    for k in range(len(matches.category_ids)):
        positives = int((matches.object_classes == k).sum())
        mine = (matches.classes == k) & ~matches.ignored[0]
        if positives:
            arrays = true[mine], ious[mine], matches.confidences[mine]
            classes.append((*_best(*arrays, positives), _laece(*arrays)))
    columns = np.array(classes, dtype=np.float64).reshape(-1, 5)
    return Errors(*(_mean(columns[:, index]) for index in range(5)))


def _best(
    true: np.ndarray, placed: np.ndarray, confidences: np.ndarray, positives: int
) -> tuple[float, float, float, float]:
    """Return oLRP and its parts of one class, over all thresholds and that of no detection at all."""
    found = np.cumsum(true)
    wrong = np.arange(1, len(true) + 1) - found
    misplaced = np.cumsum(np.where(true, (1 - placed) / (1 - LEAST), 0.0))
    values = (misplaced + wrong + positives - found) / (positives + wrong)
    # A threshold cannot part equal confidences.
    values = np.where(np.append(confidences[1:] < confidences[:-1], True)[: len(values)], values, np.inf)
    if not len(values) or values.min() >= 1:
        return 1.0, np.nan, np.nan, 1.0
    best = int(values.argmin())
    localisation = misplaced[best] * (1 - LEAST) / found[best]
    return values[best], localisation, wrong[best] / (best + 1), 1 - found[best] / positives


def _laece(true: np.ndarray, placed: np.ndarray, confidences: np.ndarray) -> float:
    """Return LaECE of one class: over 25 bins of confidence, |mean confidence - precision x mean IoU of the true|."""
    if not len(true):
        return np.nan
    bins = np.clip(np.ceil(confidences * _BINS).astype(int) - 1, 0, _BINS - 1)
    # Precision times the mean IoU of the true is the mean of IoU that is zero for the false.
    gaps = np.bincount(bins, confidences, _BINS) - np.bincount(bins, np.where(true, placed, 0.0), _BINS)
    return float(np.abs(gaps).sum() / len(true))


def _mean(values: np.ndarray) -> float | None:
    present = values[~np.isnan(values)]
    return 100.0 * float(present.mean()) if len(present) else None
