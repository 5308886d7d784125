"""Small projects with data of their own, for the tests of `iou_aware.data`."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from iou_aware.data.manifest import Manifest
from iou_aware.data.prepare import prepare

WIDTH, HEIGHT = 64, 48


def picture(width: int = WIDTH, height: int = HEIGHT, form: str = "JPEG", **options: Any) -> bytes:
    """Return an image file with a slanting gradient, so that it shows how it is turned and does not compress away."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").rotate(30).resize((width, height)).convert("RGB").save(buffer, form, **options)
    return buffer.getvalue()


def voc_object(name: str, xmin: float, ymin: float, xmax: float, ymax: float, difficult: int = 0) -> str:
    corners = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
    box = "".join(f"<{corner}>{value}</{corner}>" for corner, value in corners.items())
    return f"<object>\n<name>{name}</name>\n<difficult>{difficult}</difficult>\n<bndbox>{box}</bndbox>\n</object>\n"


def voc_xml(objects: Sequence[str], width: int = WIDTH, height: int = HEIGHT) -> str:
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
    return f"<annotation>\n{size}{''.join(objects)}</annotation>\n"


def write_voc(root: Path, lists: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    """Write one VOC folder: image lists by name, each with images by name and their objects."""
    for name, images in lists.items():
        put(root / "ImageSets" / "Main" / f"{name}.txt", "".join(f"{image}\n" for image in images))
        for image, objects in images.items():
            put(root / "Annotations" / f"{image}.xml", voc_xml(objects))
            put(root / "JPEGImages" / f"{image}.jpg", picture())


def coco_content(boxes: Sequence[Sequence[float]] = ((4, 4, 20, 16),), images: int = 2) -> dict[str, Any]:
    """Return a COCO file whose boxes are all of class 1 on image 1."""
    return {
        "images": [
            {"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT}
            for number in range(1, images + 1)
        ],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
            for n, box in enumerate(boxes, start=1)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def write_coco(root: Path, split: str, content: Mapping[str, Any]) -> Path:
    """Write a COCO split and its images, and return the annotation file."""
    for image in content["images"]:
        put(root / split / image["file_name"], picture())
    return put(root / f"{split}.json", json.dumps(content))


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def csv_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def program(path: Path, script: str) -> Path:
    """Write a script that can be run, and return it."""
    put(path, script).chmod(0o755)
    return path


def describe(project: Path, name: str = "own", **keys: Any) -> Path:
    """Write a dataset file; the keys given take the place of a VOC dataset's with one split."""
    content = {
        "dataset": name,
        "layout": "voc",
        "root": f"data/{name}",
        "splits": {"train": {"sets": [{"folder": ".", "list": "train"}]}},
        "train": "train",
        "evaluate": ["train"],
    }
    content |= keys
    path = project / "configs" / "datasets" / f"{name}.yaml"
    put(path, yaml.safe_dump({key: value for key, value in content.items() if value is not None}, sort_keys=False))
    return path


COCO = {"layout": "coco", "splits": {"train": {"annotations": "train.json", "images": "train"}}}


def prepared(project: Path, **roots: str | Path) -> Manifest:
    """Run the stage on the dataset ``own`` and return the manifest it wrote."""
    return Manifest.load(prepare(project, "own", roots), verify=True)


def converted(project: Path, split: str) -> dict[str, Any]:
    """Return the COCO file that a prepared split of ``own`` names."""
    manifest = Manifest.load(project / "results" / "datasets" / "own" / "manifest.json")
    return json.loads((project / manifest.split(split).annotations).read_text())


def write_own_coco(project: Path, content: Mapping[str, Any] | None = None, **keys: Any) -> Path:
    """Write a COCO dataset ``own`` of one split and its description; return the annotation file."""
    describe(project, **COCO | keys)
    return write_coco(project / "data" / "own", "train", content or coco_content())


def write_own_voc(project: Path, *objects: str, **keys: Any) -> Path:
    """Write a VOC dataset ``own`` of one image, of a cat unless objects are given; return its folder."""
    describe(project, **keys)
    write_voc(project / "data" / "own", {"train": {"a": objects or [voc_object("cat", 1, 1, 10, 20)]}})
    return project / "data" / "own"


def two_coco_splits(project: Path, change: Callable[[dict, dict], Any], **keys: Any) -> None:
    """Write a train split of a cat and a dog, named last, and a val split; either may be changed."""
    splits = {name: {"annotations": f"{name}.json", "images": name} for name in ("val", "train")}
    contents = [coco_content([(0, 0, 10, 10), (0, 0, 20, 20)]) for _ in splits]
    for content in contents:
        content["annotations"][1]["category_id"] = 2
    change(*contents)
    write_own_coco(project, contents[0], splits=splits, **keys)
    write_coco(project / "data" / "own", "val", contents[1])
