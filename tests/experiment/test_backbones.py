"""Fetching backbones' weights: what arrives is held against the digits in its name, and training starts from it."""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from builders.file_server import Served, serving

from iou_aware.common.errors import InputError
from iou_aware.data.manifest import Manifest, SplitData
from iou_aware.experiment.backbones import fetch, origin, weights
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import Run
from iou_aware.training import config
from iou_aware.workflow import stages as workflow

ROOT = Path(__file__).parents[2]
CONTENT = b"weights"
DIGITS = hashlib.sha256(CONTENT).hexdigest()[:8]
EXPERIMENT = """
experiment: one
title: One model
defaults: {recipe: quick, seed: 0}
rules: [none]
runs: [{dataset: shapes, detector: retinanet, backbone: tiny, scale: 64x64}]
tables: {}
"""
DATASET = """
dataset: shapes
layout: coco
root: data/shapes
splits: {train: {annotations: a.json, images: i}}
train: train
evaluate: [train]
"""


def project(folder: Path, checkpoint: str | None) -> Experiment:
    """Write a project with one backbone whose weights are published at an address."""
    init = "None" if checkpoint is None else f"dict(type='Pretrained', checkpoint={checkpoint!r})"
    files = {
        "experiments/one.yaml": EXPERIMENT,
        "datasets/shapes.yaml": DATASET,
        "backbones/tiny.py": f"model = dict(backbone=dict(depth=18, init_cfg={init}))",
        "schedules/quick.py": "",
        "detectors/quick/retinanet.py": "",
    }
    for name, text in files.items():
        (folder / "configs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "configs" / name).write_text(text)
    return Experiment.load(folder / "configs" / "experiments" / "one.yaml")


def test_weights_arrive_where_trainings_look_for_them(tmp_path):
    served = Served(CONTENT)
    with serving({f"/tiny-{DIGITS}.pth": served}) as url:
        experiment = project(tmp_path, f"{url}/tiny-{DIGITS}.pth")
        with pytest.raises(InputError, match=r"tiny.pth: .* are not there; run `iou-aware backbone EXPERIMENT tiny`"):
            weights(experiment, "tiny")
        fetch(experiment, "tiny")
        weights(experiment, "tiny")
        fetch(experiment, "tiny")
    expected = tmp_path / "data" / "backbones" / "tiny.pth"
    assert expected.read_bytes() == CONTENT
    (receipt,) = workflow.pretrained(experiment.paths, next(iter(experiment.runs.values())))
    assert json.loads(receipt.read_text())["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert len(served.asked) == 1


def test_other_weights_than_the_published_ones_are_refused(tmp_path):
    with serving({f"/tiny-{DIGITS}.pth": Served(CONTENT + b"!")}) as url:
        experiment = project(tmp_path, f"{url}/tiny-{DIGITS}.pth")
        with pytest.raises(InputError, match=rf"sha256 is .* expected {DIGITS}"):
            fetch(experiment, "tiny")
    assert not (tmp_path / "data" / "backbones" / "tiny.pth").exists()


def test_a_backbone_from_scratch_needs_nothing(tmp_path):
    experiment = project(tmp_path, None)
    assert workflow.pretrained(experiment.paths, next(iter(experiment.runs.values()))) == []
    weights(experiment, "tiny")
    with pytest.raises(InputError, match=r"tiny.py: this backbone is trained from scratch"):
        fetch(experiment, "tiny")


@pytest.mark.parametrize("checkpoint", ["torchvision://resnet50", "https://somewhere/resnet50.pth"])
def test_an_address_without_a_checksum_is_refused(tmp_path, checkpoint):
    experiment = project(tmp_path, checkpoint)
    with pytest.raises(InputError, match=r"tiny.py, model.backbone.init_cfg.checkpoint: found .*-DIGITS"):
        origin(experiment.paths.backbone("tiny"))


@pytest.mark.parametrize(
    ("backbone", "listing", "entry"),
    [
        ("r18", "torchvision_0.12", "resnet18"),
        ("r50", "torchvision_0.12", "resnet50"),
        ("r101", "torchvision_0.12", "resnet101"),
        ("x101_32x4d", "openmmlab", "resnext101_32x4d"),
    ],
)
def test_addresses_are_those_that_mmengine_knows_by_name(backbone, listing, entry):
    """Its lists say what `torchvision://` and `open-mmlab://` stand for: the latter is at the mirror there."""
    folder = Path(find_spec("mmengine").submodule_search_locations[0], "hub")
    listed = json.loads((folder / f"{listing}.json").read_text())[entry]
    known = origin(ROOT / "configs" / "backbones" / f"{backbone}.py")
    assert listed in (known, known.replace("download.openmmlab.com", "mmassets.onedl.ai"))


def test_training_starts_from_what_was_fetched():
    run = Run("zoo", "retinanet", "r50", "paper", "1333x800", 0)
    manifest = Manifest(
        "zoo", "coco", "d", ["a"], [1], "train", [], "keep", {"train": SplitData("a", "i", True, {}, "")}
    )
    resolved = config.resolve(run, manifest, ROOT, {}, "work")
    assert resolved.model.backbone.init_cfg.checkpoint == str(ROOT / "data" / "backbones" / "r50.pth")
