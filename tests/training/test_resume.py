"""Training really: no interruption, damage or trick changes what comes out."""

import contextlib
import itertools
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from builders.data import put
from builders.hostile import Hostile, packed
from builders.processes import python
from builders.training import (
    ENVIRONMENT,
    FASTER_RCNN,
    IOU_AWARE,
    RETINANET,
    STEPS,
    at_step,
    command,
    interrupt,
    outcome,
    project,
    saved,
    signalled,
    together,
)
from torch.distributed import run as torchrun

from iou_aware.common import seal
from iou_aware.common.files import sha256
from iou_aware.common.messages import InputError
from iou_aware.method import heads
from iou_aware.training import launch, runner
from iou_aware.training import train as training
from iou_aware.training.runner import INTERRUPTED
from iou_aware.training.train import train


@pytest.mark.parametrize("step", [1, 4, STEPS, STEPS + 1, 2 * STEPS - 1])
def test_sigterm_at_any_step_changes_nothing(trained, fresh, monkeypatch, step):
    interrupt(fresh, IOU_AWARE, monkeypatch, step)
    assert len(saved(fresh, IOU_AWARE)) == 1 + (step > STEPS)
    train(fresh, IOU_AWARE)
    assert outcome(fresh, IOU_AWARE) == outcome(trained, IOU_AWARE)


@pytest.mark.parametrize("fault", [None, SystemExit])
def test_signals_are_taken_as_before_however_a_training_ended(fresh, monkeypatch, fault):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    at_step(monkeypatch, 2, lambda: fault and sys.exit())
    with pytest.raises(fault) if fault else contextlib.nullcontext():
        train(fresh, RETINANET)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize("moment", ["in the last step", "while files are written"])
def test_sigterm_at_the_end_comes_too_late(trained, fresh, monkeypatch, moment):
    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    if moment == "in the last step":
        at_step(monkeypatch, 2 * STEPS, stop)
    else:
        wrote = training.write_text
        monkeypatch.setattr(training, "write_text", lambda *file: (stop(), wrote(*file)))
    assert together(fresh, RETINANET, 1) == [0]
    assert outcome(fresh, RETINANET) == outcome(trained, RETINANET)
    seal.verify(fresh.paths.run_folder(RETINANET))


@pytest.mark.parametrize(("every_seconds", "iteration"), [(900, STEPS), (0, STEPS + 1)])
def test_killed_run_goes_on_to_the_same_bits(trained, fresh, monkeypatch, every_seconds, iteration):
    with monkeypatch.context() as patch:  # the second epoch's checkpoint is not there
        patch.setattr(runner, "SAVE_EVERY_SECONDS", every_seconds)
        at_step(patch, STEPS + 2, lambda: os.kill(os.getpid(), signal.SIGKILL))
        assert together(fresh, FASTER_RCNN, 1) == [-signal.SIGKILL]
    assert not fresh.paths.weights(FASTER_RCNN).exists()
    *older, newest = saved(fresh, FASTER_RCNN)
    assert f"iteration_{iteration:08d}" in newest.name and len(older) == (every_seconds == 0)
    resumed = python(*command("train", FASTER_RCNN)[1:], check=True, cwd=fresh.root, env=ENVIRONMENT)
    assert "Resuming from" in resumed.stderr
    assert "epoch 1/2" not in resumed.stderr
    assert outcome(fresh, FASTER_RCNN) == outcome(trained, FASTER_RCNN)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_of_a_job_lets_it_save(trained, tmp_path, monkeypatch, number):
    """Slurm signals every process of a job's step, those that load images included; a terminal does so as well."""
    experiment = project(tmp_path, settings={"epochs": 2, "device": "cpu", "workers": 2})

    def signal_all() -> None:  # from outside: loading processes end in good order where their own parent asks them to
        python("-c", f"import os; os.killpg({os.getpid()}, {int(number)})", check=True, start_new_session=True)

    with monkeypatch.context() as patch:
        at_step(patch, 3, signal_all)
        assert together(experiment, IOU_AWARE, 1) == [INTERRUPTED]
    assert len(saved(experiment, IOU_AWARE)) == 1
    train(experiment, IOU_AWARE)
    assert outcome(experiment, IOU_AWARE) == outcome(trained, IOU_AWARE)


def test_finished_run_trains_no_further(trained, fresh, monkeypatch):
    train(fresh, RETINANET)
    at_step(monkeypatch, 1, lambda: pytest.fail("a step was made"))
    shutil.rmtree(fresh.paths.run_folder(RETINANET))
    train(fresh, RETINANET)
    assert outcome(fresh, RETINANET) == outcome(trained, RETINANET)


