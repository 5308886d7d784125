"""A project folder for tests that train: a handful of small images in COCO layout, and detectors of a few filters."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from builders.data import csv_rows, describe, put
from builders.experiments import with_a_table
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn
from torch.distributed import TCPStore

from iou_aware.common.files import sha256
from iou_aware.data.prepare import prepare
from iou_aware.experiment.experiment import Experiment
from iou_aware.training import config
from iou_aware.training.runner import INTERRUPTED, Progress
from iou_aware.training.train import train

RETINANET = "shapes.retinanet.tiny.quick.64x64.seed0"
IOU_AWARE = "shapes.iou_aware_retinanet.tiny.bce.quick.64x64.seed0"
FASTER_RCNN = "shapes.faster_rcnn.tiny.quick.64x64.seed0"
STEPS = 5  # per epoch: 18 images, 4 at a time
RULES = ["none", "alpha=1.00", "alpha=0.50", "alpha=0.30", "oracle=0.50", "oracle=0.30"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"}

SCHEDULE = """
channels_last = True
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=4)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-2, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=3),
    dict(type="MultiStepLR", by_epoch=True, milestones=[2, 3], gamma=0.1),
]
train_dataloader = dict(batch_size=4)
"""
RETINANET_CONFIG = """
_base_ = ["mmdet::_base_/models/retinanet_r50_fpn.py", "../../schedules/quick.py"]
model = dict(
    data_preprocessor=dict(pad_size_divisor=1),
    neck=dict(out_channels=8, num_outs=3),
    bbox_head=dict(
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(octave_base_scale=2, strides=[8, 16, 32]),
    ),
    test_cfg=dict(score_thr=0.0, nms_pre=100, max_per_img=20),
)
"""
IOU_AWARE_CONFIG = "_base_ = './retinanet.py'\nmodel = dict(bbox_head=dict(type='IoUAwareRetinaHead'))\n"
FASTER_RCNN_CONFIG = """
_base_ = ["mmdet::_base_/models/faster-rcnn_r50_fpn.py", "../../schedules/quick.py"]
model = dict(
    data_preprocessor=dict(pad_size_divisor=1),
    neck=dict(out_channels=8),
    rpn_head=dict(in_channels=8, feat_channels=8),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=8),
        bbox_head=dict(in_channels=8, fc_out_channels=16),
    ),
    test_cfg=dict(rcnn=dict(score_thr=0.0, max_per_img=20)),
)
"""
BACKBONE = """
model = dict(
    backbone=dict(depth=18, base_channels=16, stem_channels=16, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[16, 32, 64, 128]),
)
"""


EXPERIMENT = """
experiment: study
title: A study for tests
defaults: {recipe: quick, dataset: shapes, scale: 64x64, backbone: tiny, seed: 0, target_grad: false}
runs:
  - {detector: [retinanet, faster_rcnn]}
  - {detector: iou_aware_retinanet, iou_loss: bce}
settings: {epochs: 2, device: cpu}
tables: {}
"""


def project(folder: Path, images: int = 18, **changes) -> Experiment:
    """Write and prepare a project with one experiment below ``folder``; ``changes`` replace top-level keys.

    Of its ``images`` to train on every fifth is higher than wide.
    """
    content = yaml.safe_load(EXPERIMENT) | {"rules": RULES} | changes
    for name, text in {
        "schedules/quick.py": SCHEDULE,
        "detectors/quick/retinanet.py": RETINANET_CONFIG,
        "detectors/quick/iou_aware_retinanet.py": IOU_AWARE_CONFIG,
        "detectors/quick/faster_rcnn.py": FASTER_RCNN_CONFIG,
        "backbones/tiny.py": BACKBONE,
        "experiments/study.yaml": yaml.safe_dump(with_a_table(content, "val")),
    }.items():
        put(folder / "configs" / name, text)
    counts = {"train": images, "val": 7, "unlabelled": 2}
    splits = {
        split: {"annotations": f"{split}.json", "images": split, "labelled": split != "unlabelled"} for split in counts
    }
    describe(folder, "shapes", layout="coco", splits=splits, evaluate=["val"])
    for split, count in counts.items():
        _draw(folder / "data" / "shapes", split, count)
    experiment = Experiment.load(folder / "configs" / "experiments" / "study.yaml")
    prepare(experiment.root, "shapes", experiment.roots)
    return experiment


def resolved(experiment: Experiment, run: str) -> Config:
    """Return the config that a run is trained with."""
    asked = experiment.runs[run]
    return config.resolve(asked, experiment.manifest(asked), experiment.root, experiment.settings, "work")


def initial(experiment: Experiment, run: str) -> nn.Module:
    """Return a run's model with its initial weights."""
    init_default_scope("mmdet")
    torch.manual_seed(1)
    model = MODELS.build(resolved(experiment, run).model)
    model.init_weights()
    return model


