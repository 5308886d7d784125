"""Reading COCO results files, of any framework, with what is commonly wrong with them told."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from iou_aware.common.messages import InputError, log
from iou_aware.evaluation.coco import CocoEvaluator, require_known, summarise
from iou_aware.evaluation.matching import LIMIT

_KEYS = {"image_id": 1, "bbox": 4, "score": 1, "category_id": 1}  # how many numbers each has
_IDS = {"image_id": 0, "category_id": 6}  # by their columns of the results
_EXPECTED = (
    'expected a list of detections, such as {"image_id": 42, "category_id": 18, "bbox": [x, y, width, height],'
    ' "score": 0.9}'
)
# By how much better the detections must fit under other category ids, where all that they have exist: AP50 in points,
# and as a factor.
_BETTER, _TIMES_BETTER = 5.0, 2.0


def read_results(path: Path, evaluator: CocoEvaluator) -> np.ndarray:
    """Return the detections of a COCO results file, ``(N, 7)``: image id, x, y, width, height, score, category id.

    What deserves attention and is no fault is logged: scores above 1, more than 100 detections on an image.

    Args:
        path: The JSON.
        evaluator: The ground truth that they are to be evaluated with.

    Raises:
        InputError: It is no such file or empty, a detection is malformed, or has an id that the annotations do not
            have; or the category ids are those of other classes, such as when they begin at another number.
    """
    results = _columns(path, _load(path))
    _check_values(path, results)
    _check_ids(path, results, evaluator)
    _, counts = np.unique(results[:, 0], return_counts=True)
    if counts.max() > LIMIT:
        log.warning(
            "%s: %d images have more than %d detections, up to %d, which COCO's server refuses. As in pycocotools, the"
            " best %d of each image and class count.",
            *(path, (counts > LIMIT).sum(), LIMIT, counts.max(), LIMIT),
        )
    return results


def _load(path: Path) -> list[Any]:
    """Return the entries, whose numbers are floats."""
    try:
        content = json.loads(path.read_bytes(), parse_int=float)
    except (OSError, ValueError, RecursionError) as fault:
        raise InputError(f"{path}: missing, empty, cut short or no JSON ({fault}); {_EXPECTED}.") from fault
    if isinstance(content, list) and content:
        return content
    found = "an empty list" if content == [] else f"a {type(content).__name__}"
    if isinstance(content, dict) and "annotations" in content:
        found = "annotations, not results"
    raise InputError(f"{path}: found {found}; {_EXPECTED}.")


def _columns(path: Path, content: list[Any]) -> np.ndarray:
    """Return ``(N, 7)`` of the entries."""
    columns: list[float] = []
    for place, entry in enumerate(content):
        for key, count in _KEYS.items():
            value = entry.get(key) if isinstance(entry, dict) else None
            numbers = value if key == "bbox" and isinstance(value, list) else [value]
            if [*map(type, numbers)] != [float] * count:
                expected = "a number" if count == 1 else "four numbers x, y, width, height"
                raise InputError(f"{path}, entry {place}: found {key} {value!r}, expected {expected}; {_EXPECTED}.")
            columns += numbers
    return np.array(columns).reshape(-1, 7)


def _check_values(path: Path, results: np.ndarray) -> None:
    """Refuse boxes and scores that cannot be."""
    boxes, scores = results[:, 1:5], results[:, 5]
    logits = bool((scores > 1).any())
    faults = [
        ("bbox", boxes, np.isfinite(boxes).all(1) & (boxes[:, 2:] >= 0).all(1), "finite x, y and sides of 0 or more"),
        ("score", scores, np.isfinite(scores), "a finite number"),
        ("score", scores, (scores >= 0) | logits, "a number from 0 to 1"),
        *((key, results[:, column], results[:, column] % 1 == 0, "a whole number") for key, column in _IDS.items()),
    ]
    for key, values, fine, expected in faults:
        if not fine.all():
            place = int(np.argmin(fine))
            raise InputError(
                f"{path}, entry {place}: found {key} {values[place].tolist()}, expected {expected}"
                f" ({(~fine).sum()} such detections)."
            )
    if logits:
        log.warning(
            "%s: scores reach %g, so they are no probabilities (logits?). AP needs but their order; LaECE is left out.",
            *(path, scores.max()),
        )


def _check_ids(path: Path, results: np.ndarray, evaluator: CocoEvaluator) -> None:
    """Refuse ids that the annotations do not have, and category ids that are those of other classes."""
    known = np.array(evaluator.category_ids)
    there = np.isin(results[:, 6], known)
    plain = summarise(evaluator.curves(results[there]))["AP50"] or 0.0
    least = _TIMES_BETTER * plain + _BETTER if there.all() else max(plain, _BETTER)
    for first in (0, 1):  # the ids may count the classes
        places = results[:, 6].astype(np.int64) - first
        if (places < 0).any() or (places >= len(known)).any() or (known[places] == results[:, 6]).all():
            continue
        other = summarise(evaluator.curves(np.column_stack([results[:, :6], known[places]])))["AP50"] or 0.0
        if other >= least:
            raise InputError(
                f"{path}: the category ids {_span(results[:, 6])} count the classes from {first}: read so, AP50 is"
                f" {other:.1f}; as they are, {plain:.1f}. Expected the ids of {evaluator.annotations}, {_span(known)}:"
                f" replace each c by ids[c{' - 1' * first}], ids being those in ascending order."
            )
    require_known(results, evaluator.image_ids, evaluator.category_ids, str(path))


def _span(ids: np.ndarray) -> str:
    return f"{ids.min():.0f} to {ids.max():.0f}"
