"""Training really: what comes out, and that no interruption, damage or trick changes it."""

import csv
import json
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mmdet
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from training_project import ENVIRONMENT, FASTER_RCNN, IOU_AWARE, RETINANET, command, project, together

from iou_aware.errors import InputError
from iou_aware.files import sha256
from iou_aware.study.experiment import Experiment
from iou_aware.training import checkpoints, seal
from iou_aware.training.progress import Progress
from iou_aware.training.runner import INTERRUPTED
from iou_aware.training.train import train

STEPS = 5  # per epoch: 18 images, 4 at a time
TOOLS = Path(mmdet.__file__).parent / ".mim" / "tools"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Experiment:
    """A project with its three runs trained, never disturbed."""
    experiment = project(tmp_path_factory.mktemp("finished"))
    for run in experiment.runs:
        train(experiment, run)
    return experiment


@pytest.fixture
def fresh(tmp_path) -> Experiment:
    return project(tmp_path)


def outcome(experiment: Experiment, run: str) -> tuple[str, str]:
    """Return what must not depend on how a run came about."""
    folder = experiment.paths.run_folder(run)
    return sha256(folder / "weights.pth"), (folder / "history.csv").read_text()


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


@pytest.mark.parametrize("run", [RETINANET, IOU_AWARE, FASTER_RCNN])
def test_a_finished_run_is_complete_and_sealed(finished, run):
    folder = finished.paths.run_folder(run)
    record = seal.verify(folder)
    assert record["run"] == finished.runs[run].as_dict()
    assert (record["epochs"], record["iterations"], record["train_images"]) == (2, 2 * STEPS, 18)
    assert record["weights_sha256"] == sha256(folder / "weights.pth")
    assert record["peak_rss_mib"] > 0 < record["images_per_second"]
    assert all(math.isfinite(value) for value in record["losses"].values())
    assert ("loss_iou" in record["losses"]) == finished.runs[run].is_iou_aware
    assert len(saved(finished, run)) == 1
    assert record["provenance"]["torch"] == torch.__version__.partition("+")[0] or record["provenance"]["torch"]


