"""Every recipe, detector and backbone: what is resolved is what the recipe is known for, and MMDetection builds it.

What docs/deviations.md says of this repository is so as well.
"""

import ast
import dataclasses
import re
from itertools import product
from pathlib import Path

import mmdet
import pytest
import torch
from builders.configs import CLASSES, DETECTORS, ROOT, manifest, resolve, run_of
from builders.data import coco_content, prepared, write_own_coco
from builders.training import IOU_AWARE, RETINANET, RETINANET_CONFIG, project
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from iou_aware.common.messages import InputError
from iou_aware.experiment.backbones import origin
from iou_aware.experiment.experiment import Experiment
from iou_aware.method.heads import WithoutCenterness
from iou_aware.method.iou_branch import IOU_LOSS, IoUAware
from iou_aware.training import config

STOCK = {
    ("paper", "retinanet"): "legacy_1.x/retinanet_r50_fpn_1x_coco_v1",
    ("paper", "faster_rcnn"): "legacy_1.x/faster-rcnn_r50_fpn_1x_coco_v1",
    ("mmdet3", "retinanet"): "retinanet/retinanet_r50_fpn_1x_coco",
    ("mmdet3", "faster_rcnn"): "faster_rcnn/faster-rcnn_r50_fpn_1x_coco",
    ("mmdet3", "atss"): "atss/atss_r50_fpn_1x_coco",
    ("mmdet3", "fcos"): "fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco",
}
FAMILIES = [f"{family}{rest}" for family in ("atss", "fcos") for rest in ("", "_no_centerness")]
MODELS_BUILT = [
    *product(["paper", "mmdet3"], DETECTORS, ["r18", "r50", "r101", "x101_32x4d"]),
    *product(["paper", "mmdet3"], [*FAMILIES, *(f"iou_aware_{family}" for family in FAMILIES)], ["r50"]),
]


def stock(recipe: str, detector: str) -> Config:
    found = Config.fromfile(Path(mmdet.__file__).parent / ".mim" / "configs" / f"{STOCK[recipe, detector]}.py")
    return trained(found) if recipe == "paper" else found


def trained(legacy: Config) -> Config:
    """Return what has to become of a config that MMDetection has for testing weights of 1.x, to train as 1.x did.

    Its box coder leaves out the half pixels of 1.x's when it decodes; ``test_boxes`` says what 1.x computed.
    """
    model = legacy.model
    first = model.get("rpn_head") or model.bbox_head
    for head in (first, model.get("roi_head", model).bbox_head):
        head.bbox_coder.type = "DeltaXYWHBBoxCoder"
    first.anchor_generator.type = "RoundedAnchorGenerator"
    del first.anchor_generator.center_offset
    for test_cfg in [model.test_cfg.rpn, model.train_cfg.rpn_proposal] if "rpn_head" in model else [model.test_cfg]:
        test_cfg.min_bbox_size = -1
    if "rpn_head" in model:
        model.train_cfg.rpn.allowed_border = 0.5
    return legacy


def plain(value):
    return value.to_dict() if hasattr(value, "to_dict") else value


@pytest.mark.parametrize(("recipe", "detector", "backbone"), MODELS_BUILT)
def test_every_combination_is_a_model(recipe, detector, backbone):
    resolved = resolve(run_of(recipe, detector, backbone))
    assert resolved.model.backbone.init_cfg.type == "Pretrained"
    init_default_scope("mmdet")
    with torch.device("meta"):  # the structure alone: all their weights would take gigabytes
        model = MODELS.build(resolved.model)
    head = model.roi_head.bbox_head if detector == "faster_rcnn" else model.bbox_head
    assert head.num_classes == len(CLASSES)
    assert isinstance(head, IoUAware) == detector.startswith("iou_aware")
    assert hasattr(head, "loss_centerness") == ("atss" in detector or "fcos" in detector)
    assert isinstance(head, WithoutCenterness) == detector.endswith("no_centerness")
    assert type(model.backbone).__name__ == ("ResNeXt" if backbone == "x101_32x4d" else "ResNet")
    assert model.backbone.depth == {"r18": 18, "r50": 50}.get(backbone, 101)
    assert resolved.randomness.seed == 5


