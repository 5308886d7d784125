"""Pretraining: pictures drawn on the spot are learnt, and a detector starts from what was learnt."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from builders.experiments import REPOSITORY

from iou_aware import pretraining
from iou_aware.common import assignments
from iou_aware.common.files import sha256
from iou_aware.common.messages import InputError
from iou_aware.experiment import backbones
from iou_aware.experiment.experiment import Experiment
from iou_aware.pretraining import STYLE, Classifier, draw_shapes, fit, pretrain, shared_shapes
from iou_aware.workflow import stages

SETTINGS = {"seed": 0, "epochs": 30, "batch_size": 16, "lr": 3e-3, "weight_decay": 0.0, "label_smoothing": 0.0}


@pytest.fixture
def study(tmp_path) -> Experiment:
    """Return the smallest experiment, in a project of its own."""
    for folder in ("configs", "reports"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, symlinks=True)
    return Experiment.load(tmp_path / "configs" / "experiments" / "tiny.yaml")


def test_pictures_are_named_evenly_and_never_held_out_as_well():
    pictures, labels = draw_shapes("train", 300, 32, seed=0)
    others, _ = draw_shapes("held out", 300, 32, seed=0)
    assert set(labels) == set(range(len(STYLE.shapes)))
    assert len({picture.tobytes() for picture in (*pictures, *others)}) == 600
    assert np.array_equal(draw_shapes("train", 300, 32, seed=0)[0], pictures)


def test_pictures_are_drawn_once_for_all_that_need_them_at_once(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pretraining, "draw_shapes", lambda *asked: drawn.append(asked) or draw_shapes(*asked))
    asked = [("train", 50, 32, 0), ("train", 50, 32, 1), ("held out", 50, 32, 0)]
    with ThreadPoolExecutor(9) as pool:
        given = list(pool.map(lambda each: shared_shapes(tmp_path, *each), 3 * asked))
    assert sorted(drawn) == sorted(asked)
    for each, arrays in zip(3 * asked, given, strict=True):
        assert all(map(np.array_equal, arrays, draw_shapes(*each)))


def test_a_backbone_learns_the_pictures_that_it_is_shown(study):
    detector = assignments.read(study.paths.detector("micro", "retinanet"))
    torch.manual_seed(0)
    network = Classifier(assignments.merged(detector, assignments.read(study.paths.backbone("micro_r50")))["model"])
    pictures, labels = draw_shapes("train", 32, 64, seed=0)
    fit(network, pictures, labels, SETTINGS)
    with torch.no_grad():
        assert np.mean(network(pictures).argmax(1).numpy() == labels) > 0.9


def test_equal_settings_give_equal_weights_and_the_receipt_says_which(study):
    pretrain(study, "tiny_r50")
    file = study.paths.pretrained("tiny_r50")
    first, receipt = torch.load(file)["state_dict"], json.loads(study.paths.receipt("tiny_r50").read_text())
    assert receipt["sha256"] == sha256(file)
    assert receipt["pretraining"] == backbones.origin(study.paths.backbone("tiny_r50"))
    pretrain(study, "tiny_r50")
    again = torch.load(file)["state_dict"]
    assert first.keys() == again.keys() and all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize(
    ("name", "told"), [("micro_r50", "pretraining"), ("r50", "pretraining"), ("tiny_r50", "pretraining: side missing")]
)
def test_a_backbone_without_a_pretraining_or_a_setting_of_it_is_refused(study, name, told):
    schedule = study.paths.schedule("shapes")
    schedule.write_text(schedule.read_text().replace("side=64,", ""))
    with pytest.raises(InputError, match=rf"{name}\.py, {told}"):
        pretrain(study, name)


def test_weights_that_are_missing_are_asked_for_by_the_command_that_makes_them(study):
    with pytest.raises(InputError, match="iou-aware pretrain EXPERIMENT tiny_r50"):
        backbones.weights(study, "tiny_r50")
    with pytest.raises(InputError, match=r"tiny_r50\.py.*iou-aware pretrain"):
        backbones.fetch(study, "tiny_r50")


def test_a_pretraining_follows_from_its_configs_and_its_code(study):
    needed = ("tiny_r50", "shapes_r50", "micro_r50", "shapes", "retinanet", "pretraining", "scenes")
    assert set(needed) <= {file.stem for file in stages.pretraining_files(study.paths, "tiny_r50")}
    assert stages.pretrained_here(study) == "tiny_r50"
