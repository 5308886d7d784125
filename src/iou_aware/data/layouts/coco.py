"""COCO instances files, as the many tools that export them write them."""

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iou_aware.common.documents import one_of
from iou_aware.common.files import require_regular
from iou_aware.common.messages import InputError
from iou_aware.data.dataset import Dataset
from iou_aware.data.source import Fault, Source, SourceBox, SourceImage, flag, one_line, outside, spelt

_WHOLE = re.compile(r"-?(0|[1-9]\d{0,38})")  # an id in quotes; 39 digits hold a UUID
# Masks and what else is not needed are dropped while the file is read: they are most of it.
_NEEDED = {"images", "annotations", "categories", "id", "file_name", "width", "height", "name", "supercategory"}
_NEEDED |= {"image_id", "category_id", "bbox", "area", "iscrowd", "ignore"}
# Images, or names of categories, by id; None for an id whose entry is at fault.
_Known = dict[int | str | None, Any]
_ID = "a whole number or text"


def files(dataset: Dataset, split: str) -> list[Path]:
    """Return the annotation file of a split."""
    return [dataset.root / dataset.splits[split]["annotations"]]


def read(dataset: Dataset, split: str) -> Source:
    """Read a split's annotation file; what is wrong with an entry is among the source's faults.

    Raises:
        InputError: The file is damaged, or its lists are missing or empty.
    """
    (path,), keys, faults = files(dataset, split), dataset.splits[split], []
    content = read_json(path)
    if not keys["labelled"]:
        content = {"categories": [], **content, "annotations": []}
    folder, least = dataset.root / keys["images"], int(keys["labelled"])
    images = _images(_entries(content, "images", path), folder, path, faults)
    annotations = _entries(content, "annotations", path, least=0)
    names = _categories(_entries(content, "categories", path, least), annotations, path, faults)
    if _are_fractions(annotations):
        raise InputError(
            f"{path}, key annotations[0].bbox: found {annotations[0]['bbox']}, and no box of the file is larger than "
            "one pixel; expected [x, y, width, height] in pixels. Multiply fractions by the image's width and height."
        )
    return Source(
        folder=folder,
        images=[image for image in images.values() if image],
        boxes=_boxes(annotations, images, names, path, faults),
        classes={name: number for number, name in names.items() if name is not None},
        declared=True,
        corners="(x, y, width, height)",
        faults=faults,
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read an annotation file in UTF-8, with or without a byte order mark, UTF-16 or UTF-32.

    Raises:
        InputError: It is missing, not valid JSON (the message names line and column), or not an object.
    """
    try:
        require_regular(path)
        content = json.loads(path.read_bytes(), object_pairs_hook=_needed)
        if not isinstance(content, dict):
            raise ValueError(f"found a {type(content).__name__}, expected an object with `images`")
        return content
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file. Correct the dataset's description, or fetch it.") from error
    except (RecursionError, ValueError, OSError) as error:  # nested too deep, no text, or thousands of digits, say
        raise InputError(
            f"{path}: cannot be read as COCO's JSON ({error}). It may be cut short: restore it from its source."
        ) from error


def _needed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    needed = [pair for pair in pairs if pair[0] in _NEEDED]
    entry = dict(needed)
    if len(entry) < len(needed):
        twice = next(key for key in entry if sum(key == other for other, _ in needed) > 1)
        raise ValueError(f"key {twice!r} is written twice in one object")
    return entry


def _entries(content: dict[str, Any], key: str, path: Path, least: int = 1) -> list[dict[str, Any]]:
    """Return one of the file's lists, with ``{}`` for what is no entry; InputError if it is none or too short."""
    entries = content.get(key)
    if not isinstance(entries, list):
        found = "nothing" if entries is None else f"a JSON {type(entries).__name__}"
        raise InputError(f"{path}, key {key}: found {found}, expected a list. This is not a COCO instances file.")
    if len(entries) < least:
        raise InputError(f"{path}: `{key}` is empty. A split needs at least one entry there.")
    return [entry if isinstance(entry, dict) else {} for entry in entries]


def _id(value: Any) -> int | str | None:
    """Return an id, whole where it can be (``7``, ``7.0`` and ``"7"`` are one), or None for what is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return int(value) if _WHOLE.fullmatch(value) else value or None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _wrong(place: str, found: Any, expected: str) -> Fault:
    return Fault("wrong value", f"{place}: found {found!r}, expected {expected}. Correct the entry.")


def _images(entries: list[dict[str, Any]], folder: Path, path: Path, faults: list[InputError]) -> _Known:
    """Return the images."""
    images: _Known = {}
    first: dict[tuple[str, int | str], int] = {}
    for index, entry in enumerate(entries):
        place = f"{path}, key images[{index}]"
        number, name, size = _id(entry.get("id")), entry.get("file_name"), _size(entry)
        if number is None:
            fault = _wrong(f"{place}.id", entry.get("id"), _ID)
        elif not isinstance(name, str) or not name:
            fault = _wrong(f"{place}.file_name", name, "text")
        elif size is None:
            fault = _wrong(f"{place}.width", (entry.get("width"), entry.get("height")), "whole numbers of pixels")
        else:
            name = spelt(name, folder)
            fault = outside(name, f"{place}.file_name")
            name = os.path.normpath(name)  # ./a.jpg is a.jpg
            for key, value in (("file_name", name), ("id", number)):
                if first.setdefault((key, value), index) != index:
                    text = f"{place}.{key}: the {key} {value} is duplicated, images[{first[key, value]}] has it already"
                    fault = Fault(f"{key} twice", f"{text}. Give each entry one of its own.")
        if fault:
            faults.append(fault)
            images.setdefault(number, None)
        else:
            images[number] = SourceImage(number, name, size if all(size) else None, place)
    return images


def _size(entry: dict[str, Any]) -> tuple[int, int] | None:
    """Return width and height, (0, 0) where one is not stated, or None for what is no size."""
    width, height = (_id(entry.get(side) or 0) for side in ("width", "height"))
    if not all(isinstance(side, int) and side >= 0 for side in (width, height)):
        return None
    return (width, height) if width and height else (0, 0)


def _categories(
    entries: list[dict[str, Any]], annotations: list[dict[str, Any]], path: Path, faults: list[InputError]
) -> _Known:
    """Return class names, in the file's order.

    A category without boxes is left out if it is the placeholder that Roboflow writes first, of id 0 and with the
    supercategory "none", or if another has its name.
    """
    used = {_id(annotation.get("category_id")) for annotation in annotations} - {None}
    names: _Known = {}
    of_name: dict[str, int | str] = {}
    for index, entry in enumerate(entries):
        place = f"{path}, key categories[{index}]"
        number, name = _id(entry.get("id")), one_line(entry.get("name"))
        earlier = of_name.get(name)
        if number is None or not name:
            key, expected = ("id", _ID) if number is None else ("name", "text")
            faults.append(_wrong(f"{place}.{key}", entry.get(key), expected))
            names.setdefault(number, None)
        elif number in names:
            text = f"{place}.id: the id {number} is duplicated. Give each category its own."
            faults.append(Fault("id twice", text))
        elif number in used and earlier in used:
            text = f"{path}, key categories: the names are not unique: {earlier} and {number} are {name!r}"
            faults.append(Fault("name twice", f"{text}. Rename or merge them."))
            names[number] = None
        elif number in used or (earlier is None and (number, entry.get("supercategory")) != (0, "none")):
            names.pop(earlier, None)
            names[number] = name
            of_name[name] = number
    return names


def _are_fractions(annotations: list[dict[str, Any]]) -> bool:
    """Return whether no box is wider or higher than a pixel: fractions of the image, as YOLO's files have."""
    boxes = (annotation.get("bbox") for annotation in annotations)
    return bool(annotations) and all(_is_box(box) and all(0 <= side <= 1 for side in box) for box in boxes)


def _boxes(
    annotations: list[dict[str, Any]], images: _Known, names: _Known, path: Path, faults: list[InputError]
) -> Iterator[SourceBox]:
    """Yield the boxes; an annotation which cannot be understood is appended to ``faults``."""
    for index, annotation in enumerate(annotations):
        fault = _fault(annotation, images, names, f"{path}, key annotations[{index}]")
        if fault:
            faults.append(fault)
            continue
        image, name = images[_id(annotation["image_id"])], names[_id(annotation["category_id"])]
        if image is not None and name is not None:
            box, area = annotation.get("bbox"), annotation.get("area")
            ignored = bool(flag(annotation.get("iscrowd")) or flag(annotation.get("ignore")))
            yield SourceBox(image, name, box if _is_box(box) else None, box, index, path, None, ignored, area)


def _fault(annotation: dict[str, Any], images: _Known, names: _Known, place: str) -> Fault | None:
    """Return what is wrong with an annotation other than its box."""
    for what, known in (("image", images), ("category", names)):
        key = f"{what}_id"
        found = _id(annotation.get(key))
        if found is None:
            return _wrong(f"{place}.{key}", annotation.get(key), _ID)
        if found not in known:
            listed = [f"{number} {name}" for number, name in names.items()] if known is names else []
            expected = f"; expected {one_of(listed)}" if listed else "."
            text = f"{place}.{key}: the {what} {found} is unknown{expected} Correct the id, or remove the annotation."
            return Fault(f"{what} unknown", text)
    area = annotation.get("area")
    if area is not None and not (_is_number(area) and math.isfinite(area) and area >= 0):
        return _wrong(f"{place}.area", area, "a number of square pixels")
    for key in ("iscrowd", "ignore"):
        if flag(annotation.get(key)) is None:
            return _wrong(f"{place}.{key}", annotation[key], "0 or 1")
    return None


def _is_box(box: object) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < 1 << 53)
