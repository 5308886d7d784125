"""How often a training step asks a GPU for a number and so waits until it has caught up, counted on a CPU."""

import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from builders.training import IOU_AWARE, RETINANET, project
from mmengine.runner import EpochBasedTrainLoop
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import iou_aware
from iou_aware.training.train import train

OURS = str(Path(iou_aware.__file__).parent)
TORCH = str(Path(torch.__file__).parent)
# Operations whose result, or whose result's size, the CPU must know.
ASK = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten._unique2", "aten.unique_dim")
BY_MASK = ("aten.index", "aten.index_put_")

# A fused optimiser, of the miniature on a CPU, asks for the number of its steps.
ADAMW = 'type="AdamW", lr=1e-2, weight_decay=0.05, fused=True'
# No GPU is asked for the sizes of images, nor where it has another operation.
ON_CPU = ("mmengine/model/utils.py", "mmdet/models/losses/focal_loss.py", "iou_aware/method/losses.py")

# What is left, by who asks. These numbers may fall; a change that raises one makes every step of a training slower.
# Ours: the positives of the batch, those of the IoU loss, and the losses, to stop at one that is no number.
MOST = {RETINANET: 2, IOU_AWARE: 3}
# MMDetection's: one in the smooth L1 of each of three levels.
MOST_OF_MMDETECTION = 3


class Waits(TorchDispatchMode):
    """Counts what would wait for a GPU: ``of`` by the file that asks."""

    def __init__(self):
        super().__init__()
        self.of: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = str(function).rpartition(".")[0]
        masks = arguments[1] if name in BY_MASK else ()
        if name in ASK or any(mask is not None and mask.dtype in (torch.bool, torch.uint8) for mask in masks):
            self.count()
        return function(*arguments, **(options or {}))

    def count(self) -> None:
        """Count one for the innermost file that is neither PyTorch's nor this one."""
        frame = sys._getframe(1)
        while frame.f_code.co_filename.startswith((TORCH, __file__)):
            frame = frame.f_back
        if not frame.f_code.co_filename.endswith(ON_CPU):
            self.of[frame.f_code.co_filename] += 1


@pytest.mark.parametrize(
    ("run", "batch_size", "settings", "more"),
    [
        (RETINANET, 4, {}, 0),
        (IOU_AWARE, 4, {}, 0),
        (IOU_AWARE, 8, {}, 0),
        (IOU_AWARE, 4, {"amp": "fp16"}, 1),  # to know whether to scale the loss down
    ],
)
def test_a_step_waits_no_more_than_it_did(tmp_path, monkeypatch, run, batch_size, settings, more):
    """Counted in the second step of a training."""
    counted, original, tolist = Waits(), EpochBasedTrainLoop.run_iter, Tensor.tolist

    def run_iter(self, index, batch):
        if self.iter != 1:
            return original(self, index, batch)
        with counted, monkeypatch.context() as patch:
            # Of a tensor on the CPU it is no operation.
            patch.setattr(Tensor, "tolist", lambda tensor: counted.count() or tolist(tensor))
            return original(self, index, batch)

    monkeypatch.setattr(EpochBasedTrainLoop, "run_iter", run_iter)
    experiment = project(tmp_path, settings={"epochs": 1, "device": "cpu", "batch_size": batch_size} | settings)
    schedule = experiment.paths.schedule("quick")
    schedule.write_text(schedule.read_text().replace(ADAMW, 'type="SGD", lr=0.01, momentum=0.9'))
    train(experiment, run)
    assert counted.of
    ours = sum(number for file, number in counted.of.items() if file.startswith(OURS))
    assert ours <= MOST[run], counted.of
    assert counted.of.total() - ours <= MOST_OF_MMDETECTION + more, counted.of
