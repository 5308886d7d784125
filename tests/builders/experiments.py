"""A small experiment to read, and what it needs to be valid; and the paper's, with other settings."""

from pathlib import Path

from builders.data import put

from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import FIELDS

REPOSITORY = Path(__file__).parents[2]
PAPER = "configs/experiments/paper.yaml"

TEXT = """\
experiment: trial
title: A trial
defaults: {recipe: quick, seed: 0, target_grad: false}
rules: [none, alpha=0.5, alpha=1]
runs:
  - {dataset: shapes, scale: 96x64, detector: [faster_rcnn, retinanet], backbone: [r50, r101]}
  - dataset: shapes
    scale: 96x64
    detector: iou_aware_retinanet
    backbone: [r50, r101]
    iou_loss: [bce, l2]
tables:
  table2:
    paper: table2
    caption: Losses
    split: val
    select: {dataset: shapes, backbone: r50}
    rows:
      baseline: {detector: retinanet}
      bce: {iou_loss: bce, rule: none}
      half: {iou_loss: bce, rule: alpha=0.50, label: Half, addition: true}
"""
DATASET = """\
dataset: shapes
layout: coco
root: data/shapes
splits:
  train: {annotations: train.json, images: train}
  val: {annotations: val.json, images: val}
train: train
evaluate: [val]
"""
FILES = {
    "configs/experiments/trial.yaml": TEXT,
    "configs/datasets/shapes.yaml": DATASET,
    "configs/detectors/quick/faster_rcnn.py": "",
    "configs/detectors/quick/retinanet.py": "",
    "configs/detectors/quick/iou_aware_retinanet.py": "",
    "configs/backbones/r50.py": "",
    "configs/backbones/r101.py": "",
    "configs/schedules/quick.py": "",
    "reports/paper/table2.csv": "row,cited,Loss,AP\nother,1,Other,1.0\nbaseline,0,baseline,2.0\nbce,0,BCE,3.0\n",
}


def with_a_table(content: dict, split: str) -> dict:
    """Return an experiment's content with a table of its first run if it has none: every experiment needs one."""
    first = content["defaults"] | content["runs"][0]
    row = {name: first[name] for name in FIELDS if name in first}
    row = {name: value[0] if isinstance(value, list) else value for name, value in row.items()}
    row |= {"rule": content["rules"][0]} if "iou_loss" in first else {"target_grad": None}
    table = {"caption": "One run.", "split": split, "columns": ["AP"], "rows": {"first": row}}
    return content | {"tables": content["tables"] or {"one": table}}


def write(folder: Path) -> None:
    for name, text in FILES.items():
        put(folder / name, text)


def load(text: str = TEXT, **overrides) -> Experiment:
    path = Path("configs/experiments/trial.yaml")
    path.write_text(text)
    return Experiment.load(path, overrides)


def paper_with(path: Path, gpu: str | None = None, **settings) -> Experiment:
    """Return the paper's experiment with other settings, and for other GPUs, in a project of its own."""
    if not path.joinpath("configs").exists():
        path.mkdir(exist_ok=True)
        path.joinpath("configs").symlink_to(REPOSITORY / "configs")
        path.joinpath("reports").symlink_to(REPOSITORY / "reports")
    return Experiment.load(path / PAPER, {"settings": settings} | ({"gpu": gpu} if gpu else {}))