def test_history_has_the_schedule_and_the_losses(finished):
    rows = list(csv.DictReader(finished.paths.history(IOU_AWARE).open()))
    assert [(int(row["epoch"]), int(row["iteration"])) for row in rows] == [
        (1 + step // STEPS, step + 1) for step in (1, 3, 4, 6, 8, 9)
    ]
    # Linear warm-up over three steps from a tenth of 0.01, then a tenth of it from the second of two epochs.
    assert [float(row["lr"]) for row in rows] == pytest.approx([0.0055, 0.01, 0.01, 0.001, 0.001, 0.001])
    for row in rows:
        parts = sum(float(row[key]) for key in ("loss_cls", "loss_bbox", "loss_iou"))
        assert float(row["loss"]) == pytest.approx(parts, rel=1e-5)


def test_baseline_and_iou_aware_see_the_same_images_in_the_same_order(finished):
    ours, theirs = (list(csv.DictReader(finished.paths.history(run).open())) for run in (IOU_AWARE, RETINANET))
    assert [row["lr"] for row in ours] == [row["lr"] for row in theirs]


@pytest.mark.parametrize("step", [1, 4, STEPS, STEPS + 1, 2 * STEPS - 1])
def test_sigterm_at_any_step_changes_nothing(finished, fresh, monkeypatch, step):
    interrupt(fresh, IOU_AWARE, monkeypatch, step)
    assert len(saved(fresh, IOU_AWARE)) == 1 + (step > STEPS)
    train(fresh, IOU_AWARE)
    assert outcome(fresh, IOU_AWARE) == outcome(finished, IOU_AWARE)


def test_sigterm_in_the_last_step_comes_too_late(finished, fresh, monkeypatch):
    at_step(monkeypatch, 2 * STEPS, lambda: os.kill(os.getpid(), signal.SIGTERM))
    train(fresh, RETINANET)
    assert outcome(fresh, RETINANET) == outcome(finished, RETINANET)


def test_killed_run_goes_on_to_the_same_bits(finished, fresh):
    start = {"cwd": fresh.root, "env": ENVIRONMENT, "text": True}
    with subprocess.Popen(command(fresh, "train", FASTER_RCNN), stderr=subprocess.PIPE, **start) as process:
        for line in process.stderr:
            if "epoch 2/2" in line:  # the first epoch's checkpoint is there, the second's is not
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert not fresh.paths.weights(FASTER_RCNN).exists()
    assert len(saved(fresh, FASTER_RCNN)) == 1
    resumed = subprocess.run(command(fresh, "train", FASTER_RCNN), check=True, capture_output=True, **start)
    assert "Resuming from" in resumed.stderr
    assert "epoch 1/2" not in resumed.stderr
    assert outcome(fresh, FASTER_RCNN) == outcome(finished, FASTER_RCNN)


@pytest.mark.parametrize("workers", [1, 3])
def test_loading_processes_change_nothing(finished, tmp_path, monkeypatch, workers):
    experiment = project(tmp_path, settings={"epochs": 2, "device": "cpu", "workers": workers})
    interrupt(experiment, IOU_AWARE, monkeypatch, 3)
    train(experiment, IOU_AWARE)
    assert outcome(experiment, IOU_AWARE) == outcome(finished, IOU_AWARE)


def test_finished_run_trains_no_further(finished, fresh, monkeypatch):
    train(fresh, RETINANET)
    at_step(monkeypatch, 1, lambda: pytest.fail("a step was made"))
    shutil.rmtree(fresh.paths.run_folder(RETINANET))
    train(fresh, RETINANET)
    assert outcome(fresh, RETINANET) == outcome(finished, RETINANET)


def test_damaged_newest_checkpoint_is_named_and_the_one_before_used(finished, fresh, monkeypatch, caplog):
    interrupt(fresh, IOU_AWARE, monkeypatch, STEPS + 2)
    older, newest = saved(fresh, IOU_AWARE)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with caplog.at_level("INFO"):
        train(fresh, IOU_AWARE)
    assert f"{newest} is damaged" in caplog.text
    assert f"Resuming from {older}" in caplog.text
    assert outcome(fresh, IOU_AWARE) == outcome(finished, IOU_AWARE)


def test_run_without_an_undamaged_checkpoint_stops(fresh, monkeypatch):
    interrupt(fresh, IOU_AWARE, monkeypatch, STEPS + 2)
    for path in saved(fresh, IOU_AWARE):
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="all 2 checkpoints are damaged"):
        train(fresh, IOU_AWARE)


def test_checkpoint_of_another_config_is_not_taken(fresh, monkeypatch):
    interrupt(fresh, IOU_AWARE, monkeypatch, 3)
    changed = fresh.root / "configs" / "schedules" / "quick.py"
    changed.write_text(changed.read_text().replace("weight_decay=0.05,", "weight_decay=0.04,"))
    at_step(monkeypatch, 1, lambda: (_ for _ in ()).throw(InterruptedError))
    with pytest.raises(InterruptedError):  # it starts with the first step
        train(fresh, IOU_AWARE)


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, witness: Path):
        self.witness = witness

    def __reduce__(self):
        return (open, (str(self.witness), "w"))


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_hostile_checkpoint_is_refused_and_nothing_in_it_runs(fresh, monkeypatch, tmp_path, form):
    interrupt(fresh, IOU_AWARE, monkeypatch, STEPS + 2)
    witness, planted = tmp_path / "witness", tmp_path / "planted"
    content = {"epoch": 0, "model": Hostile(witness)}
    torch.save(content, planted) if form == "torch" else planted.write_bytes(pickle.dumps(content))
    folder = saved(fresh, IOU_AWARE)[0].parent
    shutil.copy(planted, folder / f"iteration_00000009-{sha256(planted)[:16]}.pth")
    with pytest.raises(InputError, match=r"iteration_00000009.*refused, nothing in it was run"):
        train(fresh, IOU_AWARE)
    assert not witness.exists()