@pytest.mark.parametrize(("recipe", "detector"), STOCK)
def test_model_and_schedule_are_mmdetections_own(recipe, detector):
    resolved, theirs = resolve(run_of(recipe, detector)), stock(recipe, detector)
    model, expected = resolved.model, theirs.model
    head = expected.roi_head.bbox_head if detector == "faster_rcnn" else expected.bbox_head
    head.num_classes = len(CLASSES)
    if detector == "fcos":  # MMDetection's is on a backbone of Caffe, which sees other pixels
        expected |= {"train_cfg": None, "data_preprocessor": model.data_preprocessor, "backbone": model.backbone}
    elif recipe == "mmdet3":
        for key in ("optim_wrapper", "param_scheduler"):
            assert plain(resolved[key]) == plain(theirs[key])
        assert resolved.train_cfg.max_epochs == theirs.train_cfg.max_epochs
    assert plain(model) == plain(expected) | {"backbone": plain(model.backbone)}
    expected.backbone.depth = 50
    # The same weights, from where they were fetched to; tests/experiment/test_backbones.py holds their addresses.
    expected.backbone.init_cfg.checkpoint = str(ROOT / "data" / "backbones" / "r50.pth")
    assert plain(model.backbone) == plain(expected.backbone)


@pytest.mark.parametrize(("settings", "epochs", "steps"), [({}, 12, [8, 11]), ({"epochs": 24}, 24, [16, 22])])
def test_paper_is_trained_as_its_authors_did_and_by_epochs_of_any_number(settings, epochs, steps):
    resolved = resolve(run_of("paper", "iou_aware_retinanet"), **settings)
    optimizer = plain(resolved.optim_wrapper.optimizer)
    assert optimizer == {"type": "SGD", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.0001}
    assert resolved.optim_wrapper.clip_grad == {"max_norm": 35, "norm_type": 2}
    warmup, by_epoch = resolved.param_scheduler
    assert (warmup.type, warmup.begin, warmup.end, warmup.by_epoch) == ("LinearLR", 0, 500, False)
    assert warmup.start_factor == pytest.approx(1 / 3)
    assert (by_epoch.milestones, by_epoch.gamma, by_epoch.by_epoch) == (steps, 0.1, True)
    assert resolved.train_cfg.max_epochs == epochs


@pytest.mark.parametrize(
    ("changes", "settings", "batch", "rate"),
    [
        ({}, {"gpus": 4}, 4, 0.01),
        ({"backbone": "r101"}, {"gpus": 4}, 2, 0.005),
        ({"backbone": "x101_32x4d"}, {"gpus": 4}, 2, 0.005),
        ({"scale": "1000x600"}, {"gpus": 2}, 6, 0.0075),
        ({"scale": "1000x600", "backbone": "r101"}, {"gpus": 2}, 6, 0.0075),
        ({}, {"gpus": 8, "batch_size": 64}, 8, 0.04),
        ({"detector": "faster_rcnn"}, {}, 16, 0.02),
    ],
)
def test_learning_rate_follows_the_images_per_step(changes, settings, batch, rate):
    resolved = resolve(run_of(**changes), **settings)
    assert resolved.train_dataloader.batch_size == batch
    assert resolved.optim_wrapper.optimizer.lr == pytest.approx(rate)


@pytest.mark.parametrize("detector", ["retinanet", *FAMILIES])
@pytest.mark.parametrize(
    ("recipe", "loss", "grad"), [("paper", "bce", False), ("mmdet3", "l2", True), ("micro", "l1", True)]
)
def test_iou_aware_differs_from_its_baseline_in_the_head_only(recipe, detector, loss, grad):
    """The loss and whether its gradient reaches the boxes come from the run."""
    backbone, more = "micro_r50" if recipe == "micro" else "r50", {"iou_loss": loss, "target_grad": grad}
    runs = [run_of(recipe, detector, backbone), run_of(recipe, f"iou_aware_{detector}", backbone, **more)]
    baseline, aware = (plain(resolve(run)._cfg_dict) for run in runs)
    ours, theirs = (each["model"].pop("bbox_head") for each in (aware, baseline))
    added = {"type": ours["type"], "loss_iou": IOU_LOSS | {"kind": loss}, "target_grad": grad}
    assert ours == theirs | added
    aware["model"]["test_cfg"].pop("rule", None)
    assert aware == baseline


