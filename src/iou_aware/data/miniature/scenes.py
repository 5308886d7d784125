"""Scenes of the miniature data sets: textured shapes over clutter, drawn with whole numbers only.

Every coordinate, colour and blend is integer arithmetic on streams of NumPy's PCG64, and the OpenCV calls used are
its fixed-point ones, so a scene is the same, byte for byte, wherever the pinned versions run.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 256  # side of a stored image, pixels
_SHIFT = 4  # fractional bits of a vertex handed to OpenCV: 1/16 pixel
_UNIT = 1 << 12  # length 1 of the unit shapes and of the cosine table
_STEPS = 240  # steps of a full turn: divisible by the 3, 4, 5, 8 and 10 corners of the shapes
_COSINE = np.array([round(_UNIT * math.cos(2 * math.pi * step / _STEPS)) for step in range(_STEPS)])
_TILE = 2 * SIZE  # side of a texture tile: any window of an image's size can be cut out of it
_TILT = 10  # steps that an object is turned from upright at most, either way
_MARGIN = 6  # pixels that a soft edge reaches over the outline
_ATTEMPTS = 40  # tries to place one object before the scene does without it

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Style:
    """What the scenes of one data set look like.

    Attributes:
        name: Seeds the textures, and together with the split and the index every scene.
        shapes: For each category its outline in units of `_UNIT`: contours of shape (corners, 2), holes turning the
            other way.
        objects: Fewest and most objects of a scene.
        sizes: Smallest and largest side of the square with an object's extent, pixels; drawn evenly on a log scale.
        ground: Darkest and brightest grey level of a background, before its tint.
        vivid: Least difference between the strongest and the weakest channel of an object's colour.
        clutter: Fewest and most strokes and specks of a scene.
        noise: Standard deviation of the pixel noise, grey levels.
    """

    name: str
    shapes: Mapping[str, tuple[Ints, ...]]
    objects: tuple[int, int]
    sizes: tuple[int, int]
    ground: tuple[int, int]
    vivid: int
    clutter: tuple[int, int]
    noise: int


@dataclass(frozen=True)
class SceneObject:
    """One labelled object.

    Attributes:
        category: Its name.
        box: Extent of its visible pixels: x, y, width, height.
        visible: Share of its area that can be seen, (0, 1].
    """

    category: str
    box: tuple[int, int, int, int]
    visible: float


@dataclass(frozen=True)
class _Placed:
    """An object with its outline on the canvas (1/16 pixel) and its area in pixels, before anything hides it."""

    category: str
    contours: list[NDArray[np.int32]]
    window: tuple[slice, slice]
    area: int


def draw(style: Style, entropy: tuple[int, ...]) -> tuple[NDArray[np.uint8], list[SceneObject]]:
    """Draw one scene.

    Args:
        style: What it looks like.
        entropy: Whole numbers that name this scene among all; equal numbers give equal scenes.

    Returns:
        The image, (SIZE, SIZE, 3) BGR, and its objects, those behind before those in front.
    """
    rng = np.random.default_rng(entropy)
    ground = rng.integers(*style.ground) + rng.integers(-15, 16, 3)
    canvas = _background(rng, ground)
    clutter = int(rng.integers(*style.clutter, endpoint=True))
    for _ in range(clutter):
        _scribble(rng, canvas)
    placed, owner = _place(rng, style)
    for item in placed:
        _paint(rng, style, canvas, item)
    for _ in range(clutter // 3):
        _scribble(rng, canvas)
    noise = _window(rng, _textures(style.name, style.noise)[0], SIZE, SIZE)
    image = cv2.add(canvas, cv2.merge([noise] * 3), dtype=cv2.CV_8U)  # saturates
    return image, [_label(item, owner == index) for index, item in enumerate(placed)]


def polygon(corners: int, turn: int = 0) -> Ints:
    """Return the regular polygon on the unit circle, (corners, 2), its first corner ``turn`` steps after 3 o'clock."""
    return _polar(np.full(corners, _UNIT), turn)


