"""Released weights: found in the metafile, fetched from publisher or mirror, refused when foreign, held to their AP."""

import hashlib
import json
import re
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import mmdet
import numpy as np
import pytest
import torch
import yaml
from builders.data import put
from builders.file_server import Served, serving
from builders.hostile import Hostile, packed
from builders.processes import python
from builders.training import BACKBONE, ENVIRONMENT, RETINANET, project
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from iou_aware.analysis.collect.collect import collect, described, is_met
from iou_aware.analysis.report.sections import Results, runs_page
from iou_aware.common import seal
from iou_aware.common.messages import InputError
from iou_aware.evaluation.evaluate import evaluate
from iou_aware.experiment.experiment import Experiment
from iou_aware.inference.predict import predict
from iou_aware.training import weights
from iou_aware.training.release import release
from iou_aware.training.train import train

TOOLS = Path(mmdet.__file__).parent / ".mim" / "tools"
RELEASED = "shapes.retinanet.tiny.zoo.64x64.seed0"
# A config of the form that MMDetection's have: its own names for data that lie elsewhere.
STOCK = """
_base_ = ["../detectors/quick/retinanet.py", "mmdet::_base_/default_runtime.py"]
dataset_type, data_root, backend_args = "CocoDataset", "data/elsewhere/", None
test_pipeline = [
    dict(type="LoadImageFromFile", backend_args=backend_args),
    dict(type="Resize", scale=(64, 64), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
val_cfg, test_cfg = dict(type="ValLoop"), dict(type="TestLoop")
train_dataloader = dict(batch_size=2, dataset=dict(type=dataset_type))
test_dataloader = dict(
    dataset=dict(type=dataset_type, metainfo=dict(classes=("small", "large")), pipeline=test_pipeline))
"""
STOCK += BACKBONE + "model['bbox_head'] = dict(num_classes=2)"


@pytest.fixture
def tiny(tmp_path):
    """A project with one model trained here and one released, of which nothing is published yet, and a server."""
    put(tmp_path / "configs/detectors/zoo/retinanet.py", "released = dict(tiny='../../released/tiny_1x.py')")
    put(tmp_path / "configs/schedules/zoo.py", "")
    stock = put(tmp_path / "configs/released/tiny_1x.py", STOCK)
    files: dict[str, Served] = {}
    runs = [{"detector": "retinanet", "recipe": ["quick", "zoo"]}]
    with serving(files) as url:
        study = project(tmp_path, runs=runs, settings={"epochs": 10, "device": "cpu"}, rules=["none"])
        yield SimpleNamespace(study=study, stock=stock, url=url, files=files)


def publish(tiny, content: bytes, box_ap: float = 36.5) -> Path:
    """Serve a checkpoint and enter it into the metafile; return where its download goes."""
    name = f"tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    tiny.files[f"/{name}"] = Served(content)
    entry = {"Name": "tiny", "Config": "configs/released/tiny_1x.py", "Weights": f"{tiny.url}/{name}"}
    entry["Results"] = [{"Task": "Object Detection", "Dataset": "COCO", "Metrics": {"box AP": box_ap}}]
    other = {"Name": "other", "Config": "configs/released/other.py"}
    tiny.stock.with_name("metafile.yml").write_text(yaml.safe_dump({"Models": [other, entry]}))
    return tiny.study.paths.released(name)


def released(study: Experiment) -> dict:
    """Release the run; return its record."""
    release(study, RELEASED)
    return seal.verify(study.paths.run_folder(RELEASED))


def checkpoint(weights: dict[str, torch.Tensor], zipped: bool = False, **meta) -> bytes:
    """Return a checkpoint of the zoo's structure, in the file format of its time unless ``zipped``."""
    meta = {
        "CLASSES": ("small", "large"),
        "hook_msgs": {"best_score": np.float64(0.365), "best_epoch": np.int64(12), "lr": np.float32(0.01)},
    } | meta
    state = OrderedDict(weights)
    state._metadata = OrderedDict({"": {"version": 1}})
    content = packed({"meta": meta, "state_dict": state}, zipped)
    # NumPy's first generation, which wrote the zoo's files, had no underscore in its modules' names.
    return content if zipped else content.replace(b"cnumpy._core.", b"cnumpy.core.")


def some_weights(tiny) -> dict[str, torch.Tensor]:
    """Return weights of the released model, as they are before training."""
    init_default_scope("mmdet")
    return MODELS.build(Config.fromfile(tiny.stock).model).state_dict()


def measured(study: Experiment, run: str) -> dict:
    """Return a run's metrics on the validation split."""
    predict(study, run, "val")
    return json.loads(evaluate(study, run, "val").read_text())["rules"]["cls"]["metrics"]


