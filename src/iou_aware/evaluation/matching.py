"""Detections and ground truth: COCO's matching, and how well each box is placed whatever its rank.

hotcoco does the matching, as for AP itself; here its cells (one per image, class and area range) are laid end to end,
by class and descending confidence, which is the order in which AP walks through them: flat arrays for whatever needs
more than AP.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import hotcoco
import numpy as np
from pycocotools import mask

from iou_aware.common.process import without_garbage_search
from iou_aware.data.annotations import Annotations
from iou_aware.evaluation.coco import THRESHOLDS, CocoEvaluator, require_known

# COCO's area ranges, in square pixels of the ground truth.
AREAS = {"all": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
LIMIT = 100
# A detection that overlaps an object of its class by so much has found it.
MATCHED = 0.5


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
        true: ``(T, N)`` bool: the true positives.
        ious: ``(N,)`` IoU of each true positive at the first threshold with its object, NaN for the others.
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
    true: np.ndarray
    ious: np.ndarray
    ignored: np.ndarray
    object_images: np.ndarray
    object_classes: np.ndarray


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
    rows, images, classes, cells = _ranked(evaluator, results)
    # Most detections are of a class that their image has no object of, and match nothing.
    possible = np.isin(cells, evaluator.occupied)
    candidates = results[rows[possible]]
    evaluation = hotcoco.COCOeval(evaluator.truth, evaluator.truth.load_res(candidates), "bbox")
    evaluation.params.area_rng, evaluation.params.area_rng_lbl = [list(AREAS[area])], [area]
    evaluation.params.max_dets = [LIMIT]
    evaluation.params.iou_thrs = list(thresholds)
    evaluation.evaluate()
    matched = np.zeros((len(thresholds), len(rows)), bool)
    objects = np.zeros(len(rows), np.int64)  # their annotation ids, at the first threshold
    sizes = results[rows, 3] * results[rows, 4]
    ignored = np.tile((sizes < AREAS[area][0]) | (sizes > AREAS[area][1]), (len(thresholds), 1))
    with without_garbage_search():  # some fifty lists per image and class
        found = list(filter(None, evaluation.eval_imgs))
        # hotcoco numbers detections from 1 in the order given.
        places = np.flatnonzero(possible)[_joined((cell["dtIds"] for cell in found), np.int64) - 1]
        objects[places] = _joined((cell["dtMatches"][0] for cell in found), np.int64)
        for values, key in ((matched, "dtMatched"), (ignored, "dtIgnore")):
            for row, lists in zip(values, zip(*(cell[key] for cell in found), strict=True), strict=False):
                row[places] = _joined(lists, bool)
        counted = np.array([sum(cell["gtInDenominator"]) for cell in found], dtype=np.int64)
        object_images, object_classes = (
            np.repeat(np.searchsorted(known, np.array([cell[key] for cell in found], dtype=np.int64)), counted)
            for known, key in [(evaluator.image_ids, "image_id"), (evaluator.category_ids, "category_id")]
        )
    true, ious = matched & ~ignored, np.full(len(rows), np.nan)
    ids, first = evaluator.objects.ids, true[0]
    order = np.argsort(ids)
    mine = order[np.searchsorted(ids, objects[first], sorter=order)]
    ious[first] = paired_iou(results[rows[first], 1:5], evaluator.objects.boxes[mine])
    return Matches(
        image_ids=evaluator.image_ids,
        category_ids=np.array(evaluator.category_ids),
        images=images,
        classes=classes,
        confidences=results[rows, 5],
        rows=rows,
        true=true,
        ious=ious,
        ignored=ignored,
        object_images=object_images,
        object_classes=object_classes,
    )


def match_areas(evaluator: CocoEvaluator, results: np.ndarray) -> dict[str, Matches]:
    """Match detections with the ground truth of each area range, by the keys of ``AREAS``; see ``match``."""
    return {area: match(evaluator, results, area) for area in AREAS}


def _ranked(evaluator: CocoEvaluator, results: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return row, image, class and cell of the detections that count, in the order of AP."""
    images = np.searchsorted(evaluator.image_ids, results[:, 0])
    classes = np.searchsorted(evaluator.category_ids, results[:, 6])
    cells = images * len(evaluator.category_ids) + classes
    best = np.lexsort([-results[:, 5], cells])
    _, first, counts = np.unique(cells[best], return_index=True, return_counts=True)
    best = best[np.arange(len(best)) - np.repeat(first, counts) < LIMIT]
    rows = best[np.lexsort([-results[best, 5], classes[best]])]
    return rows, images[rows], classes[rows], cells[rows]


def _joined(lists: Iterable[list], dtype: np.dtype | type) -> np.ndarray:
    return np.array(list(chain.from_iterable(lists)), dtype=dtype)


@dataclass(frozen=True)
class Overlaps:
    """What N detections overlap.

    Attributes:
        same: ``(N,)`` IoU with the nearest object of the detection's class, 0 where there is none.
        any: ``(N,)`` IoU with the nearest object of any class.
        crowd: ``(N,)`` bool, whether a detection that overlaps no object by half lies at least half in a crowd of its
            class: neither right nor wrong.
    """

    same: np.ndarray
    any: np.ndarray
    crowd: np.ndarray


def overlaps(truth: Annotations, results: np.ndarray) -> Overlaps:
    """Return what each detection overlaps.

    Args:
        truth: The objects.
        results: ``(N, 7)``, see ``Detections.results``.
    """
    count = len(results)
    same, of_any, crowd = np.zeros(count), np.zeros(count), np.zeros(count, dtype=bool)
    for mine, objects in by_image(truth, results):
        groups = truth.crowd[objects]
        # With a crowd, pycocotools divides by the detection's own area: the part of it that lies inside.
        shares = mask.iou(results[mine, 1:5], truth.boxes[objects], groups.astype(np.uint8))
        of_class = results[mine, 6][:, None] == truth.category_ids[objects]
        same[mine] = np.where(of_class & ~groups, shares, 0.0).max(axis=1)
        of_any[mine] = np.where(groups, 0.0, shares).max(axis=1)
        inside = np.where(of_class & groups, shares, 0.0).max(axis=1)
        crowd[mine] = (inside >= MATCHED) & (same[mine] < MATCHED)
    return Overlaps(same, of_any, crowd)


def by_image(truth: Annotations, results: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the indices of the detections and of the objects of each image that has both."""
    order = np.argsort(results[:, 0], kind="stable")
    images, starts = np.unique(results[order, 0], return_index=True)
    for image, mine in zip(images.astype(int).tolist(), np.split(order, starts[1:]), strict=False):
        if len(objects := truth.of_image[image]):
            yield mine, objects


def paired_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes with each other one by one: ``(N, 4)`` x, y, width, height each, to ``(N,)``."""
    low = np.maximum(first[:, :2], second[:, :2])
    high = np.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    union = first[:, 2:].prod(axis=1) + second[:, 2:].prod(axis=1) - shared
    return np.divide(shared, union, out=np.zeros(len(first)), where=union > 0)