@pytest.mark.parametrize(
    ("detector", "settings", "normalised", "network"),
    [
        ("retinanet", {}, True, None),
        ("iou_aware_retinanet", {"normaliser": "process"}, False, None),
        ("faster_rcnn", {"amp": False, "compile": False}, False, None),
        ("faster_rcnn", {"compile": True}, False, (None, True)),
        ("retinanet", {"amp": True}, True, ("float16", False)),
        ("retinanet", {"amp": "bf16", "compile": True}, True, ("bfloat16", True)),
    ],
)
def test_settings_become_hooks(detector, settings, normalised, network):
    resolved = resolve(run_of(detector=detector), **settings)
    expected = [{"type": "BatchNormaliser"}] if normalised else []
    expected += [{"type": "Trunk", "dtype": network[0], "compiled": network[1]}] if network else []
    assert [plain(hook) for hook in resolved.get("custom_hooks", [])] == expected
    assert resolved.optim_wrapper.type == ("LossScaling" if settings.get("amp") is True else "OptimWrapper")


@pytest.mark.parametrize(
    ("split", "scale", "width", "height"), [("train", "64x64", 20, 3000), ("val", "1333x800", 18000, 6)]
)
def test_an_image_of_which_a_scale_leaves_nothing_is_named_before_training(split, scale, width, height):
    data, run = manifest(), run_of(scale=scale)
    whole = {"file_name": "flat.jpg", "width": width, "height": height}
    data.splits[split] = dataclasses.replace(data.splits[split], flattest=whole | {"width": 60 * height})
    config.resolve(run, data, ROOT, {}, "work")
    data.splits[split] = dataclasses.replace(data.splits[split], flattest=whole)
    with pytest.raises(InputError, match=rf"{split}/flat\.jpg: found {width}x{height} .* nothing is left"):
        config.resolve(run, data, ROOT, {}, "work")


def test_data_are_the_manifests():
    resolved = resolve(run_of(scale="1000x600"), workers=3, images=100)
    train, test = resolved.train_dataloader, resolved.test_dataloader
    assert (train.num_workers, train.dataset.indices) == (3, 100)
    assert train.dataset.ann_file.endswith("data/train.json")
    assert test.dataset.data_prefix.img.endswith("data/val")
    assert list(train.dataset.metainfo.classes) == CLASSES
    for part in (train, test):
        resize = next(step for step in part.dataset.pipeline if step.type == "Resize")
        assert (tuple(resize.scale), resize.keep_ratio) == ((1000, 600), True)
    flips = [[step.type for step in part.dataset.pipeline].count("RandomFlip") for part in (train, test)]
    assert flips == [1, 0]


def test_a_config_is_written_whole_and_alike_wherever_the_project_lies(tmp_path, monkeypatch):
    """In its folder, paths are relative; elsewhere, absolute."""
    monkeypatch.chdir(ROOT)
    here, there = (config.resolve(run_of(), manifest(), root, {}, root / "work") for root in (Path(), ROOT))
    text = config.to_text(here)
    assert text == config.to_text(there, ROOT)
    assert str(ROOT) not in text and "'data/backbones/r50.pth'" in text
    (tmp_path / "config.py").write_text(text)
    assert plain(Config.fromfile(tmp_path / "config.py")._cfg_dict) == plain(here._cfg_dict)


AWARE = RETINANET_CONFIG.replace("bbox_head=dict(", "bbox_head=dict(type='IoUAwareRetinaHead',")


