"""Training really: what comes out, what is refused, how often a step waits for a GPU; and that MMDetection takes it."""

import contextlib
import math
import shutil
from pathlib import Path

import mmdet
import pytest
import torch
from builders.heads import Waits
from builders.processes import python
from builders.training import ENVIRONMENT, FASTER_RCNN, IOU_AWARE, RETINANET, STEPS, history, project, saved
from mmdet.datasets import CocoDataset
from mmengine.runner import EpochBasedTrainLoop

import iou_aware
from iou_aware.common import seal
from iou_aware.common.files import sha256
from iou_aware.common.messages import InputError
from iou_aware.training import checkpoints, weights
from iou_aware.training.train import train

TOOLS = Path(mmdet.__file__).parent / ".mim" / "tools"


@pytest.mark.parametrize("run", [RETINANET, IOU_AWARE, FASTER_RCNN])
def test_a_finished_run_is_complete_and_sealed(trained, run):
    folder = trained.paths.run_folder(run)
    record = seal.verify(folder)
    assert record["run"] == trained.runs[run].as_dict()
    assert (record["epochs"], record["iterations"], record["train_images"]) == (2, 2 * STEPS, 18)
    assert record["weights_sha256"] == sha256(folder / "weights.pth")
    assert 0 < record["cpu_seconds"] < math.inf
    assert record["peak_rss_mib"] > 0 < record["images_per_second"]
    assert all(math.isfinite(value) for value in record["losses"].values())
    assert ("loss_iou" in record["losses"]) == trained.runs[run].is_iou_aware
    assert len(saved(trained, run)) == 1
    assert record["provenance"]["torch"]


def test_history_has_the_schedule_and_the_losses(trained):
    rows = history(trained, IOU_AWARE)
    steps = [(1 + step // STEPS, step + 1) for step in (1, 3, 4, 6, 8, 9)]
    assert [(row["epoch"], row["iteration"]) for row in rows] == steps
    # Linear warm-up over three steps from a tenth of 0.01, then a tenth of it from the second of two epochs.
    assert [row["lr"] for row in rows] == pytest.approx([0.0055, 0.01, 0.01, 0.001, 0.001, 0.001])
    for row in rows:
        parts = sum(row[key] for key in ("loss_cls", "loss_bbox", "loss_iou"))
        assert row["loss"] == pytest.approx(parts, rel=1e-5)


def test_loss_that_is_no_number_stops_the_run(tmp_path):
    experiment = project(tmp_path)
    schedule = tmp_path / "configs" / "schedules" / "quick.py"
    schedule.write_text(schedule.read_text().replace("lr=1e-2", "lr=1e30"))
    with pytest.raises(InputError, match=rf"{IOU_AWARE}: the loss is not finite at iteration .*loss_iou") as error:
        train(experiment, IOU_AWARE)
    images = str(error.value).partition("; images ")[2].partition(". ")[0].split(", ")
    assert len(images) == 4
    assert all(Path(image).is_file() for image in images)
    assert not experiment.paths.run_folder(IOU_AWARE).exists()


def test_weights_that_are_no_numbers_are_not_saved(fresh, monkeypatch):
    state = {"good": torch.zeros(2), "bad": torch.tensor([0.0, math.nan])}
    monkeypatch.setattr(checkpoints, "capture", lambda runner, iteration: {"model": state})
    with pytest.raises(InputError, match="not finite: bad;"):
        train(fresh, RETINANET)
    assert not saved(fresh, RETINANET)


def test_mmdetections_own_tools_run_the_config(trained, tmp_path, monkeypatch):
    file, weights_file = trained.paths.config(IOU_AWARE), trained.paths.weights(IOU_AWARE)
    for tool, files, told in [("train", [file], "loss_iou: 0."), ("test", [file, weights_file], "bbox_mAP")]:
        command = [TOOLS / f"{tool}.py", *files, "--work-dir", tmp_path]
        done = python(*command, cwd=trained.root, env=ENVIRONMENT)
        assert done.returncode == 0 and told in done.stdout + done.stderr, done.stderr
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD")  # their checkpoints hold objects of MMEngine
    theirs = torch.load(tmp_path / "epoch_2.pth", weights_only=False)["state_dict"]
    assert theirs.keys() == weights.load(weights_file)["state_dict"].keys()


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: content.replace(b"0", b"1", 1), None])
@pytest.mark.parametrize("file", ["weights.pth", "config.py", "history.csv", "run.json"])
def test_changed_artefact_is_noticed_and_named(trained, tmp_path, file, damage):
    path = shutil.copytree(trained.paths.run_folder(RETINANET), tmp_path / "run") / file
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    with pytest.raises(InputError, match=file):
        seal.verify(path.parent)


def test_nothing_to_train_on(trained, monkeypatch):
    monkeypatch.setattr(CocoDataset, "filter_data", lambda dataset: [])
    with pytest.raises(InputError, match=r"train.json: no image is left; training leaves out"):
        train(trained, RETINANET)


def test_annotations_that_changed_since_they_were_prepared(fresh):
    path = fresh.root / "results" / "datasets" / "shapes" / "train.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(InputError, match=r"train.json: the annotations .* changed after they were prepared"):
        train(fresh, RETINANET)


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
    """Until a GPU that is asked for a number has caught up: counted on a CPU, in the second step of a training."""
    counted, original = Waits(), EpochBasedTrainLoop.run_iter

    def run_iter(self, index, batch):
        with counted if self.iter == 1 else contextlib.nullcontext():
            return original(self, index, batch)

    monkeypatch.setattr(EpochBasedTrainLoop, "run_iter", run_iter)
    experiment = project(tmp_path, settings={"epochs": 1, "device": "cpu", "batch_size": batch_size} | settings)
    schedule = experiment.paths.schedule("quick")
    schedule.write_text(schedule.read_text().replace(ADAMW, 'type="SGD", lr=0.01, momentum=0.9'))
    train(experiment, run)
    ours = sum(number for file, number in counted.of.items() if file.startswith(OURS))
    assert 0 < ours <= MOST[run], counted.of
    assert counted.of.total() - ours <= MOST_OF_MMDETECTION + more, counted.of
