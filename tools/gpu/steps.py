"""How long a training step of the paper's size takes on the GPU, against one of MMDetection's RetinaNet."""

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn
from trial import BATCH, CLASSES, DEVICE, HEIGHT, ON_CPU, WIDTH, boxes, experiment

from iou_aware.data.manifest import Manifest
from iou_aware.method import trunk
from iou_aware.method.targets import batch_targets
from iou_aware.training import config
from iou_aware.training.device import channels_last

#: What is timed: the experiment whose model it is, and whether targets are this project's.
TIMED = {
    "MMDetection's RetinaNet": ("retinanet", False),
    "RetinaNet": ("retinanet", True),
    "IoU-aware RetinaNet": ("bf16_channels_last", True),
}
OBJECTS = 8  # in each image
WARM, TURNS = (1, 1) if ON_CPU else (4, 12)


def steps(figures: dict[str, Any]) -> None:
    """Take steps of all models in turn, in bfloat16 and channels_last, on one batch that is on the GPU already.

    A step is normalisation, forward pass, targets, losses, backward pass and the optimiser's step, without loading.
    Ratios are to MMDetection's RetinaNet.
    """
    time_in_turn({what: _step(*which) for what, which in TIMED.items()}, figures)


def time_in_turn(taken: dict[str, Callable[[], None]], figures: dict[str, Any]) -> None:
    """Call functions in turn; note each one's median, its ratio to the first one's, and how often the host waits."""
    seconds: dict[str, list[float]] = {what: [] for what in taken}
    for turn in range(WARM + TURNS):
        for what, call in taken.items():
            _synchronize()
            started = time.perf_counter()
            call()
            _synchronize()
            if turn >= WARM:
                seconds[what].append(time.perf_counter() - started)
    medians = {what: statistics.median(times) for what, times in seconds.items()}
    first = next(iter(medians.values()))
    for what, median in medians.items():
        figures[what] = f"{1000 * median:.1f} ms, {median / first:.3f}, {_waits(taken[what])} waits"


def _step(name: str, batched: bool) -> Callable[[], None]:
    """Return a function that takes a training step of an experiment's model on always the same batch."""
    model = channels_last(build(name)).to(DEVICE).train()
    trunk.compute(model, torch.bfloat16)
    if batched:
        batch_targets(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
    images = batch()

    def step() -> None:
        copied = {"inputs": images["inputs"], "data_samples": [sample.clone() for sample in images["data_samples"]]}
        data = model.data_preprocessor(copied, True)
        loss, _ = model.parse_losses(model.loss(data["inputs"], data["data_samples"]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def build(name: str) -> nn.Module:
    """Return the model of an experiment's first run, with random weights."""
    trial = experiment(name)
    run, manifest = next(iter(trial.runs.values())), Manifest.load(trial.paths.manifest("scenes"))
    return MODELS.build(config.resolve(run, manifest, trial.root, trial.settings, "work").model)


def batch() -> dict[str, Any]:
    """Return random images as one tensor and random objects in them, all on the GPU."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for corners in boxes(BATCH, OBJECTS):
        sample = DetDataSample(metainfo={"img_shape": (HEIGHT, WIDTH), "scale_factor": (1.0, 1.0)})
        labels = torch.randint(CLASSES, (OBJECTS,), generator=generator)
        sample.gt_instances = InstanceData(bboxes=corners.to(DEVICE), labels=labels.to(DEVICE))
        samples.append(sample)
    images = torch.randint(256, (BATCH, 3, HEIGHT, WIDTH), dtype=torch.uint8, generator=generator)
    return {"inputs": images.to(DEVICE), "data_samples": samples}


def _waits(call: Callable[[], None]) -> int | str:
    """Return how often the host waits for the GPU in a call, by PyTorch's own count."""
    if ON_CPU:
        return "no"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        call()
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in said)


def _synchronize() -> None:
    if not ON_CPU:
        torch.cuda.synchronize()
