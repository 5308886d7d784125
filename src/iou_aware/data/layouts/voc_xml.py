"""Reading one PASCAL VOC annotation file, safely and fast."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from iou_aware.common.errors import InputError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(slots=True)
class VocObject:
    """One object of an annotation file: its place there, class, and corners as written."""

    index: int
    name: str
    corners: tuple[float, float, float, float]
    difficult: bool

    @property
    def box(self) -> list[float]:
        """COCO's ``[x, y, width, height]``; `iou_aware.data.layouts.voc` explains the convention."""
        xmin, ymin, xmax, ymax = self.corners
        return [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]


@dataclass(slots=True)
class VocAnnotation:
    """One annotation file: its image's size, if stated, and its objects in order."""

    file: Path
    size: tuple[int, int] | None
    objects: list[VocObject]


def read_annotation(path: Path) -> VocAnnotation:
    """Read one VOC XML file.

    A first, bare pass of the parser refuses a DOCTYPE, and with it any entity, before anything could be expanded; it
    costs a seventh of the time.

    Args:
        path: The XML file.

    Raises:
        InputError: The file is missing, is no well-formed XML, declares a DOCTYPE or entities, or an object lacks its
            name or a corner. The message names the line.
    """
    try:
        content = path.read_bytes()
        _refuse_doctype(content, path)
        tree = ElementTree.fromstring(content)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: there is no such annotation file, but an image list names it. Add it, or take it off the list, "
            "which names images without a suffix."
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected an annotation file, XML.") from error
    except expat.ExpatError as error:
        raise InputError(
            f"{path}, line {error.lineno}: not well-formed XML ({expat.errors.messages[error.code]}). The file may be "
            "cut short: restore it from its source."
        ) from error
    if tree.tag != "annotation":
        raise InputError(f"{path}: found <{tree.tag}>, expected <annotation>. This is not a VOC annotation file.")
    objects = [_read_object(item, path, index) for index, item in enumerate(tree.findall("object"))]
    return VocAnnotation(path, _read_size(tree, path), objects)


def _refuse_doctype(content: bytes, path: Path) -> None:
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise InputError(
            f"{path}, line {parser.CurrentLineNumber}: the file declares a DOCTYPE, which can define entities and read "
            "other files. VOC annotations need none: remove the declaration."
        )

    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(content, True)


def _read_object(item: ElementTree.Element, path: Path, index: int) -> VocObject:
    """Read an ``<object>``; its parts, which VOC2012 gives for some people, have boxes of their own and are left."""
    fields = {child.tag: child for child in item}
    name = (fields["name"].text or "").strip() if "name" in fields else ""
    if not name:
        raise _object_error(path, index, "has no <name>; expected its class. Name it, or remove the object")
    difficult = (fields["difficult"].text or "").strip() if "difficult" in fields else "0"
    if difficult not in ("0", "1"):
        raise _object_error(path, index, f"has {difficult!r} as <difficult>; expected 0 or 1. Correct it")
    texts = {child.tag: child.text for child in fields.get("bndbox", ())}
    corners = tuple(_number(texts.get(corner)) for corner in _CORNERS)
    if None in corners:
        corner = _CORNERS[corners.index(None)]
        found = f"has {texts[corner]!r} as" if corner in texts else "has no"
        raise _object_error(path, index, f"{found} <{corner}>; expected a number. Correct it, or remove the object")
    return VocObject(index, name, corners, difficult == "1")


def _read_size(tree: ElementTree.Element, path: Path) -> tuple[int, int] | None:
    """Return width and height in pixels; None when the file does not state them."""
    size = tree.find("size")
    if size is None:
        return None
    width, height = _number(size.findtext("width")), _number(size.findtext("height"))
    if not (isinstance(width, int) and isinstance(height, int) and min(width, height) > 0):
        raise InputError(
            f"{path}, key size: found {width} by {height}, expected whole numbers of pixels above 0. Correct it, or "
            "remove the element: the size is then read from the image."
        )
    return width, height


def _number(text: str | None) -> int | float | None:
    """Return the number a text holds, whole where it can be (VOC2012 has a few fractions), or None."""
    try:
        return int(text)
    except (TypeError, ValueError):
        pass
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return int(value) if value.is_integer() else value


def line_of(path: Path, index: int) -> int | None:
    """Return the line at which an object of an annotation file starts; only errors ask, so the file is read again.

    Args:
        path: The XML file.
        index: The object's place in the file, from 0.
    """
    lines: list[int] = []
    depth = 0
    parser = expat.ParserCreate()

    def start(tag: str, _: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth == 2 and tag == "object":
            lines.append(parser.CurrentLineNumber)

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.Parse(path.read_bytes(), True)
    return lines[index] if index < len(lines) else None


def _object_error(path: Path, index: int, what: str) -> InputError:
    return InputError(f"{path}, line {line_of(path, index)}: object {index} {what}.")
