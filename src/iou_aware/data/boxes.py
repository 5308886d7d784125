"""What makes a box invalid, and how boxes are counted: the same for every layout."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

TOLERANCE = 1.0  # pixels that a box may stick out of its image: annotation tools round, and count from 0 or from 1
SMALL, LARGE = 32**2, 96**2  # COCO's limits between small, medium and large objects, in square pixels


def defect(box: Sequence[float] | None, width: int, height: int) -> tuple[str, str] | None:
    """Say what is wrong with a box, or None for a good one.

    A box that passes is one that MMDetection's loader keeps: it leaves out those under a pixel wide or high and those
    that share nothing with their image, which an evaluation would count.

    Args:
        box: COCO's ``[x, y, width, height]`` in pixels; None where what was written is no box.
        width: Width of its image.
        height: Height of its image.

    Returns:
        The kind of defect, and its description.
    """
    if box is None or not all(map(math.isfinite, box)):
        return "box not four numbers", "is not finite" if box else "is not four numbers"
    x, y, box_width, box_height = box
    if box_width <= 0 or box_height <= 0:
        return "box without area", "has no area"
    if box_width < 1 or box_height < 1:
        return "box under a pixel", "is less than a pixel wide or high, which training leaves out"
    beyond = (
        x < -TOLERANCE or y < -TOLERANCE or x + box_width > width + TOLERANCE or y + box_height > height + TOLERANCE
    )
    apart = x >= width or y >= height or x + box_width <= 0 or y + box_height <= 0
    if beyond or apart:
        return "box outside its image", f"is outside of its image of {width}x{height} pixels"
    return None


def count(images: int, annotations: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Count the boxes of a split.

    Args:
        images: The number of images.
        annotations: Canonical annotations, with ``area``, ``category_id`` and ``iscrowd``.
        names: Class names, of which the first has the category id 1.

    Returns:
        ``images``; ``boxes`` to be found; ``ignored``, which are COCO's crowds or VOC's difficult objects; ``classes``,
        the boxes to be found by class; ``areas``, the same by COCO's ``small``, ``medium`` and ``large``.
    """
    found = [annotation for annotation in annotations if not annotation["iscrowd"]]
    classes = Counter(annotation["category_id"] for annotation in found)
    areas = Counter((annotation["area"] >= SMALL) + (annotation["area"] > LARGE) for annotation in found)
    return {
        "images": images,
        "boxes": len(found),
        "ignored": len(annotations) - len(found),
        "classes": {name: classes[identity] for identity, name in enumerate(names, start=1)},
        "areas": {size: areas[place] for place, size in enumerate(("small", "medium", "large"))},
    }
