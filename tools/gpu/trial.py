"""The project that the GPU test works in: this repository's recipes at the paper's size, on scenes that are drawn."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml

from iou_aware.experiment.experiment import Experiment

ROOT = Path(__file__).resolve().parents[2]
DEVICE = os.environ.get("TRIAL_DEVICE", "cuda")  # run.py sets it
ON_CPU = DEVICE == "cpu"  # then everything is tiny
#: Pixels of the images, which are not resized; images per step; steps of a training; images to detect on.
WIDTH, HEIGHT, BATCH, STEPS, IMAGES = (96, 64, 2, 12, 3) if ON_CPU else (1333, 800, 16, 50, 64)
CLASSES = 80
_ALPHAS = [f"{tenth / 10:.2f}" for tenth in range(11)]
RULES, ORACLES = ["none", *(f"alpha={alpha}" for alpha in _ALPHAS)], [f"oracle={alpha}" for alpha in _ALPHAS]
RUN = f"scenes.iou_aware_retinanet.trial.bce.paper.{WIDTH}x{HEIGHT}.seed0"

_SHORT = {"images": 10 * BATCH}
#: The trainings' settings, by the name of their experiment.
TRAININGS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "fp16": {"amp": "fp16"},
    "bf16": {"amp": "bf16"},
    "bf16_channels_last": {"amp": "bf16", "channels_last": True},
    "bf16_compiled": {"amp": "bf16", "channels_last": True, "compile": True},
    "iou_aware_atss": {"amp": "bf16", "channels_last": True},
    "iou_aware_fcos": {"amp": "bf16", "channels_last": True},
    "faster_rcnn": _SHORT,
    "retinanet": _SHORT,
    "nccl": _SHORT,
    "resume": _SHORT | {"amp": "fp16", "epochs": 4},
    "uninterrupted": _SHORT | {"amp": "fp16", "epochs": 4},
}
_DETECTORS = ("iou_aware_atss", "iou_aware_fcos", "faster_rcnn", "retinanet")  # named like their experiments
# The paper's ResNet-50 but from random weights, as ImageNet's are not where there is no network; a CPU gets a few
# filters.
_FULL = {"backbone": {"depth": 50, "init_cfg": None}}
_NARROW = {
    "backbone": {"depth": 18, "base_channels": 16, "stem_channels": 16, "init_cfg": None},
    "neck": {"in_channels": [16, 32, 64, 128]},
}


def experiment(name: str) -> Experiment:
    """Return one of the project's experiments."""
    return Experiment.load(Path("configs/experiments") / f"{name}.yaml")


def write_project() -> None:
    """Make the working directory a project: configs, and images with their annotations."""
    shutil.copytree(ROOT / "configs", "configs")
    Path("configs/backbones/trial.py").write_text(f"model = {_NARROW if ON_CPU else _FULL!r}\n")
    counts = {"train": STEPS * BATCH, "val": IMAGES}
    data = {"dataset": "scenes", "layout": "coco", "root": "scenes", "train": "train", "evaluate": ["val"]}
    data["splits"] = {split: {"annotations": f"{split}.json", "images": split} for split in counts}
    Path("configs/datasets/scenes.yaml").write_text(yaml.safe_dump(data))
    for name, settings in TRAININGS.items():
        Path(f"configs/experiments/{name}.yaml").write_text(yaml.safe_dump(_content(name, settings)))
    for split, count in counts.items():
        _draw_split(split, count)


