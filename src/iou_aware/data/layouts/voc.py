"""PASCAL VOC annotations and their conversion to COCO's boxes.

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

import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from tqdm import tqdm

from iou_aware.common.documents import closest
from iou_aware.common.messages import InputError
from iou_aware.data.dataset import Dataset
from iou_aware.data.layouts.voc_xml import decoded, read_annotation
from iou_aware.data.source import Fault, Source, SourceBox, SourceImage, composed, outside, spelt

_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp"}


def files(dataset: Dataset, split: str) -> list[Path]:
    """Return a split's image lists, ``<root>/<folder>/ImageSets/Main/<list>.txt``."""
    sets = dataset.splits[split]["sets"]
    return [dataset.root / one["folder"] / "ImageSets" / "Main" / f"{one['list']}.txt" for one in sets]


def read(dataset: Dataset, split: str) -> Source:
    """Read every annotation of a split; what is wrong with a list or an object is among the source's faults.

    Raises:
        InputError: A list is missing, empty or not UTF-8.
    """
    faults: list[InputError] = []
    named: dict[tuple[str, str], str] = {}  # the place in a list, by folder and name
    for one, file in zip(dataset.splits[split]["sets"], files(dataset, split), strict=True):
        for place, name in _names(file, faults):
            if (first := named.setdefault((one["folder"], name), place)) != place:
                text = f"{place}: the image {name!r} is named a second time; first in {first}. Remove one of them."
                faults.append(Fault("image listed twice", text))
    images: list[SourceImage] = []
    boxes: list[SourceBox] = []
    pictures = cache(_pictures)
    label = f"{dataset.name} {split}: annotations"
    for folder, name in tqdm(named, desc=label, unit="file", mininterval=1, disable=len(named) < 1000):
        file = dataset.root / folder / "Annotations" / f"{name}.xml"
        image = SourceImage(None, "", None, str(file) if file.is_file() else named[folder, name])
        file_name = None
        try:
            if dataset.missing_annotations == "error" or file.exists():
                file_name, objects = read_annotation(file, image, faults)
                boxes += objects
        except Fault as fault:
            image.fault = fault
        place = dataset.root / folder / "JPEGImages" / name
        picture = _picture(image, place, file_name, pictures(place.parent))
        image.file_name = os.path.normpath(Path(folder, "JPEGImages", name).parent / picture)
        images.append(image)
    return Source(
        folder=dataset.root,
        images=images,
        boxes=boxes,
        classes=dict.fromkeys(sorted({box.category for box in boxes})),
        declared=False,
        corners="(xmin, ymin, xmax, ymax)",
        faults=faults,
    )


def _names(path: Path, faults: list[InputError]) -> Iterator[tuple[str, str]]:
    """Yield the names that an image list has, each after its place, in order, without suffixes.

    Raises:
        InputError: The list is missing, empty or not UTF-8.
    """
    if not path.is_file():
        known = sorted(other.stem for other in path.parent.glob("*.txt"))
        raise InputError(
            f"{path}: there is no such image list.{closest(path.stem, known)} Found there: {known or 'nothing'}."
        )
    lines = enumerate(decoded(path.read_bytes(), path).splitlines(), start=1)
    entries = {f"{path}, line {number}": _stem(line.strip()) for number, line in lines if line.strip()}
    if not entries:
        raise InputError(f"{path}: the image list is empty. A split needs at least one image.")
    for place, entry in entries.items():
        name = spelt(entry, path.parents[2] / "Annotations", ".xml")
        if fault := outside(name, place):
            faults.append(fault)
        else:
            yield place, name


def _stem(entry: str) -> str:
    """Return an image's name as VOC has it, of an entry with or without quotes, backslashes, suffix, folder."""
    entry = entry[1:-1] if entry[:1] == entry[-1:] == '"' else entry
    name = entry.replace("\\", "/").removeprefix("./").removeprefix("JPEGImages/")
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in _SUFFIXES | {".xml"} else name


def _picture(image: SourceImage, place: Path, file_name: str | None, known: Mapping[str, list[str]]) -> str:
    """Return the image of an annotation: of the listed name, and where that leaves a choice or none, by <filename>.

    Args:
        image: Gets a fault where it could be one of several.
        place: The image's path without suffix.
        file_name: What <filename> says.
        known: The image files of its folder by name without suffix.
    """
    found = sorted(known.get(composed(place.name), []))
    file_name = file_name and spelt(file_name, place.parent)
    if len(found) == 1:
        return found[0]
    if file_name and (file_name in found or (not found and os.path.isfile(place.parent / file_name))):
        return file_name
    if found:
        text = f"{place.parent}: {' and '.join(found)} are both there, and <filename> names {file_name or 'none'}."
        ambiguous = Fault("image ambiguous", f"{text} Remove what is no image of the dataset, or correct <filename>.")
        image.fault = image.fault or ambiguous
    return file_name or f"{place.name}.jpg"


def _pictures(folder: Path) -> dict[str, list[str]]:
    """Return the image files of a folder by name without suffix."""
    found: dict[str, list[str]] = {}
    for name in os.listdir(folder) if folder.is_dir() else ():
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in _SUFFIXES:
            found.setdefault(composed(stem), []).append(name)
    return found