def test_damaged_checkpoints_are_named_and_the_one_before_used(trained, fresh, monkeypatch, caplog):
    interrupt(fresh, IOU_AWARE, monkeypatch, STEPS + 2)
    older, newest = saved(fresh, IOU_AWARE)
    content = older.read_bytes()
    older.write_bytes(content[:-100])
    newest.write_bytes(newest.read_bytes().replace(b"0", b"1", 1))
    with pytest.raises(InputError, match="all 2 checkpoints are damaged"):
        train(fresh, IOU_AWARE)
    older.write_bytes(content)
    with caplog.at_level("INFO"):
        train(fresh, IOU_AWARE)
    assert f"{newest} is damaged" in caplog.text
    assert f"Resuming from {older}" in caplog.text
    assert outcome(fresh, IOU_AWARE) == outcome(trained, IOU_AWARE)


def test_checkpoint_of_another_config_is_not_taken_and_named(fresh, monkeypatch, caplog):
    interrupt(fresh, IOU_AWARE, monkeypatch, 3)
    (before,) = saved(fresh, IOU_AWARE)
    assert "Starting from the beginning" not in caplog.text
    changed = fresh.root / "configs" / "schedules" / "quick.py"
    changed.write_text(changed.read_text().replace("weight_decay=0.05,", "weight_decay=0.04,"))
    interrupt(fresh, IOU_AWARE, monkeypatch, 1)  # it starts with the first step
    assert f"Starting from the beginning: {before} is of another config" in caplog.text


def test_a_checkpoint_is_of_all_code_of_the_method_but_how_it_ranks():
    modules = {file.stem for file in Path(heads.__file__).parent.glob("*.py")} - {"__init__", "confidence"}
    assert {module.__name__.rpartition(".")[2] for module in training.CODE} == {*modules, "config"}


def test_hostile_checkpoint_is_refused_and_nothing_in_it_runs(fresh, monkeypatch, tmp_path):
    interrupt(fresh, IOU_AWARE, monkeypatch, STEPS + 2)
    witness = tmp_path / "witness"
    planted = put(tmp_path / "planted", packed({"epoch": 0, "model": Hostile(witness)}))
    planted.rename(saved(fresh, IOU_AWARE)[0].with_name(f"iteration_00000009-{sha256(planted)[:16]}.pth"))
    with pytest.raises(InputError, match=r"iteration_00000009.*nothing in it was run"):
        train(fresh, IOU_AWARE)
    assert not witness.exists()


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


def test_cpu_time_of_all_sessions_adds_up(fresh, monkeypatch):
    looks = itertools.count(100.0)  # at the clock of the CPU: each finds a second spent, so that a step takes one
    monkeypatch.setattr(os, "times", lambda: (next(looks), 0.0, 0.0, 0.0, 0.0))
    interrupt(fresh, RETINANET, monkeypatch, 3)
    interrupt(fresh, RETINANET, monkeypatch, STEPS + 2)
    train(fresh, RETINANET)
    assert seal.verify(fresh.paths.run_folder(RETINANET))["cpu_seconds"] == 2 * STEPS


def test_processes_have_almost_all_of_a_clusters_notice_to_save(monkeypatch):
    """Given as seconds before the time limit in the profile; torchrun's own patience is 30 seconds."""
    profile = (Path(__file__).parents[2] / "workflow" / "profiles" / "slurm" / "profile.yaml").read_text()
    notice = int(re.search(r"--signal=TERM@(\d+)", profile)[1])
    configs = []
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "30")  # what the call sets, it shall not leave behind
    monkeypatch.setattr(torchrun, "elastic_launch", lambda config, entrypoint: lambda *_: configs.append(config))
    launch.launch(2, ["train", "study.yaml", IOU_AWARE])
    assert 0.75 * notice <= configs[0].shutdown_timeout <= notice - 10
    assert configs[0].local_addr == "127.0.0.1"


def test_processes_are_started_and_stopped_as_one_command(tmp_path):
    """After the first epoch, of so many that they cannot be over before the signal arrives."""
    experiment = project(tmp_path, settings={"epochs": 500, "device": "cpu", "gpus": 2})
    assert signalled(tmp_path, IOU_AWARE, signal.SIGTERM)[0] == INTERRUPTED
    assert saved(experiment, IOU_AWARE)
