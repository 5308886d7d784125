"""How often a training step asks a GPU for a number and so waits until it has caught up, counted on a CPU."""

from pathlib import Path

import pytest
from builders.heads import Waits
from builders.training import IOU_AWARE, RETINANET, project
from mmengine.runner import EpochBasedTrainLoop

import iou_aware
from iou_aware.training.train import train

OURS = str(Path(iou_aware.__file__).parent)
# A fused optimiser, of the miniature on a CPU, asks for the number of its steps.
ADAMW = 'type="AdamW", lr=1e-2, weight_decay=0.05, fused=True'
# What is left, by who asks. These numbers may fall; a change that raises one makes every step of a training slower.
# Ours: the positives of the batch, those of the IoU loss, and the losses, to stop at one that is no number.
MOST = {RETINANET: 2, IOU_AWARE: 3}
# MMDetection's: one in the smooth L1 of each of three levels.
MOST_OF_MMDETECTION = 3


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
    counted, original = Waits(), EpochBasedTrainLoop.run_iter

    def run_iter(self, index, batch):
        if self.iter != 1:
            return original(self, index, batch)
        with counted:
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
