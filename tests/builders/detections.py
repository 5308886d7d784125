"""Ground truth and detections for tests: small scenes, in a project of ``builders.results`` where needed."""

import contextlib
import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from iou_aware import detections
from iou_aware.common.files import sha256
from iou_aware.data.manifest import Manifest, SplitData
from iou_aware.experiment.experiment import Experiment

CLASSES = 3
SIDE = 400


def write_truth(path: Path, boxes: Iterable, images: Iterable[int] = (1,), categories: Iterable[int] = (1,)) -> Path:
    """Write an annotation file of (image, category, x, y, width, height, iscrowd) rows; their ids count from 1."""
    content = {
        "images": [{"id": one, "width": SIDE, "height": SIDE, "file_name": f"{one}.jpg"} for one in images],
        "categories": [{"id": one, "name": f"class {one}"} for one in categories],
        "annotations": [
            {"id": number, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3]}
            | {"iscrowd": crowd}
            for number, (image, category, *box, crowd) in enumerate(boxes, 1)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def results(rows: Iterable) -> np.ndarray:
    """Return (image, category, x1, y1, x2, y2, confidence) rows as the evaluators load them: ``(N, 7)``."""
    columns = np.array(rows, dtype=np.float64).reshape(-1, 7)
    arrays = (columns[:, 0], columns[:, 1], columns[:, 2:6], columns[:, 6], columns[:, 6])
    return detections.Detections(*arrays).results


def detected(results: np.ndarray, iou_preds: np.ndarray | None = None) -> detections.Detections:
    """Return ``(N, 7)`` results as detections whose confidence is their classification score."""
    corners = np.column_stack([results[:, 1:3], results[:, 1:3] + results[:, 3:5]])
    return detections.Detections(results[:, 0], results[:, 6], corners, results[:, 5], results[:, 5], iou_preds)


def scene(path: Path, seed: int = 0, images: int = 12) -> dict:
    """Write an annotation file with boxes of all sizes, crowds, an image without objects and a class without any."""
    random = np.random.default_rng(seed)
    boxes = []
    for image in range(2, images + 1):
        for _ in range(random.integers(1, 7)):
            side = np.exp(random.uniform(2.2, 5.3, 2))
            category, corner = int(random.integers(1, CLASSES)), random.uniform(0, 200, 2)
            boxes.append((image * 10, category, *corner, *side, int(random.random() < 0.1)))
    ids = range(10, 10 * images + 1, 10)
    return json.loads(write_truth(path, boxes, ids, range(1, CLASSES + 1)).read_text())


def renumbered(truth: dict, ids: list[int]) -> dict:
    """Return ground truth whose categories 1, 2, 3 have other ids."""
    categories = [one | {"id": ids[one["id"] - 1]} for one in truth["categories"]]
    annotations = [one | {"category_id": ids[one["category_id"] - 1]} for one in truth["annotations"]]
    return truth | {"categories": categories, "annotations": annotations}


def noisy(content: dict, seed: int, noise: float = 0.06) -> np.ndarray:
    """Return three noisy copies of every object, and clutter, as the evaluators load them: ``(N, 7)``.

    Confidences are equal across images, where their order is defined, and differ within each.
    """
    random = np.random.default_rng(seed)
    boxes = np.repeat([[a["image_id"], *a["bbox"], 0, a["category_id"]] for a in content["annotations"]], 3, axis=0)
    boxes[:, 1:5] += random.normal(0, noise, (len(boxes), 4)) * boxes[:, [3, 4, 3, 4]]
    clutter = boxes[random.permutation(len(boxes))[: len(boxes) // 2]].copy()
    clutter[:, 1:3] = random.uniform(0, 300, (len(clutter), 2))
    clutter[:, 6] = random.integers(1, CLASSES + 1, len(clutter))
    found = random.permutation(np.concatenate([boxes, clutter]))
    for image in np.unique(found[:, 0]):
        mine = found[:, 0] == image
        found[mine, 5] = 0.9 - 0.02 * np.arange(mine.sum())
    return found


def official(annotations: Path, found: np.ndarray) -> COCOeval:
    """Return what pycocotools, the reference implementation, makes of detections."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def entries(found: np.ndarray) -> list[dict]:
    """Return detections as the entries of a COCO results file."""
    return [
        {"image_id": int(row[0]), "category_id": int(row[6]), "bbox": row[1:5].tolist(), "score": float(row[5])}
        for row in found
    ]


def write_dataset(study: Experiment, split: str = "val", seed: int = 0, layout="coco", labelled=True) -> dict:
    """Write the prepared dataset ``shapes`` with grey images; return its ground truth."""
    folder = study.paths.dataset_folder("shapes")
    content = scene(folder / f"{split}.json", seed)
    (folder / split).mkdir(exist_ok=True)
    for image in content["images"]:
        Image.new("RGB", (SIDE, SIDE), "grey").save(folder / split / image["file_name"])
    annotations = folder / f"{split}.json"
    part = SplitData(
        annotations=str(annotations.relative_to(study.root)),
        images=str((folder / split).relative_to(study.root)),
        labelled=labelled,
        counts={
            "images": len(content["images"]),
            "boxes": len(content["annotations"]),
            "areas": dict.fromkeys(("small", "medium", "large"), 1),
        },
        sha256=sha256(annotations),
    )
    names, ids = zip(*((category["name"], category["id"]) for category in content["categories"]), strict=True)
    manifest = Manifest("shapes", layout, ".", list(names), list(ids), split, [split], "error", {split: part})
    manifest.write(study.paths.manifest("shapes"))
    return content


def write_detections(
    study: Experiment, run: str, split: str, found: dict[str, np.ndarray], iou=None, weights="w" * 64, images=12
) -> Path:
    """Write a run's detections.

    Args:
        study: The experiment.
        run: A run of it.
        split: A split of its dataset.
        found: By rule, ``(N, 7)`` as the evaluators load them.
        iou: By rule, ``(N,)`` predicted IoU; None for a detector that predicts none.
        weights: The checksum of the weights that they are said to be of.
        images: How many images they are said to cover.
    """
    path, rules = study.paths.detections(run, split), list(found)
    parts = [
        (np.full(len(found[rule]), index), detected(found[rule], None if iou is None else iou[rule]))
        for index, rule in enumerate(rules)
    ]
    detections.write(path, rules, images, {"weights_sha256": weights}, parts)
    return path


def iou(a, b) -> float:
    """Return the IoU of two boxes x, y, width, height, written out."""
    width = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)
