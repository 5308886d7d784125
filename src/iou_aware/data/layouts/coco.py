"""Checking COCO annotation files before anything relies on them."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from iou_aware.common.documents import closest
from iou_aware.common.errors import InputError
from iou_aware.data.boxes import InvalidBox, InvalidBoxes, defect
from iou_aware.data.dataset import Dataset, Split
from iou_aware.data.images import check_size, read_headers, require_inside

_RESTORE = "Restore the file from its source."


@dataclass
class CocoSplit:
    """A checked split.

    Attributes:
        content: What the annotation file holds, completed and without excluded boxes.
        changed: Whether ``content`` differs from the file, so that it has to be written anew.
        turned: The images which EXIF turns.
    """

    content: dict[str, Any]
    changed: bool
    turned: list[str]


def read_json(path: Path) -> dict[str, Any]:
    """Read an annotation file.

    Raises:
        InputError: It is missing, not valid JSON (the message names line and column), or not an object.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file. Correct the dataset's description, or fetch it.") from error
    except json.JSONDecodeError as error:
        place = f"{path}, line {error.lineno}, column {error.colno}"
        cut = error.pos >= len(error.doc.rstrip()) - 1 or error.msg.startswith("Unterminated")
        what = "is cut short" if cut else "is not JSON"
        raise InputError(f"{place}: the file {what} ({error.msg}). {_RESTORE}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8 text. {_RESTORE}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected an annotation file, JSON.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: found a JSON {type(content).__name__}, expected an object with `images`. {_RESTORE}")
    return content


def read_split(dataset: Dataset, split: Split, invalid: InvalidBoxes) -> CocoSplit:
    """Read and check a split's annotation file and its images' headers.

    A missing ``area`` is filled in as the box's, a missing ``iscrowd`` as 0: own data often lack them, and every
    evaluation asks for them.

    Args:
        dataset: The dataset.
        split: One of its splits.
        invalid: Decides on invalid boxes.

    Raises:
        InputError: The file is damaged, ids are duplicated or unknown, classes differ from those listed, the split is
            empty, or an image is missing, unreadable or of another size.
    """
    path = dataset.root / split.annotations
    content = read_json(path)
    images = _entries(content, "images", path, {"id": int, "file_name": str, "width": int, "height": int})
    categories = _entries(content, "categories", path, {"id": int, "name": str})
    for key, entries in (("images", images), ("categories", categories)):
        if not entries:
            raise InputError(f"{path}: `{key}` is empty. A split needs at least one entry there.")
    names = _unique(categories, "categories", path)
    _check_classes(dataset, [entry["name"] for entry in categories], path)
    sizes = _unique(images, "images", path)
    _unique(images, "images", path, "file_name")
    folder = dataset.root / split.images
    turned = _check_images(images, folder, f"{dataset.name} {split.name}", path)
    if not split.labelled:
        return CocoSplit(content, False, turned)
    annotations = _entries(content, "annotations", path, {"id": int, "image_id": int, "category_id": int, "bbox": list})
    _unique(annotations, "annotations", path)
    _refuse_fractions(annotations, path)
    kept, changed = [], False
    for index, annotation in enumerate(annotations):
        image, category = _references(index, annotation, sizes, names, path)
        why = _defect(index, annotation, image, path)
        if why:
            found = InvalidBox(
                split.annotations, None, index, image["file_name"], category["name"], annotation["bbox"], why
            )
            if not invalid.add(found):
                continue
        if "area" not in annotation or "iscrowd" not in annotation:
            _, _, width, height = annotation["bbox"]
            annotation = {"area": width * height, "iscrowd": 0, **annotation}
            changed = True
        kept.append(annotation)
    changed = changed or len(kept) < len(annotations)
    return CocoSplit({**content, "annotations": kept}, changed, turned)


def _entries(content: dict[str, Any], key: str, path: Path, fields: dict[str, type]) -> list[dict[str, Any]]:
    """Return one of the file's lists, each entry checked to be an object which has the fields of the right type."""
    entries = content.get(key)
    if not isinstance(entries, list):
        found = "nothing" if entries is None else f"a JSON {type(entries).__name__}"
        raise InputError(f"{path}, key {key}: found {found}, expected a list. This is not a COCO instances file.")
    for index, entry in enumerate(entries):
        for field, kind in fields.items():
            value = entry.get(field) if isinstance(entry, dict) else None
            if type(value) is not kind:
                raise InputError(
                    f"{path}, key {key}[{index}].{field}: found {value!r}, expected {kind.__name__}. Correct the entry."
                )
    return entries