def together(experiment: Experiment, run: str, processes: int = 2) -> list[int]:
    """Train a run in processes and a session of their own, with all patches of this one; return their exit codes."""
    # Where they meet is open before they start, as torchrun has it: a port that is only known to be free may be taken.
    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("fork")
    arguments = [(number, processes, meeting.port, experiment, run) for number in range(processes)]
    ranks = [context.Process(target=_rank, args=values) for values in arguments]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return [process.exitcode for process in ranks]


def _rank(number: int, processes: int, port: int, experiment: Experiment, run: str) -> None:
    """Be the only training process, or one of several as torchrun would start it."""
    os.setsid()
    if processes > 1:
        os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(processes)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
        os.environ["TORCHELASTIC_RUN_ID"] = "together"
    train(experiment, run)


def outcome(experiment: Experiment, run: str) -> tuple[str, str]:
    """Return what must not depend on how a run came about."""
    folder = experiment.paths.run_folder(run)
    return sha256(folder / "weights.pth"), (folder / "history.csv").read_text()


def history(experiment: Experiment, run: str) -> list[dict[str, float]]:
    """Return the rows of a run's history."""
    return [{key: float(value) for key, value in row.items()} for row in csv_rows(experiment.paths.history(run))]


def saved(experiment: Experiment, run: str) -> list[Path]:
    """Return a run's checkpoints, oldest first."""
    return sorted(experiment.paths.checkpoints(run).rglob("iteration_*.pth"))


def at_step(monkeypatch, step: int, action) -> None:
    """Call ``action`` in the middle of a run's step, counted from 1 over its epochs."""
    original = Progress.after_train_iter

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter + 1 == step:
            action()
        return original(self, runner, *args, **kwargs)

    monkeypatch.setattr(Progress, "after_train_iter", after_train_iter)


def interrupt(experiment: Experiment, run: str, monkeypatch, step: int) -> None:
    """Send SIGTERM to a run in the middle of a step."""
    with monkeypatch.context() as patch:
        at_step(patch, step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit) as stopped:
            train(experiment, run)
    assert stopped.value.code == INTERRUPTED
    assert not experiment.paths.seal(run).exists()


def signalled(folder: Path, run: str, number: int) -> tuple[int, str]:
    """Train a run of 500 epochs by its command, with a signal after the first; return how it ended and what it said."""
    start, said = {"cwd": folder, "env": ENVIRONMENT, "text": True, "stderr": subprocess.PIPE}, []
    with subprocess.Popen(command("train", run), **start) as training:
        for line in training.stderr:
            said.append(line)
            if "epoch 1/500" in line:
                training.send_signal(number)
    return training.returncode, "".join(said)


def command(stage: str, *arguments: str) -> list[str]:
    """Return the command line of a stage over the experiment, from the project's folder."""
    return [sys.executable, "-m", "iou_aware.cli", stage, "configs/experiments/study.yaml", *arguments]


def _draw(root: Path, split: str, count: int) -> None:
    """Draw grey images, most of them wider than high, each with one or two bright rectangles of two classes."""
    rng = np.random.default_rng(len(split) + count)
    (root / split).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(1, count + 1):
        width, height = (48, 64) if number % 5 == 0 else (64, 48)
        canvas = rng.integers(0, 90, (height, width, 3), np.uint8)
        for _ in range(1 + number % 2):
            kind = int(rng.integers(2))
            x, y, side = (int(value) for value in (rng.integers(width - 34), rng.integers(height - 34), 14 + 18 * kind))
            canvas[y : y + side, x : x + side] = (250, 200, 40) if kind else (40, 180, 250)
            box = {"bbox": [x, y, side, side], "area": side * side, "category_id": 3 + 4 * kind, "iscrowd": 0}
            annotations.append(box | {"id": len(annotations) + 1, "image_id": 10 * number})
        name = f"{number}.png"
        cv2.imwrite(str(root / split / name), canvas)
        images.append({"id": 10 * number, "file_name": name, "width": width, "height": height})
    categories = [{"id": 3, "name": "small"}, {"id": 7, "name": "large"}]
    labelled = {"images": images, "annotations": annotations if split != "unlabelled" else [], "categories": categories}
    (root / f"{split}.json").write_text(json.dumps(labelled))
