"""The one form in which every later stage reads annotations: a COCO instances file with the needed fields only.

Ids count from 1 without gaps, so that no library computes with what an annotation tool has chosen. The order is kept:
images and boxes stand as in the source, images are numbered in the order of the source's ids where those are whole
numbers, and categories in the order of the classes. Where a source has other ids, they stand beside as ``source_id``.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from iou_aware.common.documents import closest
from iou_aware.data.dataset import Dataset
from iou_aware.data.images import check_images
from iou_aware.data.source import Fault, Source, SourceBox, SourceImage

_TOLERANCE = 1.0  # pixels that a box may stick out of its image: annotation tools round, and count from 0 or from 1
_SMALL, _LARGE = 32**2, 96**2  # COCO's limits between small, medium and large objects, in square pixels


def check(dataset: Dataset, split: str, source: Source, classes: Collection[str]) -> dict[str, Any]:
    """Check a split's images and boxes, and leave those in ``source`` that stay, the images numbered.

    Args:
        dataset: The dataset, which says what happens to invalid images, invalid boxes and unlisted classes.
        split: The split's name.
        source: What its layout has read. What the dataset does not allow is appended to its faults.
        classes: The classes.

    Returns:
        What was left out: ``excluded``, ``invalid`` and ``unlisted`` of `iou_aware.data.manifest.SplitData`.
    """
    check_images(source.folder, source.images, f"{dataset.name} {split}: images")
    excluded = [image for image in source.images if image.fault]
    for image in excluded if dataset.invalid_images == "error" else ():
        source.faults.append(Fault(image.fault.kind, f"{image.fault} {dataset.leave_out('invalid_images')}"))
    source.images = [image for image in source.images if not image.fault]
    _number(source.images)
    return {
        "excluded": [{"image": image.file_name, "why": str(image.fault)} for image in excluded],
        **_check_boxes(dataset, source, classes),
    }


def content(source: Source, classes: Mapping[str, int | str | None], images: Sequence[SourceImage]) -> dict[str, Any]:
    """Return the annotation file of some or all images of a checked split.

    Args:
        source: The split.
        classes: The classes in order, each with what the files call it.
        images: Those of its images, in order.
    """
    numbers = {number: new for new, number in enumerate(sorted(image.number for image in images), start=1)}
    of_name = {name: number for number, name in enumerate(classes, start=1)}
    boxes = (box for box in source.boxes if box.image.number in numbers)
    return {
        "images": [_image(image, numbers[image.number]) for image in images],
        "annotations": [
            {
                "id": number,
                "image_id": numbers[box.image.number],
                "category_id": of_name[box.category],
                "bbox": box.box,
                "area": box.area or box.box[2] * box.box[3],
                "iscrowd": int(box.ignored),
            }
            for number, box in enumerate(boxes, start=1)
        ],
        "categories": [
            _with_source({"id": of_name[name], "name": name}, source.classes.get(name, original))
            for name, original in classes.items()
        ],
    }


def count(content: Mapping[str, Any]) -> dict[str, Any]:
    """Count the boxes of an annotation file.

    Args:
        content: As the function of that name returns it.

    Returns:
        ``images``; ``boxes`` to be detected; ``ignored``, which are COCO's crowds or VOC's difficult objects;
        ``classes``, the boxes to be detected by class; ``areas``, the same by COCO's ``small``, ``medium``, ``large``.
    """
    objects = [annotation for annotation in content["annotations"] if not annotation["iscrowd"]]
    classes = Counter(annotation["category_id"] for annotation in objects)
    areas = Counter((annotation["area"] >= _SMALL) + (annotation["area"] > _LARGE) for annotation in objects)
    return {
        "images": len(content["images"]),
        "boxes": len(objects),
        "ignored": len(content["annotations"]) - len(objects),
        "classes": {category["name"]: classes[category["id"]] for category in content["categories"]},
        "areas": {size: areas[place] for place, size in enumerate(("small", "medium", "large"))},
    }


def _number(images: Sequence[SourceImage]) -> None:
    """Number images in the order of their ids, if all are whole numbers; one without an id has its number as such."""
    whole = all(isinstance(image.id, int) for image in images)
    for number, image in enumerate(sorted(images, key=lambda image: image.id) if whole else images, start=1):
        image.number = number
        image.id = number if image.id is None else image.id


def _image(image: SourceImage, number: int) -> dict[str, Any]:
    width, height = image.header.shown
    return _with_source({"id": number, "file_name": image.file_name, "width": width, "height": height}, image.id)


def _with_source(entry: dict[str, Any], original: int | str | None) -> dict[str, Any]:
    return entry if original in (None, entry["id"]) else {**entry, "source_id": original}


def _check_boxes(dataset: Dataset, source: Source, classes: Collection[str]) -> dict[str, Any]:
    """Leave the boxes in ``source`` that stay, and return the others: ``invalid``, and the number by unlisted class."""
    exclude = (dataset.unlisted_classes or ("exclude" if source.declared else "error")) == "exclude"
    invalid, unlisted, staying = [], Counter(), []
    for box in source.boxes:
        if box.image.fault:
            continue
        if box.category not in classes:
            unlisted[box.category] += 1
            if not exclude:
                source.faults.append(_unlisted(dataset, box, classes))
            continue
        wrong = box.defect or _defect(box.box, *box.image.header.shown)
        if wrong:
            kind, why = wrong
            record = _record(dataset, box, f"{source.corners} {why}")
            invalid.append(record)
            if dataset.invalid_boxes == "error":
                text = (
                    f"{box.place}: box {box.index} ({box.category}) of image {record['image']}: {record['box']} "
                    f"{record['why']}. Correct the annotation. {dataset.leave_out('invalid_boxes')}"
                )
                source.faults.append(Fault(kind, text))
            if dataset.invalid_boxes != "keep" or box.box is None or not all(map(math.isfinite, box.box)):
                continue
        staying.append(box)
    source.boxes = staying
    return {"invalid": invalid, "unlisted": dict(unlisted)}


def _defect(box: Sequence[float] | None, width: int, height: int) -> tuple[str, str] | None:
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
        x < -_TOLERANCE or y < -_TOLERANCE or x + box_width > width + _TOLERANCE or y + box_height > height + _TOLERANCE
    )
    apart = x >= width or y >= height or x + box_width <= 0 or y + box_height <= 0
    if beyond or apart:
        return "box outside its image", f"is outside of its image of {width}x{height} pixels"
    return None


def _unlisted(dataset: Dataset, box: SourceBox, classes: Collection[str]) -> Fault:
    return Fault(
        "class not listed",
        f"{box.place}: the class {box.category!r} is unknown.{closest(box.category, classes)} {dataset.file}, key "
        f"classes, lists {', '.join(classes)}: correct the annotation, add the class there, or set "
        "`unlisted_classes: exclude` to do without its boxes.",
    )


def _record(dataset: Dataset, box: SourceBox, why: str) -> dict[str, Any]:
    """Return what the manifest says of an invalid box; numbers that strict JSON cannot hold are text."""
    numbers = box.written if isinstance(box.written, list) else [box.written]
    return {
        "file": box.file.relative_to(dataset.root).as_posix(),
        "line": box.line,
        "index": box.index,
        "image": box.image.file_name,
        "category": box.category,
        "box": [
            value if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)) else str(value)
            for value in numbers
        ],
        "why": why,
    }