def test_batch_that_cannot_be_shared():
    with pytest.raises(InputError, match=r"16 images per step.*3 processes"):
        resolve(run_of(), gpus=3)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("detectors/quick/retinanet.py", "model = dict(type='RetinaNet')", "retinanet.py.*'optim_wrapper'"),
        ("schedules/quick.py", "optim_wrapper = dict()", "retinanet.py.*'train_cfg.max_epochs'"),
        ("schedules/quick.py", "optim_wrapper = 1; train_cfg = dict(max_epochs=1)", "'train_dataloader.batch_size'"),
        ("detectors/quick/iou_aware_retinanet.py", "_base_ = './retinanet.py'", "iou_aware.*RetinaHead.*predicts none"),
        ("detectors/quick/retinanet.py", AWARE, "retinanet.py.*IoUAwareRetinaHead.*predicts IoUs.*'iou_aware_'"),
    ],
)
def test_broken_config_is_named(tmp_path, file, text, message):
    experiment = project(tmp_path)
    path = tmp_path / "configs" / file
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        config.resolve(experiment.runs[IOU_AWARE if "iou" in file else RETINANET], manifest(), tmp_path, {}, "work")


PAGE = (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8")
HERE = [line.split(" | ")[2] for line in PAGE.splitlines() if line.count(" | ") == 3][1:]


def test_settings_are_those_that_the_page_states():
    configs = [resolve(run_of("paper", detector)) for detector in ("iou_aware_retinanet", "faster_rcnn")]
    stated = re.findall(r"`([\w.]+) = (\S+)`", " ".join(HERE))
    assert len(stated) > 6
    for key, text in stated:
        value = ast.literal_eval(text) if re.match(r"-?\d|True|False", text) else text
        found = [seen for resolved in configs if (seen := at(resolved, key.split("."))) is not None]
        assert value in found, key


def at(value, keys: list[str]):
    """Return what lies at a path of a config, whose lists are entered by numbers; None where there is nothing."""
    try:
        for key in keys:
            value = value[int(key) if isinstance(value, list) else key]
    except (KeyError, IndexError):
        return None
    return value


def test_weights_are_the_files_that_the_page_names():
    named = set(re.findall(r"`(\w+-[0-9a-f]{8}\.pth)`", " ".join(HERE)))
    configs = [ROOT / "configs" / "backbones" / f"{backbone}.py" for backbone in ("r50", "r101", "x101_32x4d")]
    assert named == {Path(origin(config)).name for config in configs}


def test_both_targets_stand_side_by_side_and_the_main_tables_have_one():
    paper = Experiment.load(ROOT / "configs" / "experiments" / "paper.yaml")
    by_table = {
        name: {paper.runs[run].target_grad for row in table.rows.values() for run in row.runs} - {None}
        for name, table in paper.tables.items()
    }
    assert all(values == {False} for name, values in by_table.items() if paper.tables[name].paper)
    assert by_table["target_gradient"] == by_table["target_gradient_voc"] == {False, True}


def test_images_with_crowds_alone_are_background_and_boxes_scale_with_their_edges(tmp_path):
    content = coco_content(boxes=[(4, 4, 20, 16), (0, 0, 64, 48)], images=3)
    content["annotations"][1] |= {"image_id": 2, "iscrowd": 1}
    write_own_coco(tmp_path, content)
    for part in ("detectors", "schedules", "backbones"):
        (tmp_path / "configs" / part).symlink_to(ROOT / "configs" / part)
    settings = {"augmentations": []}
    resolved = config.resolve(run_of("paper", scale="100x70"), prepared(tmp_path), tmp_path, settings, "work")
    init_default_scope("mmdet")
    dataset = DATASETS.build(resolved.train_dataloader.dataset)
    seen = {item["data_samples"].img_id: item["data_samples"] for item in dataset}
    assert list(seen) == [1, 2], "the third has no annotation"
    assert [len(sample.gt_instances) for sample in seen.values()] == [1, 0]
    across, down = 93 / 64, 70 / 48
    assert seen[1].scale_factor == (across, down)
    box = seen[1].gt_instances.bboxes.tensor[0].tolist()
    assert box == pytest.approx([4 * across, 4 * down, 24 * across, 20 * down])
