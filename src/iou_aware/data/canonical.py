"""The one form in which every later stage reads annotations: a COCO instances file with the needed fields only.

Ids count from 1 without gaps, so that no library computes with what an annotation tool has chosen. The order is kept:
images and boxes stand as in the source, images are numbered in the order of the source's ids where those are whole
numbers, and categories in the order of the classes. Where a source has other ids, they stand beside as ``source_id``.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from iou_aware.common.documents import closest
from iou_aware.common.errors import InputError
from iou_aware.data.boxes import defect
from iou_aware.data.dataset import Dataset
from iou_aware.data.images import SMALLEST, check_images
from iou_aware.data.source import Fault, Source, SourceBox, SourceImage


def convert(
    dataset: Dataset, split: str, source: Source, classes: Mapping[str, int | str | None], faults: list[InputError]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check a split and bring it into the canonical form.

    Args:
        dataset: The dataset, which says what happens to invalid images, invalid boxes and unlisted classes.
        split: The split's name.
        source: What its layout has read.
        classes: The classes in order, each with what the files call it.
        faults: Whatever stops the preparation is appended.

    Returns:
        The annotation file's content; and what `iou_aware.data.manifest.SplitData` names of it.
    """
    named: dict[str, Any] = {name: [] for name in ("invalid", "excluded", "turned", "small", "padded")}
    named["unlisted"] = Counter()
    sizes = _sizes(dataset, split, source, named, faults)
    numbers = _numbers(source.images, sizes)
    images = [
        _with_source({"id": numbers[i], "file_name": image.file_name, "width": size[0], "height": size[1]}, image.id)
        for i, (image, size) in enumerate(zip(source.images, sizes, strict=True))
        if size
    ]
    categories = [
        _with_source({"id": number, "name": name}, source.classes.get(name, original))
        for number, (name, original) in enumerate(classes.items(), start=1)
    ]
    of_name = {name: number for number, name in enumerate(classes, start=1)}
    kept = (box for box in source.boxes if sizes[box.image])
    annotations = []
    for box in _valid(dataset, source, kept, of_name, sizes, named, faults):
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": numbers[box.image],
                "category_id": of_name[box.category],
                "bbox": box.box,
                "area": box.area or box.box[2] * box.box[3],
                "iscrowd": int(box.ignored),
            }
        )
    named["unlisted"] = dict(named["unlisted"])
    named["flattest"] = max(images, key=_flatness, default=None)
    return {"images": images, "annotations": annotations, "categories": categories}, named


def part(content: Mapping[str, Any], named: Mapping[str, Any], indices: Collection[int]) -> tuple[dict, dict]:
    """Return some images of a split, by their place in it, as ``convert`` returns a split.

    Ids count from 1 again; an image without a ``source_id`` gets the id that it has in the whole. What was left out of
    the whole is named there alone.
    """
    images = [content["images"][i] for i in sorted(indices)]
    numbers = {old: new for new, old in enumerate(sorted(image["id"] for image in images), start=1)}
    boxes = [box for box in content["annotations"] if box["image_id"] in numbers]
    own = {
        "images": [
            _with_source(image | {"id": numbers[image["id"]]}, image.get("source_id", image["id"])) for image in images
        ],
        "annotations": [box | {"id": i, "image_id": numbers[box["image_id"]]} for i, box in enumerate(boxes, start=1)],
        "categories": content["categories"],
    }
    files = {image["file_name"] for image in images}
    kept = {name: [file for file in named[name] if file in files] for name in ("turned", "small", "padded")}
    return own, kept | {"images": named["images"], "flattest": max(own["images"], key=_flatness, default=None)}


def _sizes(
    dataset: Dataset, split: str, source: Source, named: dict[str, Any], faults: list[InputError]
) -> list[tuple[int, int] | None]:
    """Return the size of each image as a detector sees it, None for one that is left out."""
    sizes: list[tuple[int, int] | None] = []
    headers = check_images(source.folder, source.images, f"{dataset.name} {split}: images")
    for image, header in zip(source.images, headers, strict=True):
        if isinstance(header, Fault):
            named["excluded"].append({"image": image.file_name, "why": header.text})
            if dataset.invalid_images == "error":
                faults.append(Fault(header.kind, header.text, f"{header.advice} {dataset.leave_out('invalid_images')}"))
            sizes.append(None)
            continue
        sizes.append(header.shown)
        lists = {"small": min(header.shown) < SMALLEST, "turned": header.turned, "padded": header.padded}
        for name in (name for name, belongs in lists.items() if belongs):
            named[name].append(image.file_name)
    return sizes


def _numbers(images: Sequence[SourceImage], sizes: Sequence[tuple[int, int] | None]) -> dict[int, int]:
    """Return the new id of each image that stays: in the order of the old ids if all are whole numbers."""
    staying = [i for i, size in enumerate(sizes) if size]
    if all(isinstance(images[i].id, int) for i in staying):
        staying.sort(key=lambda i: images[i].id)
    return {i: number for number, i in enumerate(staying, start=1)}


def _flatness(image: Mapping[str, Any]) -> float:
    """Return the longer over the shorter side."""
    return max(image["width"], image["height"]) / min(image["width"], image["height"])


def _with_source(entry: dict[str, Any], original: int | str | None) -> dict[str, Any]:
    return entry if original in (None, entry["id"]) else {**entry, "source_id": original}


def _valid(
    dataset: Dataset,
    source: Source,
    boxes: Iterable[SourceBox],
    classes: Mapping[str, int],
    sizes: Sequence[tuple[int, int] | None],
    named: dict[str, Any],
    faults: list[InputError],
) -> Iterator[SourceBox]:
    """Yield the boxes that stay; name the others, and append those that the dataset does not allow to the faults."""
    exclude = (dataset.unlisted_classes or ("exclude" if source.declared else "error")) == "exclude"
    for box in boxes:
        if box.category not in classes:
            named["unlisted"][box.category] += 1
            if not exclude:
                faults.append(_unlisted(dataset, box, classes))
            continue
        wrong = box.defect or defect(box.box, *sizes[box.image])
        if wrong:
            kind, why = wrong
            record = _record(dataset, source, box, f"{source.corners} {why}")
            named["invalid"].append(record)
            if dataset.invalid_boxes == "error":
                text = (
                    f"{box.place}: box {box.index} ({box.category}) of image {record['image']}: {record['box']} "
                    f"{record['why']}"
                )
                faults.append(Fault(kind, text, f"Correct the annotation. {dataset.leave_out('invalid_boxes')}"))
            if dataset.invalid_boxes != "keep" or box.box is None or not all(map(math.isfinite, box.box)):
                continue
        yield box


def _unlisted(dataset: Dataset, box: SourceBox, classes: Mapping[str, int]) -> Fault:
    return Fault(
        "class not listed",
        f"{box.place}: the class {box.category!r} is unknown",
        f"{closest(box.category, classes)} {dataset.file}, key classes, lists {', '.join(classes)}: correct the "
        "annotation, add the class there, or set `unlisted_classes: exclude` to do without its boxes.",
    )


def _record(dataset: Dataset, source: Source, box: SourceBox, why: str) -> dict[str, Any]:
    """Return what the manifest says of an invalid box; numbers that strict JSON cannot hold are text."""
    numbers = box.written if isinstance(box.written, list) else [box.written]
    return {
        "file": box.file.relative_to(dataset.root).as_posix(),
        "line": box.line,
        "index": box.index,
        "image": source.images[box.image].file_name,
        "category": box.category,
        "box": [
            value if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)) else str(value)
            for value in numbers
        ],
        "why": why,
    }