def _content(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    if ON_CPU:  # which takes minutes to compile, and to compute in fp16
        settings = {key: value for key, value in settings.items() if key != "compile" and value != "fp16"}
    # Loading processes hand their images over in shared memory, of which a container may have next to none.
    workers = 8 if not ON_CPU and shutil.disk_usage("/dev/shm").free > 2**31 else 0
    common = {"epochs": 1, "batch_size": BATCH, "workers": workers, "gpus": 1, "device": DEVICE}
    run = {"dataset": "scenes", "recipe": "paper", "backbone": "trial", "scale": f"{WIDTH}x{HEIGHT}", "seed": 0}
    detector = name if name in _DETECTORS else "iou_aware_retinanet"
    iou_aware = detector.startswith("iou_aware")
    rows = {"model": {"rule": "none"} if iou_aware else {}}
    return {
        "experiment": name,
        "title": "A trial on one GPU",
        "defaults": run | {"target_grad": False},
        "rules": RULES,
        "runs": [{"detector": detector} | ({"iou_loss": "bce", "rules": ORACLES} if iou_aware else {})],
        "settings": common | settings,
        "tables": {"trial": {"caption": "The model.", "split": "val", "columns": ["AP"], "rows": rows}},
    }


def boxes(images: int, count: int) -> list[torch.Tensor]:
    """Return random boxes (count, 4) for each image, in eighths of a pixel, so that their areas are exact."""
    generator = torch.Generator().manual_seed(1)
    limits = torch.tensor([WIDTH, HEIGHT]) * 0.7
    corners = [torch.rand(count, 2, generator=generator) * limits for _ in range(images)]
    both = [torch.cat([low, low + 8 + torch.rand(count, 2, generator=generator) * 60], 1) for low in corners]
    return [(image * 8).round() / 8 for image in both]


def made_up_outputs(images: int, case: str = "plain") -> tuple[list[torch.Tensor], ...]:
    """Return made-up outputs of a head for some images: class logits, box deltas and IoU logits by level."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(-(-HEIGHT // stride), -(-WIDTH // stride)) for stride in (8, 16, 32, 64, 128)]
    outputs = tuple(
        [torch.randn(images, channels, *size, generator=generator) * spread + mean for size in sizes]
        for channels, mean, spread in [(9 * CLASSES, -6.0, 0.9), (9 * 4, 0.0, 0.3), (9, 0.0, 1.0)]
    )
    if case == "ties":  # few values, so that many confidences are equal
        outputs = tuple([(level * 2).round() / 2 for level in part] for part in outputs)
    empty = {"one empty": 1, "both empty": 2}.get(case, 0)
    for level in (*outputs[0], *outputs[2]):
        level[:empty] = -20
    return outputs


def _draw_split(split: str, count: int) -> None:
    """Draw a split's images, on all cores, and write its annotations."""
    Path("scenes", split).mkdir(parents=True)
    numbers = range(1, count + 1)
    with ThreadPoolExecutor() as pool:  # OpenCV lets other threads compute
        scenes = list(pool.map(partial(_draw, split), numbers))
    images = [{"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT} for number in numbers]
    objects = [(number, *box) for number, scene in zip(numbers, scenes, strict=True) for box in scene]
    annotations = [
        {"id": place, "image_id": number, "category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for place, (number, label, box) in enumerate(objects, start=1)
    ]
    categories = [{"id": label, "name": f"class {label}"} for label in range(1, CLASSES + 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    Path("scenes", f"{split}.json").write_text(json.dumps(content))


def _draw(split: str, number: int) -> list[tuple[int, list[int]]]:
    """Draw rectangles, whose colour is their class's, on a cloudy ground; return labels and boxes (x, y, w, h)."""
    random = np.random.default_rng([len(split), number])
    canvas = cv2.resize(random.integers(60, 200, (HEIGHT // 16, WIDTH // 16, 3), np.uint8), (WIDTH, HEIGHT))
    scene = []
    for _ in range(random.integers(3, 12)):
        label = int(random.integers(1, CLASSES + 1))
        width, height = (int(side * random.uniform(0.05, 0.4)) + 12 for side in (WIDTH, HEIGHT))
        x, y = int(random.integers(WIDTH - width)), int(random.integers(HEIGHT - height))
        canvas[y : y + height, x : x + width] = np.random.default_rng(label).integers(0, 255, 3)
        scene.append((label, [x, y, width, height]))
    cv2.imwrite(f"scenes/{split}/{number}.jpg", canvas)
    return scene
