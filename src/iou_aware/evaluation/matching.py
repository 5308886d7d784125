"""COCO's matching of detections with ground truth, kept as flat arrays for whatever needs more than AP.

hotcoco does the matching, as for AP itself; here its cells (one per image, class and area range) are laid end to end,
by class and descending confidence, which is the order in which AP walks through them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import hotcoco
import numpy as np

from iou_aware.common.process import without_garbage_search
from iou_aware.evaluation.coco import THRESHOLDS, CocoEvaluator, require_known

# COCO's area ranges, in square pixels of the ground truth.
AREAS = {"all": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
LIMIT = 100


@dataclass(frozen=True)
class Matches:
    """What became of N detections and G objects in one area range at T IoU thresholds.

    Detections are ordered by class, then by descending confidence, equal ones by image: the order of AP.

    Attributes:
        image_ids: ``(I,)`` ascending, all images of the split.
        category_ids: ``(K,)`` ascending, all classes.
        images: ``(N,)`` index into ``image_ids``.
        classes: ``(N,)`` index into ``category_ids``, ascending.
        confidences: ``(N,)``.
        rows: ``(N,)`` where the detection stands in the results that were matched.
        objects: ``(T, N)`` annotation id of the object found at each threshold, 0 for none.
        matched: ``(T, N)`` bool, whether an object was found.
        ignored: ``(T, N)`` bool, whether the detection counts neither as right nor as wrong: it found a crowd or an
            object outside of the area range, or it found nothing and is itself outside of the range.
        object_images: ``(G,)`` index into ``image_ids`` of each object that counts.
        object_classes: ``(G,)`` its index into ``category_ids``.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    images: np.ndarray
    classes: np.ndarray
    confidences: np.ndarray
    rows: np.ndarray
    objects: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray
    object_images: np.ndarray
    object_classes: np.ndarray

    @property
    def true(self) -> np.ndarray:
        """``(T, N)`` bool: the true positives."""
        return self.matched & ~self.ignored


def match(
    evaluator: CocoEvaluator, results: np.ndarray, area: str = "all", thresholds: np.ndarray = THRESHOLDS
) -> Matches:
    """Match detections with ground truth, at most 100 per image and class, as COCO does.

    Args:
        evaluator: The ground truth.
        results: ``(N, 7)``, see ``Detections.results``.
        area: A key of ``AREAS``.
        thresholds: ``(T,)`` ascending IoU.

    Raises:
        InputError: An image or a category of the results is unknown.
    """
    require_known(results, evaluator.image_ids, evaluator.category_ids, f"matching with {evaluator.annotations}")
    evaluation = hotcoco.COCOeval(evaluator.truth, evaluator.truth.load_res(results), "bbox")
    evaluation.params.area_rng, evaluation.params.area_rng_lbl = [list(AREAS[area])], [area]
    evaluation.params.max_dets = [LIMIT]
    evaluation.params.iou_thrs = list(thresholds)
    evaluation.evaluate()
    with without_garbage_search():  # some fifty lists per image and class
        cells = sorted(filter(None, evaluation.eval_imgs), key=lambda cell: cell["image_id"])
        return _flatten(cells, evaluator.image_ids, np.array(evaluator.category_ids), len(thresholds))


def _flatten(cells: list[dict], image_ids: np.ndarray, category_ids: np.ndarray, thresholds: int) -> Matches:
    images, classes = (
        np.searchsorted(known, np.array([cell[key] for cell in cells], dtype=np.int64))
        for known, key in [(image_ids, "image_id"), (category_ids, "category_id")]
    )
    detections = np.array([len(cell["dtIds"]) for cell in cells], dtype=np.int64)
    objects = np.array([sum(cell["gtInDenominator"]) for cell in cells], dtype=np.int64)
    confidences = _joined((cell["dtScores"] for cell in cells), np.float64)
    order = np.lexsort([-confidences, np.repeat(classes, detections)])
    return Matches(
        image_ids=image_ids,
        category_ids=category_ids,
        images=np.repeat(images, detections)[order],
        classes=np.repeat(classes, detections)[order],
        confidences=confidences[order],
        # hotcoco numbers results from 1 in the order given.
        rows=_joined((cell["dtIds"] for cell in cells), np.int64)[order] - 1,
        objects=_stacked(cells, "dtMatches", thresholds, np.int64)[:, order],
        matched=_stacked(cells, "dtMatched", thresholds, np.bool_)[:, order],
        ignored=_stacked(cells, "dtIgnore", thresholds, np.bool_)[:, order],
        object_images=np.repeat(images, objects),
        object_classes=np.repeat(classes, objects),
    )


def _joined(lists: Iterable[list], dtype: type) -> np.ndarray:
    return np.array(list(chain.from_iterable(lists)), dtype=dtype)


def _stacked(cells: list[dict], key: str, thresholds: int, dtype: type) -> np.ndarray:
    """Return ``(T, N)`` of what every cell holds per threshold."""
    by_threshold = zip(*(cell[key] for cell in cells), strict=True)
    return np.array([list(chain.from_iterable(lists)) for lists in by_threshold], dtype=dtype).reshape(thresholds, -1)