def _unique(entries: list[dict[str, Any]], key: str, path: Path, field: str = "id") -> dict[Any, dict[str, Any]]:
    """Return the entries by one of their fields.

    Raises:
        InputError: A value occurs twice.
    """
    by_value: dict[Any, dict[str, Any]] = {}
    for index, entry in enumerate(entries):
        if entry[field] in by_value:
            first = entries.index(by_value[entry[field]])
            raise InputError(
                f"{path}, key {key}[{index}].{field}: the {field} {entry[field]} is duplicated, {key}[{first}] has it "
                f"already. Give each entry one of its own."
            )
        by_value[entry[field]] = entry
    return by_value


def _refuse_fractions(annotations: list[dict[str, Any]], path: Path) -> None:
    """Raise InputError if no box is wider or higher than a pixel: fractions of the image, as YOLO's files have."""
    boxes = [annotation["bbox"] for annotation in annotations]
    if boxes and all(len(box) == 4 and all(_is_number(side) and 0 <= side <= 1 for side in box) for box in boxes):
        raise InputError(
            f"{path}, key annotations[0].bbox: found {boxes[0]}, and no box of the file is larger than one pixel; "
            "expected [x, y, width, height] in pixels. Multiply fractions by the image's width and height."
        )


def _check_classes(dataset: Dataset, names: list[str], path: Path) -> None:
    if len(set(names)) < len(names):
        raise InputError(f"{path}, key categories: the names are not unique: {names}. Rename or merge them.")
    if dataset.classes is not None and list(dataset.classes) != names:
        wrong = next((name for name in dataset.classes if name not in names), None)
        hint = f" {wrong!r} is not in the file.{closest(wrong, names)}" if wrong else ""
        raise InputError(
            f"{dataset.file}, key classes: found {', '.join(dataset.classes)}; expected what {path} lists, in its "
            f"order: {', '.join(names)}.{hint} Correct the key, or leave it out."
        )


def _check_images(images: list[dict[str, Any]], folder: Path, label: str, path: Path) -> list[str]:
    """Check every image's header and return those which EXIF turns."""
    places = [f"{path}, key images[{index}]" for index in range(len(images))]
    for image, place in zip(images, places, strict=True):
        require_inside(image["file_name"], f"{place}.file_name")
    items = [(folder / image["file_name"], place) for image, place in zip(images, places, strict=True)]
    headers = read_headers(items, len(items), f"{label}: images")
    return [
        image["file_name"]
        for image, (file, place), header in zip(images, items, headers, strict=True)
        if check_size(header, file, image["width"], image["height"], place)
    ]


def _references(
    index: int,
    annotation: dict[str, Any],
    images: dict[int, dict[str, Any]],
    categories: dict[int, dict[str, Any]],
    path: Path,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the image and the category of an annotation."""
    found = []
    for key, known, what in [("image_id", images, "image"), ("category_id", categories, "category")]:
        entry = known.get(annotation[key])
        if entry is None:
            raise InputError(
                f"{path}, key annotations[{index}].{key}: the {what} {annotation[key]} is unknown (annotation id "
                f"{annotation['id']}). {_known(known)} Correct the id, or remove the annotation."
            )
        found.append(entry)
    return found[0], found[1]


def _known(entries: dict[int, dict[str, Any]]) -> str:
    if len(entries) > 100:
        return f"The file has {len(entries)} others."
    return "Known: " + ", ".join(f"{number} {entry.get('name', '')}".strip() for number, entry in entries.items()) + "."


def _defect(index: int, annotation: dict[str, Any], image: dict[str, Any], path: Path) -> str | None:
    box = annotation["bbox"]
    if len(box) != 4 or not all(_is_number(value) for value in box):
        raise InputError(
            f"{path}, key annotations[{index}].bbox: found {box!r}, expected four numbers [x, y, width, height]."
        )
    area = annotation.get("area", 0)
    if not _is_number(area) or not math.isfinite(area) or area < 0:
        raise InputError(f"{path}, key annotations[{index}].area: found {area!r}, expected a number of square pixels.")
    if annotation.get("iscrowd", 0) not in (0, 1):
        raise InputError(f"{path}, key annotations[{index}].iscrowd: found {annotation['iscrowd']!r}, expected 0 or 1.")
    why = defect(box, image["width"], image["height"])
    return why and f"(x, y, width, height) {why}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_same_categories(categories: Sequence[tuple[str, list[dict[str, Any]]]]) -> None:
    """Check that the splits of a dataset agree on the ids, names and order of its categories.

    Args:
        categories: Annotation file and its ``categories``, split by split.

    Raises:
        InputError: Two splits differ.
    """
    first_file, first = categories[0]
    for file, entries in categories[1:]:
        pairs = [[(entry["id"], entry["name"]) for entry in of] for of in (first, entries)]
        if pairs[0] != pairs[1]:
            differing = [pair for pair in zip_longest(*pairs) if pair[0] != pair[1]]
            raise InputError(
                f"{file}, key categories: found (id, name) {differing[0][1]}, expected {differing[0][0]} as in "
                f"{first_file}. The splits of a dataset must have the same categories in the same order."
            )
