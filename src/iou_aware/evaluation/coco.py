"""COCO's AP and AR of one rule's detections, computed by hotcoco.

Precision and recall equal those of pycocotools to the last bit, which the tests check; hotcoco is about a hundred times
faster.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import hotcoco
import numpy as np

from iou_aware.common.messages import InputError
from iou_aware.data.annotations import Annotations

THRESHOLDS = np.linspace(0.5, 0.95, 10)
EXACT = 2**53  # detections are arrays of float64, in which larger ids are not all told apart
_AREAS = {"s": 1, "m": 2, "l": 3}

Metrics = dict[str, float | None]
# What COCO's evaluation accumulates of one set of detections; -1 where a class has no ground truth.
# precision     (T, R, K, A, M): 10 IoU thresholds, 101 recalls, K classes by ascending category id, 4 area ranges (all,
#               small, medium, large), 3 limits of detections per image (1, 10, 100)
# recall        (T, K, A, M), the highest recall reached
Curves = Mapping[str, np.ndarray]


def require_known(results: np.ndarray, image_ids: np.ndarray, category_ids: Sequence[int], place: str) -> None:
    """Raise InputError about ``place`` if detections are of ids that are not there; hotcoco would leave them out."""
    for key, values, known in (("image_id", results[:, 0], image_ids), ("category_id", results[:, 6], category_ids)):
        strange = ~np.isin(values, known)
        if strange.any():
            entry = int(np.argmax(strange))
            raise InputError(
                f"{place}, entry {entry}: found {key} {values[entry]:.0f} ({strange.sum()} such detections), expected"
                f" one of the annotations, {min(known)} to {max(known)}. Evaluate detections with the annotations that"
                " they were predicted for, or run `iou-aware predict` again."
            )


class CocoEvaluator:
    """The ground truth of one split, loaded once for the detections of any number of runs and rules.

    Attributes:
        annotations: The file that it was loaded from.
        truth: What hotcoco makes of it.
        objects: What the file says, as arrays.
        image_ids: ``(I,)`` ascending.
        category_ids: The ids of the K classes, ascending.
        occupied: Which pairs of image and class have an object: index of the image x K + index of the class.
    """

    def __init__(self, annotations: Path):
        """Load ``annotations``, a COCO instances file.

        Raises:
            InputError: It is none, has ids beyond 2^53, or two of its annotations have the same id.
        """
        self.annotations = annotations
        try:
            self.truth = hotcoco.COCO(str(annotations))
        except (OSError, ValueError) as fault:
            raise InputError(f"{annotations}: expected COCO's annotations of objects ({fault}).") from fault
        self.objects = Annotations.load(annotations)
        self.image_ids = np.array(sorted(self.objects.file_names), dtype=np.int64)
        self.category_ids = sorted(self.objects.classes)
        if not len(self.image_ids) or not self.category_ids:
            raise InputError(f"{annotations}: found no images or no categories, expected annotations of objects.")
        if max(np.abs(self.image_ids).max(), *map(abs, self.category_ids)) > EXACT:
            what = "found ids beyond 2^53, which would be rounded to others"
            raise InputError(f"{annotations}: {what}; number images and categories anew, here and in the detections.")
        if len(np.unique(self.objects.ids)) < len(self.objects.ids):
            raise InputError(f"{annotations}: found annotations with the same id, expected another id for each.")
        images = np.searchsorted(self.image_ids, self.objects.image_ids)
        classes = np.searchsorted(self.category_ids, self.objects.category_ids)
        self.occupied = np.unique(images * len(self.category_ids) + classes)

    def curves(self, results: np.ndarray) -> Curves:
        """Return precision and recall of ``results`` (see ``Detections.results``), matched by COCO's rules."""
        evaluation = hotcoco.COCOeval(self.truth, self.truth.load_res(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation.eval


def summarise(curves: Curves) -> Metrics:
    """Return the metrics of all classes together, in percent at full precision; None where there is no ground truth.

    AP is the mean over IoU .50, .55 ... .95; ``AP50`` ... ``AP95`` are its ten parts; ``APs``, ``APm``, ``APl`` are
    by the area of the ground truth; ``AR100`` is the mean of the highest recalls with 100 detections per image.
    """
    metrics = _precisions(curves["precision"][..., -1])
    metrics["AR100"] = _percent(curves["recall"][..., 0, -1])
    return metrics


def summarise_classes(curves: Curves) -> list[Metrics]:
    """Return the AP metrics of each class, by ascending category id; see ``summarise``."""
    precision = curves["precision"][..., -1]
    return [_precisions(precision[:, :, k : k + 1]) for k in range(precision.shape[2])]


def _precisions(precision: np.ndarray) -> Metrics:
    """Return the AP metrics of ``precision``, ``(T, R, K, A)``."""
    metrics = {"AP": _percent(precision[..., 0])}
    for index, threshold in enumerate(THRESHOLDS):
        metrics[f"AP{round(100 * threshold)}"] = _percent(precision[index, ..., 0])
    return metrics | {f"AP{size}": _percent(precision[..., area]) for size, area in _AREAS.items()}


def _percent(values: np.ndarray) -> float | None:
    present = values[values > -1]
    return 100.0 * float(present.mean()) if present.size else None
