"""The miniature data sets, made on the spot: `micro-coco` in COCO layout, `micro-voc` in a VOCdevkit.

Both stand in for the real data in shape only: the same files in the same places, objects that fill COCO's small,
medium and large areas at the stored size, and edges soft or hidden enough that localisation is uncertain.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2

from iou_aware.common.messages import InputError
from iou_aware.data.miniature.scenes import SIZE, SceneObject, Style, cross, draw, polygon, star

VERSION = 2  # raise it whenever equal settings give other bytes
STAMP = "generated.json"
_JPEG_QUALITY = 92
_DIFFICULT = 0.45  # VOC's annotators called an object difficult when too little of it could be seen

_COCO_STYLE = Style(
    name="micro-coco",
    shapes={"ellipse": (polygon(48),), "rectangle": (polygon(4, turn=30),), "triangle": (polygon(3, turn=-60),)},
    objects=(1, 3),
    sizes=(32, 180),
    ground=(70, 170),
    vivid=90,
    clutter=(3, 9),
    noise=7,
)
_VOC_STYLE = Style(
    name="micro-voc",
    shapes={
        "cross": (cross(32),),
        "hexagon": (polygon(6),),
        "ring": (polygon(48), polygon(48)[::-1] * 11 // 20),
        "star": (star(5, inner=42),),
    },
    objects=(1, 3),
    sizes=(48, 200),
    ground=(40, 120),
    vivid=90,
    clutter=(2, 6),
    noise=6,
)


def generate(settings: Mapping[str, Any], root: Path) -> None:
    """Make a miniature data set, unless ``root`` already holds exactly this one.

    The folder appears whole or not at all. Equal settings give equal bytes.

    Args:
        settings: The ``generate`` mapping of a dataset file, checked by its schema: ``generator`` (``micro-coco`` or
            ``micro-voc``), ``seed``, and ``images``, how many per split: ``{train: 8, val: 4}`` for COCO, per year and
            set for VOC: ``{VOC2007: {trainval: 4, test: 4}, VOC2012: {trainval: 4}}``.
        root: The folder to make; for VOC the VOCdevkit.

    Raises:
        InputError: ``root`` holds something that no generator made.
    """
    writer = _write_coco if settings["generator"] == "micro-coco" else _write_voc
    stamp = json.dumps({"version": VERSION, "settings": settings}, indent=1, sort_keys=True) + "\n"
    marker = root / STAMP
    if root.exists() and not marker.is_file():
        raise InputError(
            f"{root}: exists, but holds no {STAMP}: generated data would replace what lies there. Move it away, or "
            "name another root in the dataset file."
        )
    if root.exists() and marker.read_text() == stamp:
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}.") as folder:
        beside = Path(folder) / root.name
        beside.mkdir()
        writer(settings["images"], settings["seed"], beside)
        (beside / STAMP).write_text(stamp)
        if root.exists():
            shutil.rmtree(root)
        beside.rename(root)


def _write_coco(counts: Mapping[str, int], seed: int, root: Path) -> None:
    """Write SPLIT/*.jpg and annotations/instances_SPLIT.json."""
    numbers = {name: number for number, name in enumerate(_COCO_STYLE.shapes, 1)}
    (root / "annotations").mkdir()
    for split, count in counts.items():
        (root / split).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in range(1, count + 1):
            name = f"{index:012d}.jpg"
            images.append({"id": index, "file_name": name, "width": SIZE, "height": SIZE})
            for item in _write_scene(_COCO_STYLE, seed, split, index, root / split / name):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index,
                        "category_id": numbers[item.category],
                        "bbox": item.box,
                        "area": math.prod(item.box[2:]),
                        "iscrowd": 0,
                    }
                )
        content = {
            "info": {"description": f"micro-coco {split}, made by iou-aware"},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in numbers.items()],
        }
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content) + "\n")


def _write_voc(counts: Mapping[str, Mapping[str, int]], seed: int, root: Path) -> None:
    """Write YEAR/{JPEGImages,Annotations,ImageSets/Main} as the VOC development kits have them."""
    for year, sets in counts.items():
        base = root / year
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (base / folder).mkdir(parents=True)
        first = 1
        for name, count in sets.items():
            # VOC2007 numbers its images, later years put the year of the photograph before the number.
            stems = [f"{n:06d}" if year == "VOC2007" else f"{year[3:]}_{n:06d}" for n in range(first, first + count)]
            for index, stem in enumerate(stems, 1):
                image = base / "JPEGImages" / f"{stem}.jpg"
                objects = _write_scene(_VOC_STYLE, seed, f"{year}/{name}", index, image)
                (base / "Annotations" / f"{stem}.xml").write_text(_xml(image.name, objects))
            (base / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in stems))
            first += count


def _xml(image: str, objects: list[SceneObject]) -> str:
    """Return a VOC annotation; its corners count pixels from 1."""
    parts = [
        f"<annotation>\n<filename>{image}</filename>\n",
        f"<size><width>{SIZE}</width><height>{SIZE}</height><depth>3</depth></size>\n",
    ]
    for item in objects:
        x, y, width, height = item.box
        corners = {"xmin": x + 1, "ymin": y + 1, "xmax": x + width, "ymax": y + height}
        box = "".join(f"<{corner}>{value}</{corner}>" for corner, value in corners.items())
        difficult = int(item.visible < _DIFFICULT)
        parts.append(f"<object>\n<name>{item.category}</name>\n<difficult>{difficult}</difficult>\n")
        parts.append(f"<bndbox>{box}</bndbox>\n</object>\n")
    return "".join(parts) + "</annotation>\n"


def _write_scene(style: Style, seed: int, split: str, index: int, path: Path) -> list[SceneObject]:
    """Draw scene ``index`` of a split, store its image and return its objects."""
    name = f"{style.name}/{split}".encode()
    image, objects = draw(style, (seed, index, len(name), *name))
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    path.write_bytes(encoded.tobytes())
    return objects
