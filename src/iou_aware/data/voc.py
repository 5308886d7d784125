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

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from iou_aware.data.boxes import InvalidBox, InvalidBoxes, defect
from iou_aware.data.dataset import Dataset, Split
from iou_aware.data.images import check_size, read_headers
from iou_aware.errors import InputError
from iou_aware.yaml_file import closest

_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".bmp")
_OBJECT = "annotation/object"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_FIELDS = {f"{_OBJECT}/bndbox/{corner}": corner for corner in _CORNERS}
_FIELDS |= {f"{_OBJECT}/{name}": name for name in ("name", "difficult")}
_SIZE = {f"annotation/size/{name}": name for name in ("width", "height")}


@dataclass
class VocObject:
    """One object of an annotation file: class, corners as written, and the line it starts at."""

    line: int
    name: str
    corners: tuple[float, float, float, float]
    difficult: bool

    @property
    def box(self) -> list[float]:
        """COCO's ``[x, y, width, height]``; see the module's text for the convention."""
        xmin, ymin, xmax, ymax = self.corners
        return [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]


@dataclass
class VocAnnotation:
    """One annotation file: its image's size, if stated, and its objects in order."""

    file: Path
    size: tuple[int, int] | None
    objects: list[VocObject] = field(default_factory=list)


def read_annotation(path: Path) -> VocAnnotation:
    """Read one VOC XML file.

    The reader is expat, which expands nothing here: a DOCTYPE, and with it any entity, is refused.

    Args:
        path: The XML file.

    Raises:
        InputError: The file is missing, is no well-formed XML, declares a DOCTYPE or entities, or an object lacks its
            name or a corner. The message names the line.
    """
    reader = _Reader(path)
    try:
        reader.parser.Parse(path.read_bytes(), True)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: there is no such annotation file, but an image list names it. Add it, or take it off the list."
        ) from error
    except expat.ExpatError as error:
        raise InputError(
            f"{path}, line {error.lineno}: not well-formed XML ({expat.errors.messages[error.code]}). The file may be "
            "cut short: restore it from its source."
        ) from error
    return reader.annotation()


class _Reader:
    """Collects the few fields that matter while expat walks through one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size: dict[str, str] = {}
        self.objects: list[dict[str, Any]] = []
        self._stack = [""]
        self._text: list[str] = []
        self.parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = self._refuse

    def _refuse(self, *_: object) -> None:
        raise InputError(
            f"{self.path}, line {self.parser.CurrentLineNumber}: the file declares a DOCTYPE, which can define "
            "entities and read other files. VOC annotations need none: remove the declaration."
        )

    def _start(self, tag: str, _: dict[str, str]) -> None:
        above = self._stack[-1]
        path = f"{above}/{tag}" if above else tag
        self._stack.append(path)
        self._text.clear()
        if path == _OBJECT:
            self.objects.append({"line": self.parser.CurrentLineNumber})

    def _end(self, _: str) -> None:
        path = self._stack.pop()
        if path in _FIELDS:
            self.objects[-1][_FIELDS[path]] = "".join(self._text).strip()
        elif path in _SIZE:
            self.size[_SIZE[path]] = "".join(self._text).strip()

    def annotation(self) -> VocAnnotation:
        size = None
        if self.size:
            width, height = (self._number(self.size, name, None) for name in ("width", "height"))
            if not (isinstance(width, int) and isinstance(height, int) and min(width, height) > 0):
                raise InputError(
                    f"{self.path}: <size> is {width} by {height}, expected whole numbers of pixels above 0."
                )
            size = (width, height)
        return VocAnnotation(self.path, size, [self._object(fields) for fields in self.objects])

    def _object(self, fields: dict[str, Any]) -> VocObject:
        line = fields["line"]
        if not fields.get("name"):
            raise InputError(f"{self.path}, line {line}: the object has no <name>. Name its class, or remove it.")
        difficult = fields.get("difficult", "0")
        if difficult not in ("0", "1"):
            raise InputError(f"{self.path}, line {line}: <difficult> is {difficult!r}, expected 0 or 1. Correct it.")
        corners = tuple(self._number(fields, corner, line) for corner in _CORNERS)
        return VocObject(line, fields["name"], corners, difficult == "1")

    def _number(self, fields: dict[str, Any], name: str, line: int | None) -> int | float:
        text = fields.get(name)
        try:
            value = float(text)
        except (TypeError, ValueError) as error:
            where = f"{self.path}, line {line}: the object" if line else f"{self.path}: <size>"
            found = "has no" if text is None else f"has {text!r} as"
            raise InputError(
                f"{where} {found} <{name}>; expected a number. Correct it, or remove the object."
            ) from error
        return int(value) if value.is_integer() else value


def read_list(root: Path, folder: str, name: str) -> list[str]:
    """Read an image list, ``<root>/<folder>/ImageSets/Main/<name>.txt``.

    Returns:
        The images' names without their suffix, in order.

    Raises:
        InputError: The list is missing or empty, names an image twice, or has more than a name on a line.
    """
    path = root / folder / "ImageSets" / "Main" / f"{name}.txt"
    if not path.is_file():
        known = sorted(other.stem for other in path.parent.glob("*.txt"))
        raise InputError(
            f"{path}: there is no such image list.{closest(name, known)} Found there: {known or 'nothing'}."
        )
    first: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        words = line.split()
        if len(words) > 1:
            raise InputError(f"{path}, line {number}: found {line!r}, expected the name of one image and nothing else.")
        if words and words[0] in first:
            raise InputError(
                f"{path}, line {number}: the image {words[0]!r} is named a second time; first on line "
                f"{first[words[0]]}. Remove one of them: image ids must be unique."
            )
        first.update((word, number) for word in words)
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
                    raise InputError(
                        f"{annotation.file}, line {item.line}: the class {item.name!r} is unknown."
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
        for index, item in enumerate(annotation.objects):
            box, why = item.box, _defect(item, size)
            if why:
                file = annotation.file.relative_to(root).as_posix()
                found = InvalidBox(file, item.line, index, name, item.name, list(item.corners), why)
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