def test_checkpoint_holds_every_generator_and_is_plain(fresh, monkeypatch):
    interrupt(fresh, IOU_AWARE, monkeypatch, 3)
    state = checkpoints.load(saved(fresh, IOU_AWARE)[0])
    assert (state["epoch"], state["batch"]) == (0, 3)
    assert set(state["generators"][0]) == {"torch", "cuda", "numpy", "python"}
    assert {"model", "optimizer", "schedulers", "progress"} <= set(state)


def test_loss_that_is_no_number_stops_the_run(tmp_path):
    experiment = project(tmp_path)
    schedule = tmp_path / "configs" / "schedules" / "quick.py"
    schedule.write_text(schedule.read_text().replace("lr=1e-2", "lr=1e30"))
    with pytest.raises(InputError) as error:
        train(experiment, IOU_AWARE)
    message = str(error.value)
    assert IOU_AWARE in message
    assert "not finite at iteration" in message
    assert "loss_iou" in message
    ids = message.partition("image ids ")[2].partition(".")[0].split(", ")
    assert len(ids) == 4
    assert all(int(image) % 10 == 0 for image in ids)
    assert not experiment.paths.run_folder(IOU_AWARE).exists()


def test_weights_that_are_no_numbers_are_not_saved(fresh, monkeypatch):
    def spoil(self, runner, *args, **kwargs):
        with torch.no_grad():
            runner.model.bbox_head.retina_cls.bias.fill_(math.nan)

    monkeypatch.setattr(Progress, "after_train_iter", spoil)
    monkeypatch.setattr("iou_aware.training.runner.Saving.after_train_iter", lambda *args, **kwargs: None)
    with pytest.raises(FloatingPointError, match=r"bbox_head.retina_cls.bias"):
        train(fresh, RETINANET)
    assert not saved(fresh, RETINANET)


def test_several_processes_train_one_model_and_stop_and_go_on_together(tmp_path, monkeypatch):
    settings = {"epochs": 12, "device": "cpu", "gpus": 2}
    undisturbed, disturbed = (project(tmp_path / name, settings=settings) for name in ("undisturbed", "disturbed"))
    assert together(undisturbed, IOU_AWARE) == [0, 0]
    record = seal.verify(undisturbed.paths.run_folder(IOU_AWARE))
    assert (record["processes"], record["batch_size"], record["iterations"]) == (2, 4, 12 * STEPS)
    with monkeypatch.context() as patch:  # the second process alone is told, and they agree
        at_step(patch, 7, lambda: os.environ["RANK"] == "1" and os.kill(os.getpid(), signal.SIGTERM))
        assert together(disturbed, IOU_AWARE) == [INTERRUPTED, INTERRUPTED]
    assert together(disturbed, IOU_AWARE) == [0, 0]
    assert outcome(disturbed, IOU_AWARE) == outcome(undisturbed, IOU_AWARE)


def test_processes_are_started_and_stopped_as_one_command(tmp_path):
    experiment = project(tmp_path, settings={"epochs": 2, "device": "cpu", "gpus": 2})
    start = {"cwd": tmp_path, "env": ENVIRONMENT, "text": True, "stderr": subprocess.PIPE}
    with subprocess.Popen(command(experiment, "train", IOU_AWARE), **start) as process:
        for line in process.stderr:
            if "epoch 1/2" in line:
                process.send_signal(signal.SIGTERM)
    assert process.returncode == INTERRUPTED
    assert len(saved(experiment, IOU_AWARE)) == 1


@pytest.mark.parametrize("stage", [("train", RETINANET), ("predict", RETINANET, "--split", "val")])
def test_a_stage_says_nothing_beside_its_log(finished, stage):
    """MMDetection prints to standard output, at its import and later, which optional packages are missing."""
    start = {"cwd": finished.root, "env": ENVIRONMENT, "text": True, "capture_output": True}
    assert subprocess.run(command(finished, *stage), check=True, **start).stdout == ""


