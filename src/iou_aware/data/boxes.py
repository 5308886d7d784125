"""What makes a box invalid, what is done with it, and how boxes are counted: the same for every layout."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from iou_aware.common.errors import InputError

TOLERANCE = 1.0  # pixels that a box may stick out of its image: annotation tools round, and count from 0 or from 1
SMALL, LARGE = 32**2, 96**2  # COCO's limits between small, medium and large objects, in square pixels


@dataclass(frozen=True)
class InvalidBox:
    """A box that cannot be right.

    Attributes:
        file: The annotation file it stands in.
        line: Its line there; None where the format has no lines to speak of.
        index: Its place among the boxes of its image (VOC) or file (COCO), from 0.
        image: File name of the image.
        category: Name of the class.
        box: As written in the file.
        why: What is wrong.
    """

    file: str
    line: int | None
    index: int
    image: str
    category: str
    box: list[float]
    why: str

    def __str__(self) -> str:
        place = f"line {self.line}: box {self.index}" if self.line else f"key annotations[{self.index}].bbox: box"
        return f"{self.file}, {place} ({self.category}) of image {self.image}: {self.box} {self.why}"


@dataclass
class InvalidBoxes:
    """Applies a dataset's ``invalid_boxes`` to each invalid box found, and remembers them."""

    policy: str
    found: list[InvalidBox] = field(default_factory=list)

    def add(self, box: InvalidBox) -> bool:
        """Note an invalid box and return whether it stays in the data."""
        self.found.append(box)
        return self.policy == "keep" and all(map(math.isfinite, box.box))

    def settle(self, root: Path, dataset_file: Path) -> None:
        """Raise InputError when any was found, in a file below ``root``, and the policy is ``error``."""
        if self.policy == "error" and self.found:
            more = f" ({len(self.found) - 1} more boxes are wrong)" if len(self.found) > 1 else ""
            raise InputError(
                f"{root}/{self.found[0]}{more}. Correct the annotation, or set `invalid_boxes: exclude` (leave such "
                f"boxes out, named in the manifest) or `keep` in {dataset_file}."
            )

    def as_json(self) -> list[dict[str, Any]]:
        """Return what the manifest says of the boxes."""
        return [{**asdict(box), "box": [_plain(value) for value in box.box]} for box in self.found]


def defect(box: Sequence[float], width: int, height: int) -> str | None:
    """Say what is wrong with a box, or None for a good one.

    Args:
        box: COCO's ``[x, y, width, height]`` in pixels.
        width: Width of its image.
        height: Height of its image.
    """
    if not all(map(math.isfinite, box)):
        return "is not finite"
    x, y, box_width, box_height = box
    if box_width <= 0 or box_height <= 0:
        return "has no area"
    if x < -TOLERANCE or y < -TOLERANCE or x + box_width > width + TOLERANCE or y + box_height > height + TOLERANCE:
        return f"is outside of its image of {width}x{height} pixels"
    return None


def count(images: int, annotations: Iterable[dict[str, Any]], names: dict[int, str]) -> dict[str, Any]:
    """Count the boxes of a split.

    Args:
        images: The number of images.
        annotations: COCO annotations with ``area``, ``category_id`` and ``iscrowd``.
        names: Class names by category id, in order.

    Returns:
        ``images``; ``boxes`` to be found; ``ignored``, which are COCO's crowds or VOC's difficult objects; ``classes``,
        the boxes to be found by class; ``areas``, the same by COCO's ``small``, ``medium`` and ``large``.
    """
    classes, areas = Counter(), Counter()
    ignored = 0
    for annotation in annotations:
        if annotation.get("iscrowd"):
            ignored += 1
            continue
        classes[annotation["category_id"]] += 1
        area = annotation["area"]
        areas["small" if area < SMALL else "medium" if area <= LARGE else "large"] += 1
    return {
        "images": images,
        "boxes": classes.total(),
        "ignored": ignored,
        "classes": {name: classes[identity] for identity, name in names.items()},
        "areas": {size: areas[size] for size in ("small", "medium", "large")},
    }


def _plain(value: float) -> float | str:
    """Return a number that strict JSON can hold, or its text."""
    return value if math.isfinite(value) else str(value)
