"""What a layout reads from the user's files, the same for every layout, and the faults that are found on the way.

A layout is a module of `iou_aware.data.layouts`, named as the schema's key ``layout`` has it, with two functions:
``files(dataset, split)`` returns the files that list a split's images, and ``read(dataset, split)`` a `Source`.
"""

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from iou_aware.common.messages import InputError

# How tools write a truth value.
_FLAGS = {"": False, "0": False, "false": False, "no": False, "none": False, "1": True, "true": True, "yes": True}


composed, _decomposed = partial(unicodedata.normalize, "NFC"), partial(unicodedata.normalize, "NFD")


class Fault(InputError):
    """One thing that is wrong with a dataset.

    Attributes:
        kind: What all faults of this kind are counted under, such as ``image missing``.
    """

    def __init__(self, kind: str, text: str):
        """Say where it is, what is wrong and what to do about it."""
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Header:
    """What an image file says about itself.

    Attributes:
        stored: Width and height as stored, in pixels.
        shown: Width and height after EXIF's rotation, which is what a detector is given.
        turned: Whether EXIF makes a detector see something else than is stored.
        form: Its format, as Pillow calls it.
        padded: Whether it ends in zeros, as one does of which the rest was never written.
    """

    stored: tuple[int, int]
    shown: tuple[int, int]
    turned: bool
    form: str
    padded: bool


@dataclass(slots=True)
class SourceImage:
    """An image as an annotation file describes it.

    Attributes:
        id: What the file calls it, a whole number or text; None where files are all that is named, until the check
            numbers the images.
        file_name: Its path below the split's folder of images.
        size: Width and height in pixels; None where they are not stated.
        named_by: The file, with line or key, that describes it.
        fault: Why it cannot be used; None if it can.
        header: What its file says of itself, once `iou_aware.data.images` has read it.
        number: Its place, from 1, in the order of the ids, once `iou_aware.data.canonical` has given it one.
    """

    id: int | str | None
    file_name: str
    size: tuple[int, int] | None
    named_by: str
    fault: Fault | None = None
    header: Header | None = None
    number: int | None = None


@dataclass(slots=True)
class SourceBox:
    """A box as an annotation file has it.

    Attributes:
        image: What it is on.
        category: Name of its class.
        box: COCO's ``[x, y, width, height]``, or None where what is written is no box.
        written: What is written.
        index: Its place among the boxes of its image (VOC) or file (COCO), from 0.
        file: The file that it stands in.
        line: Where; None where the format has no lines to speak of.
        ignored: Whether it is neither to be found nor false when it is: a crowd, or difficult.
        area: In square pixels, if stated: of a mask, say.
        defect: What is wrong with it, as a kind and a description, where the layout knows better than the check.
    """

    image: SourceImage
    category: str
    box: list[float] | None
    written: Any
    index: int
    file: Path
    line: int | None
    ignored: bool
    area: float | None = None
    defect: tuple[str, str] | None = None

    @property
    def place(self) -> str:
        """The file with line or key, for messages."""
        return f"{self.file}, " + (f"line {self.line}" if self.line else f"key annotations[{self.index}]")


@dataclass(slots=True)
class Source:
    """A split as its files describe it; once `iou_aware.data.canonical` has checked it, without what was left out.

    Attributes:
        folder: The folder that file names start from.
        images: In order.
        boxes: Image by image or in the file's order; until the check they can be read once.
        classes: What the files call each class by number, or None, by its name, in order.
        declared: Whether the files list their classes, or they are merely those that occur.
        corners: The names of the four numbers of a box as written, for messages.
        faults: Whatever is wrong and stops the preparation, as far as it has been read.
    """

    folder: Path
    images: list[SourceImage]
    boxes: Iterable[SourceBox]
    classes: dict[str, int | str | None]
    declared: bool
    corners: str
    faults: list[InputError] = field(default_factory=list)


def flag(value: Any) -> bool | None:
    """Return the truth value that a tool has written, or None if it is none: 0, ``false``, empty and null are False."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, int | float):
        return bool(value) if value in (0, 1) else None
    return _FLAGS.get(value.strip().lower()) if isinstance(value, str) else None


def one_line(text: Any) -> str:
    """Return a class's name as it is compared and printed: blanks and line breaks are one space, none at the ends."""
    return " ".join(text.split()) if isinstance(text, str) else ""


def spelt(name: str, folder: Path, suffix: str = "") -> str:
    """Return a name as its file in ``folder`` is spelt, where that differs as systems do, or else as it is.

    Windows writes backslashes, and macOS letters with accents in two characters.
    """
    if name.isascii() and "\\" not in name:
        return name
    forms = (form(text) for text in (name, name.replace("\\", "/")) for form in (str, composed, _decomposed))
    return next((form for form in forms if os.path.isfile(folder / f"{form}{suffix}")), name.replace("\\", "/"))


def outside(name: str, named_by: str) -> Fault | None:
    """Return the fault of a file name which leads out of the folder that it starts from, None for one that does not."""
    if not (name.startswith("/") or ".." in name.split("/") or "\0" in name):
        return None
    return Fault(
        "name outside the folder",
        f"{named_by}: found {name!r}, expected a path below the dataset's folder of images, without '..'. Correct it; "
        "if the image belongs to the dataset, put it there.",
    )
