"""Weights to start from: read without running anything in them, all or none, and bit for bit as by MMEngine."""

import re
from collections import OrderedDict

import pytest
import torch
from builders.hostile import Hostile, packed
from builders.training import BACKBONE, RETINANET, initial, project
from mmdet.registry import MODELS
from mmengine.model.weight_init import PretrainedInit
from mmengine.registry import WEIGHT_INITIALIZERS

from iou_aware.common.messages import InputError
from iou_aware.training.train import train
from iou_aware.training.weights import load_into


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A project whose backbone starts from weights, which each test writes."""
    made = project(tmp_path_factory.mktemp("study"), runs=[{"detector": "retinanet"}])
    init = "init_cfg=dict(type='Pretrained', checkpoint='https://somewhere/tiny-00000000.pth')"
    made.paths.backbone("tiny").write_text(BACKBONE.replace("init_cfg=None", init))
    made.paths.pretrained("tiny").parent.mkdir(parents=True)
    return made


def published() -> OrderedDict:
    """Return what a publisher of ImageNet weights gives: all of the backbone, and its classifier."""
    torch.manual_seed(2)
    weights = MODELS.build(dict(type="mmdet.ResNet", depth=18, base_channels=16, stem_channels=16)).state_dict()
    for tensor in weights.values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 1)
    weights["fc.weight"], weights["fc.bias"] = torch.rand(1000, 32), torch.rand(1000)
    return weights


FORMS = [
    lambda weights: weights,
    # of before PyTorch 0.4.1: without BN's counters, and without notes of versions
    lambda weights: OrderedDict((name, weights[name]) for name in weights if "num_batches" not in name),
    lambda weights: {"state_dict": weights, "meta": {"epoch": 100}},
]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_initial_weights_are_those_of_mmengine(study, monkeypatch, form, zipped):
    weights = published()
    study.paths.pretrained("tiny").write_bytes(packed(form(weights), zipped))
    ours, after = initial(study, RETINANET).state_dict(), torch.rand(1)
    monkeypatch.setitem(WEIGHT_INITIALIZERS.module_dict, "Pretrained", PretrainedInit)
    theirs, after_theirs = initial(study, RETINANET).state_dict(), torch.rand(1)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert torch.equal(after, after_theirs)
    assert all(torch.equal(ours[f"backbone.{name}"], weights[name]) for name in weights if "fc" not in name)


NAME = "layer1.0.conv1.weight"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: {f"backbone.{name}": w[name] for name in w}, r"missing: 1\d\d, such as 'conv1.*; unknown: 1\d\d"),
        (lambda w: {name: w[name] for name in w if name != NAME}, rf"missing: 1, such as '{NAME}"),
        (lambda w: w | {"layer5.weight": torch.ones(1)}, r"unknown: 1, such as 'layer5\.weight"),
        (lambda w: w | {NAME: torch.ones(8, 16, 3, 3)}, rf"of another shape: 1, such as '{NAME}"),
        (lambda w: w | {NAME: "ones"}, rf"of another shape: 1, such as '{NAME}"),
        (lambda w: w | {7: torch.ones(1)}, r"unknown: 1, such as 7"),
        (lambda w: {"state_dict": list(w.values())}, r"missing: 1\d\d"),
    ],
)
def test_weights_of_another_model_are_refused(study, change, told):
    study.paths.pretrained("tiny").write_bytes(packed(change(published())))
    with pytest.raises(InputError, match=rf"tiny\.pth: not the weights of ResNet: {told}") as caught:
        train(study, RETINANET)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert not study.paths.run_folder(RETINANET).exists()


def test_damage_of_any_kind_is_an_input_error_of_one_sentence(study):
    """PyTorch's readers stumble over bad bytes in many ways."""
    file = study.paths.pretrained("tiny")
    random = torch.Generator().manual_seed(0)
    for zipped in (True, False):
        content = packed({"state_dict": {"a": torch.ones(3, 4), "b": torch.ones(2)}, "meta": {"epoch": 1}}, zipped)
        cut = [content[: int(share * len(content))] for share in (0, 0.5, 0.999)]
        for damaged in map(bytearray, [*cut, *[content] * 150]):
            for place in torch.randint(len(content), (3,), generator=random).tolist():
                damaged[place : place + 1] = [int(torch.randint(256, (1,), generator=random))]
            file.write_bytes(damaged)
            with pytest.raises(InputError, match=r"^\S+tiny\.pth: [^\n]+$") as caught:
                load_into(torch.nn.Linear(1, 1), file, "a model")
            assert "weights_only" not in str(caught.value)


def test_nothing_else_in_the_process_loads_unsafely(tmp_path):
    """MMEngine's own loader, which custom backbones call, tries again without safety."""
    from mmengine.runner.checkpoint import CheckpointLoader

    hostile = Hostile(tmp_path / "hacked")
    (tmp_path / "swin.pth").write_bytes(packed({"state_dict": {"a": hostile}}))
    with pytest.raises(Exception, match=re.escape("mkdir")):
        CheckpointLoader.load_checkpoint(str(tmp_path / "swin.pth"), map_location="cpu")
    assert not hostile.folder.exists()
