"""Runs of every recipe and detector, and the configs that they resolve to, without any data."""

from pathlib import Path

from mmengine.config import Config

from iou_aware.data.manifest import Manifest, SplitData
from iou_aware.experiment.run import Run
from iou_aware.training import config

ROOT = Path(__file__).parents[2]
DETECTORS = ["faster_rcnn", "retinanet", "iou_aware_retinanet"]
CLASSES = ["cat", "dog", "emu"]


def run_of(recipe: str = "paper", detector: str = "retinanet", backbone: str = "r50", **more) -> Run:
    aware = {"iou_loss": "bce", "target_grad": False} if detector.startswith("iou_aware") else {}
    named = {"recipe": recipe, "detector": detector, "backbone": backbone}
    return Run(**{"dataset": "zoo", "scale": "1333x800", "seed": 5} | named | aware | more)


def manifest() -> Manifest:
    splits = {name: SplitData(f"data/{name}.json", f"data/{name}", True, {}, name) for name in ("train", "val")}
    return Manifest("zoo", "coco", "data", CLASSES, [1, 2, 3], "train", ["val"], "error", splits)


def resolve(run: Run, **settings) -> Config:
    return config.resolve(run, manifest(), ROOT, settings, "work")