def star(points: int, inner: int) -> Ints:
    """Return a star, (2 * points, 2), whose inner corners lie ``inner`` per cent of the way out."""
    return _polar(np.tile([_UNIT, _UNIT * inner // 100], points), -_STEPS // 4)


def cross(arm: int) -> Ints:
    """Return an upright cross, (12, 2), with arms as wide as ``arm`` per cent of its extent."""
    a, b = _UNIT, _UNIT * arm // 100
    quarter = np.array([[a, -b], [a, b], [b, b]])
    turns = [quarter, quarter[:, ::-1] * [-1, 1], -quarter, quarter[:, ::-1] * [1, -1]]
    return np.concatenate(turns)


def _polar(radii: Ints, turn: int) -> Ints:
    angles = turn + np.arange(len(radii)) * _STEPS // len(radii)
    return np.stack([radii * _COSINE[angles % _STEPS], radii * _COSINE[(angles - _STEPS // 4) % _STEPS]], 1) // _UNIT


@cache
def _textures(name: str, noise: int) -> NDArray[np.int16]:
    """Return the style's texture tiles, (tiles, _TILE, _TILE) around 0: noise, grain, stripes, checks."""
    rng = np.random.default_rng([len(name), *name.encode()])
    shape = (_TILE, _TILE)
    # The sum of four even distributions is close to a normal one, and whole; its variance is 4 * (w^2 - 1) / 12.
    width = max(1, round(noise * math.sqrt(3)))
    tiles = [rng.integers(0, width, (4, *shape)).sum(0) - 2 * (width - 1)]
    for cell in (2, 4, 9):
        grain = rng.integers(-48, 49, (_TILE // cell + 1, _TILE // cell + 1))
        tiles.append(np.kron(grain, np.ones((cell, cell), np.int64))[:_TILE, :_TILE])
    y, x = np.mgrid[:_TILE, :_TILE]
    for period in (6, 10, 16, 24):
        bands = [(x * dx + y * dy) // period % 2 * 64 - 32 for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1))]
        tiles += [*bands, (bands[0] * bands[1]) // 32]
    return np.stack(tiles).astype(np.int16)


def _window(rng: np.random.Generator, tile: NDArray[np.int16], height: int, width: int) -> NDArray[np.int16]:
    """Cut a window out of a texture tile at a random place."""
    y, x = rng.integers(0, _TILE - height + 1), rng.integers(0, _TILE - width + 1)
    return tile[y : y + height, x : x + width]


def _background(rng: np.random.Generator, ground: Ints) -> NDArray[np.uint8]:
    """Return (SIZE, SIZE, 3) of smooth random shading around the colour ``ground``."""
    coarse = ground + rng.integers(-36, 37, (4, 4, 1)) + rng.integers(-12, 13, (4, 4, 3))
    coarse = np.clip(coarse, 0, 255).astype(np.uint8)
    fine = rng.integers(0, 49, (24, 24, 1), dtype=np.uint8)
    size = (SIZE, SIZE)
    # INTER_LINEAR_EXACT is OpenCV's fixed-point interpolation: the same on every processor.
    shade = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR_EXACT)
    grain = cv2.resize(fine, size, interpolation=cv2.INTER_LINEAR_EXACT)
    return cv2.subtract(cv2.add(shade, cv2.merge([grain] * 3)), (24, 24, 24, 0))


def _scribble(rng: np.random.Generator, canvas: NDArray[np.uint8]) -> None:
    """Draw one piece of clutter: a stroke of two or three segments, or a speck too small to be an object."""
    colour = rng.integers(0, 256, 3).tolist()
    start = rng.integers(0, SIZE, 2)
    if rng.integers(0, 2):
        path = start + np.cumsum(rng.integers(-60, 61, (int(rng.integers(2, 4)), 2)), 0)
        cv2.polylines(canvas, [np.vstack([start, path]).astype(np.int32)], False, colour, int(rng.integers(1, 5)))
    else:
        corners = start + rng.integers(-9, 10, (int(rng.integers(3, 6)), 2))
        cv2.fillPoly(canvas, [corners.astype(np.int32)], colour)


def _place(rng: np.random.Generator, style: Style) -> tuple[list[_Placed], NDArray[np.int8]]:
    """Choose objects and places such that no object is hidden by more than about two thirds.

    Returns:
        The objects, and the owner of each pixel: (SIZE, SIZE), an index into the objects or -1.
    """
    wanted = int(rng.integers(*style.objects, endpoint=True))
    placed: list[_Placed] = []
    owner = np.full((SIZE, SIZE), -1, np.int8)
    for _ in range(_ATTEMPTS):
        if len(placed) == wanted:
            break
        item = _propose(rng, style)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(mask, item.contours, 1, shift=_SHIFT)
        trial = np.where(mask, np.int8(len(placed)), owner)
        candidates = [*placed, item]
        if all(3 * np.count_nonzero(trial == index) >= other.area for index, other in enumerate(candidates)):
            placed, owner = candidates, trial
    return placed, owner


def _propose(rng: np.random.Generator, style: Style) -> _Placed:
    """Draw a category, a size, a shape and a place."""
    category = list(style.shapes)[rng.integers(len(style.shapes))]
    smallest, largest = style.sizes
    side = round(smallest * (largest / smallest) ** (int(rng.integers(64)) / 63)) << _SHIFT
    aspect = rng.integers(-24, 25)  # 64 + aspect : 64 - aspect, that is up to 2.2 : 1
    scale = np.array([side * (64 + aspect), side * (64 - aspect)]) // 128  # half axes
    angle = int(rng.integers(-_TILT, _TILT, endpoint=True))
    cosine, sine = _COSINE[angle % _STEPS], _COSINE[(angle - _STEPS // 4) % _STEPS]
    inside = int(scale.min() >> _SHIFT) // 2  # where the centre may lie: few objects reach far over the border
    centre = rng.integers(inside, SIZE - inside, 2) << _SHIFT
    contours = []
    for contour in style.shapes[category]:
        x, y = (contour * scale // _UNIT).T
        turned = np.stack([x * cosine - y * sine, x * sine + y * cosine], 1) // _UNIT
        contours.append((turned + centre).astype(np.int32))
    corners = np.concatenate(contours) >> _SHIFT
    x1, y1 = np.maximum(corners.min(0) - _MARGIN, 0).tolist()
    x2, y2 = np.minimum(corners.max(0) + _MARGIN + 2, SIZE).tolist()
    area = abs(sum(cv2.contourArea(contour, oriented=True) for contour in contours))  # exact: a multiple of 1/2
    return _Placed(category, contours, (slice(y1, y2), slice(x1, x2)), int(area) >> 2 * _SHIFT)


def _paint(rng: np.random.Generator, style: Style, canvas: NDArray[np.uint8], item: _Placed) -> None:
    """Blend an object into the canvas: a vivid colour, a texture, an edge between sharp and soft."""
    colour = rng.integers(0, 256, 3)
    while colour.max() - colour.min() < style.vivid:
        colour = rng.integers(0, 256, 3)
    tiles = _textures(style.name, style.noise)
    tile = tiles[rng.integers(1, len(tiles))]
    strength = int(rng.integers(0, 3))
    softness = int(rng.choice([1, 3, 7, 11]))
    patch = canvas[item.window]
    mask = np.zeros(patch.shape[:2], np.uint8)
    rows, columns = item.window
    offset = (-columns.start << _SHIFT, -rows.start << _SHIFT)
    cv2.fillPoly(mask, item.contours, 255, shift=_SHIFT, offset=offset)
    mask = cv2.GaussianBlur(mask, (softness, softness), 0)  # fixed-point for 8 bits
    # One array per channel, and 16 bits, which hold 256 * 255 + 128: several times as fast as broadcasting to channels.
    weight = mask.astype(np.uint16) + (mask >> 7)  # 0..256
    texture = _window(rng, tile, *mask.shape) * strength // 2
    for channel, level in enumerate(colour.tolist()):
        paint = np.clip(texture + level, 0, 255).astype(np.uint16)
        patch[..., channel] = (patch[..., channel] * (256 - weight) + paint * weight + 128) >> 8


def _label(item: _Placed, visible: NDArray[np.bool_]) -> SceneObject:
    """Describe an object by its visible pixels, (SIZE, SIZE)."""
    share = min(1.0, np.count_nonzero(visible) / item.area)
    return SceneObject(item.category, cv2.boundingRect(visible.astype(np.uint8)), share)
