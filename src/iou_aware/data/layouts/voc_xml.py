"""Reading one PASCAL VOC annotation file, safely and fast."""

import codecs
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from iou_aware.common.files import require_regular
from iou_aware.common.messages import InputError
from iou_aware.data.source import Fault, SourceBox, SourceImage, flag, one_line

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ENCODING = re.compile(rb"""\s*<\?xml[^>]*\bencoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")
_TAKEN_FOR = {"gb2312": "gb18030", "gbk": "gb18030", **dict.fromkeys(("utf-8", "utf-16", "utf-32"), "utf-8-sig")}


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
        tree = _parsed(decoded(path.read_bytes(), path), path)
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


def decoded(content: bytes, path: Path) -> str:
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

    Corners become COCO's ``[x, y, width, height]``; `iou_aware.data.layouts.voc` explains the convention.
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
