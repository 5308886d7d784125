"""PASCAL VOC annotations and their conversion to COCO's form.

Coordinates. VOC counts pixels from 1 and both corners belong to the box, so that the box of one pixel has
xmin = xmax; its evaluation measures widths as xmax - xmin + 1. COCO's boxes are continuous, from 0, and measured
without the + 1. The same box is therefore ``[xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]``, and every IoU
computed from it equals VOC's own. MMDetection 0.6, with which the paper was made, subtracts 1 from all four corners
and adds 1 to every width in its IoU: the same geometry, so APs are comparable. (The converter that MMDetection ships
leaves the + 1 out and makes each box one pixel smaller.) A box whose corners coincide in x or y is nevertheless taken
as one without area: no annotator means an object of one pixel, but a click without a drag in a labelling tool leaves
just that.

Difficult objects become ``iscrowd: 1``, as in MMDetection, so that they are neither to be found nor counted as false
when found. COCO's evaluation does this by its rule for crowds: the overlap is divided by the *detection's* area alone
and any number of detections may match, which forgives a little more than VOC's plain IoU. pycocotools and hotcoco
take `ignore` from ``iscrowd`` whatever the file says, and MMDetection drops an annotation with ``ignore`` altogether;
therefore it is not written. VOC07 AP is computed with VOC's own rule (`iou_aware.evaluation.voc07`).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iou_aware.common.documents import closest
from iou_aware.common.errors import InputError
from iou_aware.data.boxes import InvalidBox, InvalidBoxes, defect
from iou_aware.data.dataset import Dataset, Split
from iou_aware.data.images import check_size, read_headers, require_inside
from iou_aware.data.layouts.voc_xml import VocAnnotation, VocObject, line_of, read_annotation

_OF_ONE_CLASS = re.compile(r"\s(-1|0|1)$")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".bmp")


def read_list(root: Path, folder: str, name: str) -> list[str]:
    """Read an image list, ``<root>/<folder>/ImageSets/Main/<name>.txt``.

    Returns:
        The images' names without their suffix, in order.

    Raises:
        InputError: The list is missing, empty or not UTF-8, names an image twice or one outside of the folder, or is
            that of one class.
    """
    path = root / folder / "ImageSets" / "Main" / f"{name}.txt"
    if not path.is_file():
        known = sorted(other.stem for other in path.parent.glob("*.txt"))
        raise InputError(
            f"{path}: there is no such image list.{closest(name, known)} Found there: {known or 'nothing'}."
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8 text. Save the list as UTF-8.") from error
    first: dict[str, int] = {}
    for number, name in enumerate(map(str.strip, lines), start=1):
        if _OF_ONE_CLASS.search(name):
            raise InputError(
                f"{path}, line {number}: found {name!r}, expected the name of one image and nothing else. VOC's lists "
                "of one class, with 1 or -1 behind each name, are no lists of a split."
            )
        require_inside(name, f"{path}, line {number}")
        if name in first:
            raise InputError(
                f"{path}, line {number}: the image {name!r} is named a second time; first on line {first[name]}. "
                "Remove one of them: image ids must be unique."
            )
        if name:
            first[name] = number
    if not first:
        raise InputError(f"{path}: the image list is empty. A split needs at least one image.")
    return list(first)


@dataclass
class VocSplit:
    """The annotations of a split, and where each image lies below the dataset's root."""

    images: list[str]
    sizes: list[tuple[int, int]]
    annotations: list[VocAnnotation]
    turned: list[str]


