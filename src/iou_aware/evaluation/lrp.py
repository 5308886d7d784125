"""Localisation-Recall-Precision error (Oksuz et al., ECCV 2018; TPAMI 2021) and LaECE (Oksuz et al., CVPR 2023).

LRP is one number for what a detector gets wrong at one confidence threshold: how badly the boxes it finds are placed,
what it finds that is not there, and what it misses, each object and each false box counting one. oLRP takes for each
class the threshold at which this is least. LaECE asks whether confidence is what it would best be: the chance that
there is an object times the IoU with it.
"""

from collections.abc import Iterable

import numpy as np

from iou_aware.evaluation.matching import Matches
from iou_aware.evaluation.resampled import over_classes, per_image

LEAST = 0.5
_BINS = 25
# Means over classes, in percent; lower is better:
# olrp          the error at the best threshold of each class
# localisation  mean 1 - IoU of the true positives there
# false         share of the detections there that are wrong: 1 - precision
# missed        share of the objects that are missed there: 1 - recall
# laece         how far confidence is from precision times IoU, over all detections
ERRORS = ("olrp", "localisation", "false", "missed", "laece")


def errors(matches: Matches) -> dict[str, float]:
    """Return the errors of one set of detections on the images as they are; see ``resampled_errors``."""
    once = [np.ones((1, len(matches.image_ids)), dtype=np.int64)]
    return {name: float(value[0]) for name, value in resampled_errors(matches, once).items()}


def resampled_errors(matches: Matches, weights: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the errors in each resample of the images, ``(B,)`` by ``ERRORS``, NaN where undefined.

    Args:
        matches: Of one set of detections, whose first threshold is ``LEAST``.
        weights: ``(b, I)`` integers each, how often each of the I images counts in each of the next b of B resamples.
    """
    classes = [_Class(matches, k) for k in np.unique(matches.object_classes)]
    parts = []
    for part in weights:
        by_class = [one.errors(np.ascontiguousarray(part.T)) for one in classes]
        columns = np.array(by_class).reshape(-1, len(ERRORS), len(part))
        parts.append(100 * over_classes(np.moveaxis(columns, 0, -1)))
    return dict(zip(ERRORS, np.concatenate(parts, axis=1), strict=True))


class _Class:
    """What the errors of one class are made of, whatever the images' weights.

    LRP is least at a true positive, or where nothing is detected. A threshold cannot part equal confidences, so those
    are one stop. Of each stop and each bin it is known what each image contributes.
    """

    def __init__(self, matches: Matches, k: int):
        mine = np.flatnonzero((matches.classes == k) & ~matches.ignored[0])
        images, true, confidences = matches.images[mine], matches.true[0, mine], matches.confidences[mine]
        ious, count = matches.ious[mine], len(matches.image_ids)
        confidence_ranks = np.cumsum(np.append(0, confidences[1:] < confidences[:-1]))[: len(mine)]
        stops = np.unique(confidence_ranks[true])
        place = np.searchsorted(stops, confidence_ranks)
        wrong = ~true & (place < len(stops))  # what comes after the last stop changes nothing
        bins = np.clip(np.ceil(confidences * _BINS).astype(int) - 1, 0, _BINS - 1)
        self._found = per_image(place[true], images[true], (len(stops), count))
        self._misplaced = per_image(place[true], images[true], (len(stops), count), 1 - ious[true])
        self._wrong = per_image(place[wrong], images[wrong], (len(stops), count))
        # Precision times the mean IoU of the true is the mean of IoU that is zero for the false.
        self._gaps = per_image(bins, images, (_BINS, count), confidences - np.where(true, ious, 0.0))
        self._detections = np.bincount(images, minlength=count)
        self._objects = np.bincount(matches.object_images[matches.object_classes == k], minlength=count)

    def errors(self, weights: np.ndarray) -> np.ndarray:
        """Return ``(5, b)``, oLRP, its parts and LaECE as shares, in resamples whose ``weights`` are ``(I, b)``."""
        objects, detections = self._objects @ weights, self._detections @ weights
        stops = ((part @ weights).cumsum(axis=0) for part in (self._found, self._misplaced, self._wrong))
        # The threshold above all detections comes first.
        found, misplaced, wrong = (np.vstack([np.zeros(weights.shape[1]), part]) for part in stops)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = (misplaced / (1 - LEAST) + wrong + objects - found) / (objects + wrong)
            best = values.argmin(axis=0)
            lowest, found, misplaced, wrong = (
                np.take_along_axis(part, best[None], axis=0)[0] for part in (values, found, misplaced, wrong)
            )
            laece = np.abs(self._gaps @ weights).sum(axis=0) / detections
            errors = np.stack([lowest, misplaced / found, wrong / (found + wrong), 1 - found / objects, laece])
        return np.where(objects > 0, errors, np.nan)