def test_mmdetections_own_tools_run_the_config(finished, tmp_path):
    folder = finished.paths.run_folder(IOU_AWARE)
    commands = {
        "train": [folder / "config.py", "--work-dir", tmp_path / "train"],
        "test": [folder / "config.py", folder / "weights.pth", "--work-dir", tmp_path / "test"],
    }
    start = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": finished.root}
    processes = {
        name: subprocess.Popen([sys.executable, TOOLS / f"{name}.py", *arguments], env=ENVIRONMENT, **start)
        for name, arguments in commands.items()
    }
    said = {name: process.communicate()[0] for name, process in processes.items()}
    assert {name: process.returncode for name, process in processes.items()} == {"train": 0, "test": 0}, said
    assert "bbox_mAP" in said["test"]
    theirs = torch.load(tmp_path / "train" / "epoch_2.pth", weights_only=False)["state_dict"]
    assert theirs.keys() == checkpoints.load(folder / "weights.pth")["state_dict"].keys()


def test_weights_are_plain_and_say_their_classes(finished):
    content = checkpoints.load(finished.paths.weights(RETINANET))
    assert content["meta"] == {"dataset_meta": {"classes": ["small", "large"]}}
    config = Config.fromfile(finished.paths.config(RETINANET))
    assert config.model.bbox_head.num_classes == 2


@pytest.mark.parametrize("change", ["cut", "flip", "remove", "record", "not json"])
@pytest.mark.parametrize("file", ["weights.pth", "config.py", "history.csv", "run.json"])
def test_changed_artefact_is_noticed_and_named(finished, tmp_path, file, change):
    folder = tmp_path / "run"
    shutil.copytree(finished.paths.run_folder(RETINANET), folder)
    path, named = folder / file, file
    content = bytearray(path.read_bytes())
    if change == "cut":
        path.write_bytes(content[:-1] if file != "run.json" else content[: len(content) // 2])
    elif change == "flip":
        content[content.index(b"0")] ^= 1
        path.write_bytes(content)
    elif change == "remove":
        path.unlink()
    elif change == "record":
        record = json.loads((folder / "run.json").read_text()) | {"epochs": 100}
        (folder / "run.json").write_text(json.dumps(record))
        named = "run.json"
    else:
        (folder / "run.json").write_text("[")
        named = "run.json"
    with pytest.raises(InputError, match=named):
        seal.verify(folder)


def test_nothing_to_train_on(finished, monkeypatch):
    monkeypatch.setattr(CocoDataset, "filter_data", lambda dataset: [])
    with pytest.raises(InputError, match=r"train.json: nothing to train on: all its images"):
        train(finished, RETINANET)


def test_annotations_that_changed_since_they_were_prepared(fresh):
    path = fresh.root / "data" / "shapes" / "train.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(InputError, match=r"train.json: the annotations .* changed after they were prepared"):
        train(fresh, RETINANET)


def test_tensorboard_is_told_what_the_history_says(tmp_path, monkeypatch, finished):
    told = []

    class Writer:
        def __init__(self, folder: str):
            self.folder = Path(folder)

        def add_scalar(self, *scalar) -> None:
            told.append((self.folder, *scalar))

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    experiment = project(tmp_path, settings={"epochs": 2, "device": "cpu", "tensorboard": True})
    train(experiment, IOU_AWARE)
    rows = list(csv.DictReader(experiment.paths.history(IOU_AWARE).open()))
    losses = [(step, value) for _, name, value, step in told if name == "loss_iou"]
    assert losses == [(int(row["iteration"]), float(row["loss_iou"])) for row in rows]
    assert {folder for folder, *_ in told} == {experiment.paths.checkpoints(IOU_AWARE) / "tensorboard"}
    assert {name for _, name, *_ in told} == set(rows[0]) - {"epoch", "iteration"}
    assert outcome(experiment, IOU_AWARE) == outcome(finished, IOU_AWARE)


def test_tensorboard_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    experiment = project(tmp_path, settings={"tensorboard": True})
    with pytest.raises(InputError, match=r"settings.tensorboard.*pip install tensorboard"):
        train(experiment, RETINANET)


@pytest.mark.parametrize("setting", [{"device": "cuda"}, {"amp": True}])
def test_setting_that_needs_a_gpu_is_named_where_there_is_none(tmp_path, setting):
    experiment = project(tmp_path, settings=setting)
    with pytest.raises(InputError, match=f"settings.{next(iter(setting))}"):
        train(experiment, RETINANET)
