"""Boxes drawn on photographs, and pictures side by side, with labels that stay readable on any background."""

import io
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

from iou_aware.common.files import require_regular, write_bytes
from iou_aware.common.messages import InputError, log

# What Pillow raises about a file that is no picture, or a broken one.
UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, struct.error, Image.DecompressionBombError)
# Pillow keeps the text in a PNG, up to 64 MB of it; as millions of short chunks that takes seconds.
PngImagePlugin.MAX_TEXT_MEMORY = 8 << 20

# The environment variable that names a font file for labels.
FONT = "IOU_AWARE_FONT"
# System fonts for letters that Pillow's own lacks: Greek and Cyrillic, then Chinese, Japanese and Korean.
_FONTS = (
    *("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "DroidSansFallbackFull.ttf"),
    *("wqy-microhei.ttc", "wqy-zenhei.ttc", "ipag.ttf", "NanumGothic.ttf", "Arial Unicode.ttf", "msyh.ttc"),
)
# Okabe and Ito's, safe for colour-blindness; the light ones, on which black letters are readable.
COLOURS = ("#56B4E9", "#E69F00", "#CC79A7", "#F0E442", "#009E73", "#D55E00")
WHITE = "#ffffff"
_DASH = 5
_Area = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """One box to draw.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the picture.
        text: Its label, at the upper left corner; may be empty.
        colour: Of its line and of the label's background.
        dashed: Whether the line is dashed.
    """

    box: Sequence[float]
    text: str = ""
    colour: str = COLOURS[0]
    dashed: bool = False


def load(path: Path) -> Image.Image:
    """Read a picture as RGB, rotated by its EXIF; one of more than 8 bits is stretched, which ``info`` records.

    Raises:
        InputError: The file is missing, is no picture or is truncated.
    """
    try:
        require_regular(path)
        with Image.open(path) as picture:
            turned = ImageOps.exif_transpose(picture)
            return _stretched(turned, path) if turned.mode[0] in "IF" else turned.convert("RGB")
    except FileNotFoundError as fault:
        raise InputError(f"{path}: there is no such file; expected a picture.") from fault
    except UNREADABLE as fault:
        raise InputError(f"{path}: cannot be read as a picture ({fault}). Check that it is one, and whole.") from fault


def _stretched(picture: Image.Image, path: Path) -> Image.Image:
    """Return a picture of 16 bits or of floats with its least value as black and its greatest as white."""
    values = np.nan_to_num(np.asarray(picture, dtype=float), posinf=0, neginf=0)
    low, high = values.min(), values.max()
    log.info("%s: its values from %g to %g are stretched to what can be seen, 0 to 255", path, low, high)
    grey = Image.fromarray(np.uint8(np.round((values - low) * (255 / max(high - low, 1e-12))))).convert("RGB")
    grey.info["stretched"] = True
    return grey


def draw(picture: Image.Image, marks: Sequence[Mark], shortest: int, longest: int) -> Image.Image:
    """Return a copy of a picture with boxes on it.

    Args:
        picture: The picture.
        marks: What to draw, in this order.
        shortest: The least length of the copy's longer side, pixels.
        longest: The greatest.
    """
    side = max(picture.size)
    factor = min(max(side, shortest), longest) / side
    size = tuple(max(1, round(side * factor)) for side in picture.size)
    drawn = picture.resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC)
    pen, letters = ImageDraw.Draw(drawn), max(11, round(max(size) / 70))
    font = font_for("".join(mark.text for mark in marks), letters)
    width = max(1, round(letters / 6))
    boxes = [np.asarray(mark.box, dtype=float) * factor for mark in marks]
    for mark, box in zip(marks, boxes, strict=True):
        _outline(pen, box, mark, width)
    taken: list[_Area] = []
    for mark, box in zip(marks, boxes, strict=True):
        if mark.text:
            taken.append(_label(drawn, box, mark, font, taken))
    return drawn


def beside(pictures: Sequence[Image.Image], titles: Sequence[str]) -> Image.Image:
    """Return pictures of equal size in one row on white, each below its title."""
    size, head, gap = 13, 21, 6  # of the letters, of the row of titles, between the pictures
    font = ImageFont.load_default(size)
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


def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font that has all letters of a text: Pillow's own, that of ``IOU_AWARE_FONT``, or an installed one.

    If none has them all, it is Pillow's own, with a warning.
    """
    own = ImageFont.load_default(size)
    letters = {letter for letter in text if letter.isprintable() and not letter.isspace()}
    for name in (None, os.environ.get(FONT), *_FONTS):
        try:
            font = own if name is None else ImageFont.truetype(name, size)
        except OSError:
            continue
        absent = bytes(font.getmask("\uffff"))
        if not any(bytes(font.getmask(letter)) == absent for letter in letters):
            return font
    log.warning(
        "No font here has all letters of %r. Install one, Noto Sans CJK say, or name a font file by the environment "
        "variable %s.",
        "".join(sorted(letter for letter in letters if not letter.isascii())),
        FONT,
    )
    return own


def _outline(pen: ImageDraw.ImageDraw, box: np.ndarray, mark: Mark, width: int) -> None:
    x1, y1, x2, y2 = (round(side) for side in box)
    # A dashed line is drawn over black, so that a light one shows on a light background as well.
    solid = "black" if mark.dashed else mark.colour
    pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=solid, width=width)
    corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)])
    for start, end in pairwise(corners) if mark.dashed else ():
        length, along = abs(end - start).sum(), np.sign(end - start)
        for offset in range(0, length, 2 * _DASH):
            ends = [start + along * min(place, length) for place in (offset, offset + _DASH)]
            pen.line(np.ravel(ends).tolist(), fill=mark.colour, width=width)


def _label(
    drawn: Image.Image, box: np.ndarray, mark: Mark, font: ImageFont.FreeTypeFont, taken: Sequence[_Area]
) -> _Area:
    """Write a mark's text at its box, within the picture and where no other text stands, if there is such a place.

    Tried in turn: above the box, inside at the top, below it, inside at the bottom.
    """
    pen, size = ImageDraw.Draw(drawn), drawn.size
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
