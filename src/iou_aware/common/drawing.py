"""Boxes drawn on photographs, and pictures side by side, with labels that stay readable on any background."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from iou_aware.common.errors import InputError
from iou_aware.common.files import write_bytes

# Okabe and Ito's, told apart by the colour-blind; light ones, on which black letters can be read.
COLOURS = ("#56B4E9", "#E69F00", "#CC79A7", "#F0E442", "#009E73", "#D55E00")
WHITE = "#ffffff"
_DASH = 5
_Area = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """One box to draw.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the picture.
        text: What stands at its upper left corner; empty for nothing.
        colour: Of its line and of what is behind the text.
        dashed: Whether the line is broken.
    """

    box: Sequence[float]
    text: str = ""
    colour: str = COLOURS[0]
    dashed: bool = False


def load(path: Path) -> Image.Image:
    """Read a picture as RGB, turned as its EXIF says.

    Raises:
        InputError: The file is missing, is no picture or is truncated.
    """
    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except FileNotFoundError as fault:
        raise InputError(f"{path}: there is no such file; expected a picture.") from fault
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as fault:
        raise InputError(f"{path}: cannot be read as a picture ({fault}). Check that it is one, and whole.") from fault


def fitted(picture: Image.Image, shortest: int, longest: int) -> tuple[Image.Image, float]:
    """Return a picture whose longer side is ``shortest`` to ``longest`` pixels, and its size over the old one."""
    side = max(picture.size)
    factor = min(max(side, shortest), longest) / side
    size = tuple(max(1, round(side * factor)) for side in picture.size)
    return picture.resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC), factor


def draw(picture: Image.Image, factor: float, marks: Sequence[Mark], size: int = 12) -> Image.Image:
    """Return a copy of a picture with boxes on it.

    Args:
        picture: The picture.
        factor: What the boxes are multiplied by.
        marks: What to draw, in this order.
        size: Height of the letters, pixels.
    """
    drawn = picture.copy()
    pen = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(size)
    width = max(1, round(size / 6))
    boxes = [np.asarray(mark.box, dtype=float) * factor for mark in marks]
    for mark, box in zip(marks, boxes, strict=True):
        _outline(pen, box, mark, width)
    taken: list[_Area] = []
    for mark, box in zip(marks, boxes, strict=True):
        if mark.text:
            taken.append(_label(pen, box, mark, font, drawn.size, taken))
    return drawn


def beside(pictures: Sequence[Image.Image], titles: Sequence[str], size: int = 13, gap: int = 6) -> Image.Image:
    """Return pictures of equal size in one row on white, each below its title."""
    font = ImageFont.load_default(size)
    head = round(1.6 * size)
    width, height = pictures[0].size
    sheet = Image.new("RGB", (len(pictures) * (width + gap) - gap, height + head), WHITE)
    pen = ImageDraw.Draw(sheet)
    for index, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        left = index * (width + gap)
        pen.text((left + 2, round(0.2 * size)), title, fill="black", font=font)
        sheet.paste(picture, (left, head))
    return sheet


def save(picture: Image.Image, path: Path, quality: int = 88) -> Path:
    """Write a picture as JPEG, whole or not at all."""
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=quality, optimize=True)
    write_bytes(path, content.getvalue())
    return path


def _outline(pen: ImageDraw.ImageDraw, box: np.ndarray, mark: Mark, width: int) -> None:
    x1, y1, x2, y2 = (round(side) for side in box)
    # A broken line is black below, so that a light one is seen on light ground as well.
    solid = "black" if mark.dashed else mark.colour
    pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=solid, width=width)
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]
    for start, end in pairwise(corners) if mark.dashed else ():
        _dashes(pen, start, end, mark.colour, width)


def _dashes(pen: ImageDraw.ImageDraw, start: tuple[int, int], end: tuple[int, int], colour: str, width: int) -> None:
    length = abs(end[0] - start[0]) + abs(end[1] - start[1])
    along = np.sign(np.subtract(end, start))
    for offset in range(0, length, 2 * _DASH):
        first = np.asarray(start) + along * offset
        last = np.asarray(start) + along * min(offset + _DASH, length)
        pen.line([*first.tolist(), *last.tolist()], fill=colour, width=width)


def _label(
    pen: ImageDraw.ImageDraw,
    box: np.ndarray,
    mark: Mark,
    font: ImageFont.FreeTypeFont,
    size: tuple[int, int],
    taken: Sequence[_Area],
) -> _Area:
    """Write a mark's text at its box, within the picture and where no other text stands, if there is such a place.

    Tried in turn: above the box, inside at the top, below it, inside at the bottom.
    """
    _, _, right, bottom = pen.textbbox((0, 0), mark.text, font=font)
    width, height = right + 4, bottom + 3
    x = min(max(box[0], 0), max(size[0] - width, 0))
    tops = [box[1] - height, box[1], box[3], box[3] - height]
    places = [(x, y, x + width, y + height) for y in tops if 0 <= y <= size[1] - height]
    places.append((x, min(max(box[1], 0), max(size[1] - height, 0)), x + width, box[1] + height))
    place = next((area for area in places if not any(_overlap(area, other) for other in taken)), places[0])
    pen.rectangle((*place[:2], place[0] + width, place[1] + height), fill=mark.colour)
    pen.text((place[0] + 2, place[1] + 1), mark.text, fill="black", font=font)
    return place


def _overlap(one: _Area, other: _Area) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
