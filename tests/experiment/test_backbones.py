"""Fetching backbones' weights: what arrives is held against the digits in its name, and training starts from it."""

import hashlib
import json
from pathlib import Path

import mmengine
import pytest
from builders.experiments import REPOSITORY, load
from builders.file_server import Served, serving

from iou_aware.common.messages import InputError
from iou_aware.experiment.backbones import fetch, origin, weights
from iou_aware.experiment.experiment import Experiment
from iou_aware.workflow import stages as workflow

CONTENT = b"weights"
DIGITS = hashlib.sha256(CONTENT).hexdigest()[:8]


def starting_from(checkpoint: str | None) -> Experiment:
    """Return the small experiment with a backbone whose weights are published at an address."""
    init = "None" if checkpoint is None else f"dict(type='Pretrained', checkpoint={checkpoint!r})"
    Path("configs/backbones/r50.py").write_text(f"model = dict(backbone=dict(depth=18, init_cfg={init}))")
    return load()


def test_the_published_weights_alone_arrive_where_trainings_look_for_them(project):
    served, expected = Served(CONTENT + b"!"), project / "data" / "backbones" / "r50.pth"
    with serving({f"/tiny-{DIGITS}.pth": served}) as url:
        experiment = starting_from(f"{url}/tiny-{DIGITS}.pth")
        with pytest.raises(InputError, match=rf"sha256 is .* expected {DIGITS}"):
            fetch(experiment, "r50")
        assert not expected.exists()
        with pytest.raises(InputError, match=r"r50.pth: missing: .*; run `iou-aware backbone EXPERIMENT r50`"):
            weights(experiment, "r50")
        served.content = CONTENT
        fetch(experiment, "r50")
        weights(experiment, "r50")
        fetch(experiment, "r50")
    assert expected.read_bytes() == CONTENT
    (receipt,) = workflow.pretrained(experiment.paths, next(iter(experiment.runs.values())))
    assert json.loads(receipt.read_text())["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert len(served.asked) == 2, "what is there is not fetched again"


def test_a_backbone_from_scratch_needs_nothing(project):
    experiment = starting_from(None)
    assert workflow.pretrained(experiment.paths, next(iter(experiment.runs.values()))) == []
    weights(experiment, "r50")
    with pytest.raises(InputError, match=r"r50.py: this backbone is trained from scratch"):
        fetch(experiment, "r50")


@pytest.mark.parametrize("checkpoint", ["torchvision://resnet50", "https://somewhere/resnet50.pth"])
def test_an_address_without_a_checksum_is_refused(project, checkpoint):
    experiment = starting_from(checkpoint)
    with pytest.raises(InputError, match=r"r50.py, model.backbone.init_cfg.checkpoint: found .*-DIGITS"):
        origin(experiment.paths.backbone("r50"))


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
    listed = json.loads(Path(mmengine.__file__).with_name("hub").joinpath(f"{listing}.json").read_text())[entry]
    known = origin(REPOSITORY / "configs" / "backbones" / f"{backbone}.py")
    assert listed in (known, known.replace("download.openmmlab.com", "mmassets.onedl.ai"))