def read_split(dataset: Dataset, split: Split, progress: Callable[[Any], Any] = lambda items: items) -> VocSplit:
    """Read every annotation of a split and check its images' headers.

    Args:
        dataset: The dataset.
        split: One of its splits.
        progress: Wraps the annotation files as they are read, to show progress.

    Raises:
        InputError: See `read_list`, `read_annotation` and `iou_aware.data.images`.
    """
    names = [(item.folder, name) for item in split.lists for name in read_list(dataset.root, item.folder, item.name)]
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise InputError(f"{dataset.file}, key splits.{split.name}.sets: the image {'/'.join(twice)} is in two lists.")
    annotations = [
        read_annotation(dataset.root / folder / "Annotations" / f"{name}.xml") for folder, name in progress(names)
    ]
    images = [_image(dataset.root, folder, name) for folder, name in names]
    named_by = [str(annotation.file) for annotation in annotations]
    items = [(dataset.root / image, file) for image, file in zip(images, named_by, strict=True)]
    headers = read_headers(items, len(items), f"{dataset.name} {split.name}: images")
    sizes, turned = [], []
    for header, image, annotation, (path, file) in zip(headers, images, annotations, items, strict=True):
        size = annotation.size or header.shown
        if check_size(header, path, *size, file):
            turned.append(image)
        sizes.append(size)
    return VocSplit(images, sizes, annotations, turned)


def _image(root: Path, folder: str, name: str) -> str:
    """Find an image below the root; the usual suffix when there is none, so that the error names that."""
    stem = Path(folder) / "JPEGImages" / name
    suffixes = (suffix for suffix in _SUFFIXES if (root / f"{stem}{suffix}").is_file())
    return f"{stem}{next(suffixes, '.jpg')}"


def classes_of(dataset: Dataset, splits: list[VocSplit]) -> tuple[str, ...]:
    """Return the dataset's classes: as listed, or those found in any split, sorted.

    Raises:
        InputError: An object's class is not among those listed.
    """
    if dataset.classes is None:
        found = {item.name for split in splits for annotation in split.annotations for item in annotation.objects}
        return tuple(sorted(found))
    for split in splits:
        for annotation in split.annotations:
            for item in annotation.objects:
                if item.name not in dataset.classes:
                    line = line_of(annotation.file, item.index)
                    raise InputError(
                        f"{annotation.file}, line {line}: the class {item.name!r} is unknown."
                        f"{closest(item.name, dataset.classes)} {dataset.file}, key classes, lists "
                        f"{', '.join(dataset.classes)}: correct the annotation, or add the class there."
                    )
    return dataset.classes


def to_coco(split: VocSplit, classes: tuple[str, ...], root: Path, invalid: InvalidBoxes) -> dict[str, Any]:
    """Convert a split to the content of a COCO instances file.

    Image ids count from 1 in the order of the image lists, annotation ids from 1 in the order of the objects, category
    ids from 1 in the order of ``classes``. ``file_name`` is relative to ``root``.

    Args:
        split: What `read_split` returned.
        classes: The dataset's classes in order.
        root: The dataset's root, which messages leave out.
        invalid: Decides on invalid boxes.
    """
    ids = {name: number for number, name in enumerate(classes, start=1)}
    images, annotations = [], []
    for image_id, (name, size, annotation) in enumerate(_rows(split), start=1):
        images.append({"id": image_id, "file_name": name, "width": size[0], "height": size[1]})
        for item in annotation.objects:
            box, why = item.box, _defect(item, size)
            if why:
                file, line = annotation.file.relative_to(root).as_posix(), line_of(annotation.file, item.index)
                found = InvalidBox(file, line, item.index, name, item.name, list(item.corners), why)
                if not invalid.add(found):
                    continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": ids[item.name],
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(item.difficult),
                }
            )
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _rows(split: VocSplit) -> Iterator[tuple[str, tuple[int, int], VocAnnotation]]:
    return zip(split.images, split.sizes, split.annotations, strict=True)


def _defect(item: VocObject, size: tuple[int, int]) -> str | None:
    xmin, ymin, xmax, ymax = item.corners
    if xmax <= xmin or ymax <= ymin:
        return "(xmin, ymin, xmax, ymax) has no area"
    why = defect(item.box, *size)
    return why and f"(xmin, ymin, xmax, ymax) {why}"
