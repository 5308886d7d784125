"""PASCAL VOC annotations, read safely and fast, and their conversion to COCO's boxes.

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

import codecs
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from tqdm import tqdm

from iou_aware.common.documents import names_beside, one_of
from iou_aware.common.files import require_regular
from iou_aware.common.messages import InputError
from iou_aware.data.dataset import Dataset
from iou_aware.data.source import Fault, Source, SourceBox, SourceImage, composed, flag, one_line, outside, spelt

_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp"}
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ENCODING = re.compile(rb"""\s*<\?xml[^>]*\bencoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")
_TAKEN_FOR = {"gb2312": "gb18030", "gbk": "gb18030", **dict.fromkeys(("utf-8", "utf-16", "utf-32"), "utf-8-sig")}


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
        raise InputError(f"{path}: there is no such image list; expected {one_of(names_beside(path), path.stem)}")
    lines = enumerate(_decoded(path.read_bytes(), path).splitlines(), start=1)
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


def read_annotation(path: Path, image: SourceImage, faults: list[InputError]) -> tuple[str | None, list[SourceBox]]:
    """Read one VOC XML file.

    Args:
        path: The XML file.
        image: Its image, which gets the size that the file states.
        faults: What is wrong with an object is appended, and the object left out.

    Returns:
        The image's file name, if it is stated; and the objects, in order.

    Raises:
        Fault: The file is missing, is not text or no well-formed XML, declares a DOCTYPE or entities, or states a size
            that is none. The message names the line.
    """
    try:
        require_regular(path)
        tree = _parsed(_decoded(path.read_bytes(), path), path)
    except FileNotFoundError as error:
        raise Fault(
            "annotation file missing",
            f"{path}: there is no such annotation file, but an image list names it. Add it, take it off the list, or "
            "set `missing_annotations: negative` if it shows no object.",
        ) from error
    except OSError as error:
        text = f"{path}: cannot be read ({error.strerror or error}); expected an annotation file, XML. Replace it."
        raise Fault("file unreadable", text) from error
    except expat.ExpatError as error:
        text = f"{path}, line {error.lineno}: not well-formed XML ({expat.errors.messages[error.code]}). "
        raise Fault("file unreadable", text + "The file may be cut short: restore it from its source.") from error
    if tree.tag != "annotation":
        text = f"{path}: found <{tree.tag}>, expected <annotation>. This is not a VOC annotation file."
        raise Fault("file unreadable", text)
    boxes = sum(1 for _ in tree.iter("bndbox"))
    lost = boxes - len(tree.findall("object/bndbox")) - len(tree.findall("object/part/bndbox"))
    if lost:
        text = (
            f"{path}: {lost} of {boxes} <bndbox> stands in no <object> of the <annotation>. Correct what is around it."
        )
        raise Fault("file unreadable", text)
    image.size = _size(tree, path)
    objects = [_box(item, path, index, image, faults) for index, item in enumerate(tree.findall("object"))]
    file_name = (tree.findtext("filename") or "").strip().replace("\\", "/").rsplit("/", 1)[-1]
    return file_name or None, [box for box in objects if box]


def _decoded(content: bytes, path: Path) -> str:
    """Return a text file's text by its byte order mark or the encoding that it declares, UTF-8 without either."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    declared = _ENCODING.match(content)
    encoding = "utf-16" if wide else declared[1].decode() if declared else "utf-8"
    try:
        name = codecs.lookup(encoding).name
        # A declaration that can be read byte by byte is not in UTF-16, whatever it says; GB18030 holds the older two.
        return content.decode(name if wide else _TAKEN_FOR.get(name, name))
    except (LookupError, UnicodeError) as error:
        line = content.count(b"\n", 0, getattr(error, "start", 0)) + 1
        text = f"{path}, line {line}: cannot be read as {encoding!r} ({error}). Save it as UTF-8."
        raise Fault("file unreadable", text) from error


def _parsed(content: str, path: Path) -> ElementTree.Element:
    """Return the root element, each with its ``line``; no entity is expanded, for a DOCTYPE is refused."""
    parser, builder = expat.ParserCreate(), ElementTree.TreeBuilder()

    def start(tag: str, attributes: dict[str, Any]) -> None:
        builder.start(tag, attributes | {"line": parser.CurrentLineNumber})

    def refuse(*_: object) -> None:
        text = (
            f"{path}, line {parser.CurrentLineNumber}: the file declares a DOCTYPE, which can define entities and read"
        )
        raise Fault("file unreadable", f"{text} other files. VOC annotations need none: remove the declaration.")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, builder.end
    parser.CharacterDataHandler = builder.data
    parser.Parse(content, True)
    return builder.close()


def _box(
    item: ElementTree.Element, path: Path, index: int, image: SourceImage, faults: list[InputError]
) -> SourceBox | None:
    """Read an ``<object>``; its parts, which VOC2012 gives for some people, have boxes of their own and are left.

    Corners become COCO's ``[x, y, width, height]``; the module explains the convention.
    """
    line, corners = item.get("line"), item.find("bndbox")
    corners = () if corners is None else corners
    tags = [child.tag for part in (item, corners) for child in part]
    twice = next((tag for tag in ("name", "bndbox", *_CORNERS) if tags.count(tag) > 1), None)
    name, difficult = one_line(item.findtext("name")), flag(item.findtext("difficult"))
    if twice or not name or difficult is None:
        what = f"has {tags.count(twice)} <{twice}>; expected one"
        if not twice:
            what = "has no <name>" if not name else f"has {item.findtext('difficult')!r} as <difficult>"
            what += "; expected its class, and 0 or 1"
        text = f"{path}, line {line}: object {index} {what}. Correct it, or remove the object."
        faults.append(Fault("object incomplete", text))
        return None
    texts = {child.tag: child.text for child in corners}
    numbers = [_number(texts.get(corner)) for corner in _CORNERS]
    if None in numbers:
        corner = _CORNERS[numbers.index(None)]
        why = f"has {texts[corner]!r} as <{corner}>" if corner in texts else f"has no <{corner}>"
        written = [texts.get(corner) for corner in _CORNERS]
        return SourceBox(image, name, None, written, index, path, line, difficult, None, ("box not four numbers", why))
    xmin, ymin, xmax, ymax = numbers
    box = [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]
    # One pixel by VOC's convention, and a click without a drag in truth.
    defect = ("box without area", "has no area") if xmax <= xmin or ymax <= ymin else None
    return SourceBox(image, name, box, numbers, index, path, line, difficult, None, defect)


def _size(tree: ElementTree.Element, path: Path) -> tuple[int, int] | None:
    """Return width and height in pixels; None when the file does not state them, or as 0 as labelling tools do."""
    texts = [(tree.findtext(f"size/{side}") or "").strip() or "0" for side in ("width", "height")]
    width, height = map(_number, texts)
    if not (isinstance(width, int) and isinstance(height, int) and min(width, height) >= 0):
        raise Fault(
            "size wrong",
            f"{path}, key size: found {texts[0]} by {texts[1]}, expected whole numbers of pixels. Correct it, or "
            "remove the element: the size is then read from the image.",
        )
    return (width, height) if width and height else None


def _number(text: Any) -> int | float | None:
    """Return the number a text holds, whole where it can be (VOC2012 has a few fractions), or None."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value
