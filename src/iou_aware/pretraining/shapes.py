"""A classification set in miniature: one shape per picture, of more classes than any detection set has."""

import contextlib
import hashlib
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from iou_aware.common.files import writing
from iou_aware.data.miniature import scenes
from iou_aware.data.miniature.scenes import Style, cross, draw, polygon, star

_DISC, _SQUARE = polygon(48), polygon(4, turn=30)
STYLE = Style(
    name="shapes",
    shapes={
        "triangle": (polygon(3, turn=-60),),
        "triangle upside down": (polygon(3, turn=60),),
        "square": (_SQUARE,),
        "diamond": (polygon(4),),
        "pentagon": (polygon(5, turn=-60),),
        "hexagon": (polygon(6),),
        "disc": (_DISC,),
        "half disc": (_DISC[:25],),
        "thin ring": (_DISC, _DISC[::-1] * 15 // 20),
        "thick ring": (_DISC, _DISC[::-1] * 8 // 20),
        "frame": (_SQUARE, _SQUARE[::-1] * 11 // 20),
        "star of four": (star(4, inner=40),),
        "star of five": (star(5, inner=42),),
        "star of eight": (star(8, inner=55),),
        "thin cross": (cross(20),),
        "thick cross": (cross(45),),
    },
    objects=(1, 1),
    sizes=(96, 236),
    ground=(40, 170),
    vivid=70,
    clutter=(1, 5),
    noise=7,
)


def shared_shapes(
    folder: Path, split: str, count: int, side: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return what ``draw_shapes`` draws, from ``folder``, where the first that needs it keeps it for the others."""
    code = b"".join(Path(file).read_bytes() for file in (scenes.__file__, __file__))
    name = hashlib.sha256(code + repr((split, count, side, seed)).encode()).hexdigest()[:12]
    kept = folder / f"{name}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as alone:
        with contextlib.suppress(NotImplementedError, OSError):  # clusters mount some file systems without locks
            alone.enter_context(FileLock(folder / f".{name}.lock"))
        if not kept.is_file():
            pictures, labels = draw_shapes(split, count, side, seed)
            with writing(kept) as beside, beside.open("wb") as file:
                np.savez(file, pictures=pictures, labels=labels)
    with np.load(kept) as arrays:
        return arrays["pictures"], arrays["labels"]


def draw_shapes(split: str, count: int, side: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw pictures of one shape each.

    Args:
        split: What they are for; different words give different pictures.
        count: How many.
        side: Their width and height, pixels.
        seed: Everything drawn follows from it.

    Returns:
        The pictures, ``(count, side, side, 3)`` RGB, and of each the index of its shape in the style, ``(count,)``.
    """
    pictures, labels = np.empty((count, side, side, 3), np.uint8), np.empty(count, np.int64)
    names = list(STYLE.shapes)
    for index in range(count):
        scene, objects = draw(STYLE, (seed, index, len(split), *split.encode()))
        # OpenCV's fixed-point interpolation, as in the scenes: the same on every processor.
        pictures[index] = cv2.resize(scene, (side, side), interpolation=cv2.INTER_LINEAR_EXACT)[..., ::-1]
        labels[index] = names.index(objects[0].category)
    return pictures, labels