def test_the_whole_way_from_a_release_to_its_check(tiny):
    """What was trained here, published and fetched again is the same model in every number, by MMDetection's too."""
    study, paths = tiny.study, tiny.study.paths
    train(study, RETINANET)
    ours = weights.load(paths.weights(RETINANET))["state_dict"]
    expected = measured(study, RETINANET)
    assert expected["AP"] > 1
    publish(tiny, checkpoint(ours), box_ap=round(expected["AP"], 1))
    record = released(study)
    assert measured(study, RELEASED) == expected
    assert not paths.history(RELEASED).exists()
    assert record["files"].keys() == {"weights.pth", "config.py"}
    address = record["released"]["address"]
    assert address.startswith(tiny.url) and record["released"]["AP"] == round(expected["AP"], 1)
    assert record["released"]["sha256"][:8] == address[-12:-4]

    files = [paths.config(RELEASED), paths.weights(RELEASED)]
    done = python(TOOLS / "test.py", *files, "--work-dir", "work", cwd=study.root, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    theirs = float(re.search(r"bbox_mAP: ([\d.]+)", done.stdout + done.stderr)[1])
    assert theirs == pytest.approx(expected["AP"] / 100, abs=0.0005001)  # it rounds to three decimals

    assert collect(study) == []
    assert json.loads(paths.checks.read_text())[0]["met"] is True
    study.write_resolved()
    heading = Results(study.results).heading()
    assert "published: met" in heading and "FAILED" not in heading
    assert "1 of 1 models trained on shapes with 1 seed, 1 of 1 fetched" in heading
    assert address in runs_page(study.paths, study.runs)

    publish(tiny, checkpoint(ours, zipped=True), box_ap=round(expected["AP"] + 0.2, 1))
    released(study)
    sealed = weights.load(paths.weights(RELEASED))
    assert sealed["meta"] == {"dataset_meta": {"classes": ["small", "large"]}}
    assert all(torch.equal(tensor, ours[name]) for name, tensor in sealed["state_dict"].items())
    assert collect(study) == []
    (failed,) = json.loads(paths.checks.read_text())
    assert (failed["met"], failed["run"], failed["measured"]) == (False, RELEASED, expected["AP"])
    heading = Results(study.results).heading()
    assert RELEASED in heading and "FAILED" in heading


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("place", ["meta", "weights"])
def test_a_checkpoint_that_holds_more_than_weights_is_refused_and_not_run(tiny, tmp_path, place, zipped):
    hostile = Hostile(tmp_path / "hacked")
    in_weights, in_meta = ({"neck": hostile}, {}) if place == "weights" else ({}, {"time": hostile})
    file = publish(tiny, checkpoint(some_weights(tiny) | in_weights, zipped, **in_meta))
    with pytest.raises(InputError, match=rf"{file.name}: refused, nothing in it was run.*(mkdir|_reconstruct)"):
        released(tiny.study)
    assert not hostile.folder.exists()
    assert not tiny.study.paths.seal(RELEASED).exists()


def test_data_of_other_classes_are_refused_before_anything_is_fetched(tiny):
    file = publish(tiny, checkpoint(some_weights(tiny)))
    tiny.stock.write_text(STOCK.replace('("small", "large")', '("cat", "dog")'))
    with pytest.raises(InputError, match=r"dataset shapes: its 2 classes \(small, large.* trained on \(cat, dog"):
        released(tiny.study)
    assert not file.exists()


def test_at_another_scale_nothing_is_expected(tiny):
    tiny.stock.write_text(STOCK.replace("(64, 64)", "(96, 96)"))
    publish(tiny, checkpoint(some_weights(tiny)))
    assert released(tiny.study)["released"]["AP"] is None
    collect(tiny.study)
    assert json.loads(tiny.study.paths.checks.read_text()) == []


def test_a_run_is_either_trained_or_released(tiny):
    with pytest.raises(InputError, match="run `iou-aware release`"):
        train(tiny.study, RELEASED)
    with pytest.raises(InputError, match="its recipe is quick, expected zoo; run `iou-aware train`"):
        release(tiny.study, RETINANET)


@pytest.mark.parametrize(("measured", "met"), [(36.6, True), (36.4, True), (36.61, False), (None, None)])
def test_a_check_is_met_within_a_tenth(measured, met):
    assert is_met(36.5, measured) is met
    said = described({"run": "run", "split": "val", "published": 36.5, "measured": measured, "met": met})
    assert ("FAILED" in said) is (met is False) and ("not measured yet" in said) is (met is None)
