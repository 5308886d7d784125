"""What tools/iou_quality.py says of the predicted IoU, against the head's own loss and against numbers made up."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from builders.results import cells
from builders.training import IOU_AWARE, RETINANET
from mmengine.config import Config
from mmengine.registry import init_default_scope

from iou_aware.data.manifest import Manifest
from iou_aware.inference.predict import build_loader, load_model

SCRIPT = Path(__file__).parents[2] / "tools" / "iou_quality.py"


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(SCRIPT))


def test_positives_are_those_of_the_loss(tool, predicted):
    config = Config.fromfile(str(predicted.paths.config(IOU_AWARE)))
    init_default_scope("mmdet")
    model = load_model(config, predicted.paths.weights(IOU_AWARE))
    manifest = Manifest.load(predicted.paths.manifest(predicted.runs[IOU_AWARE].dataset))
    batch = next(iter(build_loader(config, manifest, predicted.root, "val", {})))
    found = tool["positives"](model, [batch])
    data = model.data_preprocessor(batch, False)
    for sample in data["data_samples"]:
        sample.gt_instances.bboxes = sample.gt_instances.bboxes * torch.tensor(sample.scale_factor * 2)
    assert all(len(sample.gt_instances) for sample in data["data_samples"])
    with torch.no_grad():
        loss = model.bbox_head.loss(model.extract_feat(data["inputs"]), data["data_samples"])["loss_iou"]
    assert tool["_loss"](found.predicted, found.iou) == pytest.approx(loss.item(), rel=1e-4)


def test_rows_say_what_predictions_are_worth(tool):
    torch.manual_seed(0)
    iou, noise = 0.5 + torch.rand(400) / 2, torch.rand(400)
    perfect = tool["Positives"](iou, noise, iou, torch.stack([iou.square(), noise], 1))
    row = tool["describe"](perfect)
    assert row["predicted IoU"] == "1.00" and row["its bias"] == "+0.000" and abs(float(row["p"])) < 0.2
    loss, constant, least = map(float, re.findall(r"[\d.]+", row.popitem()[1]))
    assert loss == least < constant
    assert tool["read_out"](perfect, perfect) > 0.95


def test_every_run_of_retinanet_gets_its_rows(tool, predicted, monkeypatch, capsys):
    experiment = str(predicted.root / "configs" / "experiments" / "study.yaml")
    monkeypatch.setattr(sys, "argv", ["iou_quality.py", experiment, RETINANET, IOU_AWARE])
    tool["main"]()
    positives, found = (cells(part)[2:] for part in capsys.readouterr().out.split("\n\n"))
    assert [line[0] for line in positives] == [RETINANET, RETINANET, IOU_AWARE, IOU_AWARE]
    assert [line[0] for line in found] == [RETINANET, IOU_AWARE]
