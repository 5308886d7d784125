"""GPUs of one machine, shared out between processes; a script stands in for nvidia-smi, and the processes are real."""

import os
import subprocess
import sys
from contextlib import ExitStack
from threading import Timer

import psutil
import pytest
from builders.data import program
from builders.training import RETINANET, command, project
from builders.workflows import SMALL, Project

from iou_aware.workflow import gpus

PATIENCE_SECONDS = 120  # on a loaded machine; who waits for longer is killed, and the test fails
HOLD = """
import logging, os, sys
from iou_aware.workflow import gpus
logging.basicConfig(level=logging.INFO)
gpus.take(int(sys.argv[1]))
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""
# What stands in for two trainings: each takes a GPU and says which, and neither goes on before the other has as well.
TRAINING = """\
#!{python}
import os, signal, subprocess, sys
from pathlib import Path
from iou_aware.workflow import gpus
if sys.argv[1] == "train":
    signal.alarm({patience})
    gpus.take(1)
    Path("taken", sys.argv[3]).write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    open("meeting", "w" if "iou_aware" in sys.argv[3] else "r").close()
sys.exit(subprocess.call(["bin/stand-in", *sys.argv[1:]]))
"""
# What a stage asks for, and whether a library that asks for GPUs had been imported by then.
ASKED = """
import sys
from iou_aware import cli
from iou_aware.workflow import gpus
gpus.take = lambda count: sys.exit(f"{count} {'torch' in sys.modules}")
cli.main(sys.argv[1:])
"""
WHOLE = [f"GPU {number}: Stand-in (UUID: GPU-{number}{os.getpid()}-whole)" for number in range(4)]
PARTED = [
    *WHOLE[:1],
    f"GPU 1: Stand-in (UUID: GPU-1{os.getpid()}-parted)",
    f"  MIG 3g.40gb     Device  0: (UUID: MIG-0{os.getpid()})",
    f"  MIG 3g.40gb     Device  1: (UUID: MIG-1{os.getpid()})",
]


def uuid(line: str) -> str:
    return line.partition("UUID: ")[2].rstrip(")")


GPUS = [uuid(line) for line in WHOLE]
INSTANCES = [uuid(line) for line in PARTED[2:]]


class Patience:
    """Kills a process that takes too long, so that a test fails that would wait forever."""

    def __init__(self, process: subprocess.Popen):
        self.timer = Timer(PATIENCE_SECONDS, process.kill)

    def __enter__(self) -> None:
        self.timer.start()

    def __exit__(self, *_) -> None:
        self.timer.cancel()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that lets a machine have GPUs."""

    def have(lines: list[str]) -> None:
        says = "#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n"
        listed = program(tmp_path / "machine" / "nvidia-smi", says)
        monkeypatch.setenv("PATH", os.pathsep.join([str(listed.parent), os.environ["PATH"]]))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return have


@pytest.fixture
def holders():
    """Return a function that starts a process which takes GPUs and keeps them; all are ended afterwards."""
    with ExitStack() as stack:

        def start(count: int = 1, **environment: str) -> subprocess.Popen:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            process = subprocess.Popen([sys.executable, "-c", HOLD, str(count)], env=os.environ | environment, **pipes)
            stack.enter_context(process)
            stack.callback(process.kill)
            stack.enter_context(Patience(process))
            return process

        yield start


def has(process: subprocess.Popen) -> list[str]:
    """Return what a process has taken, once it has."""
    return process.stdout.readline().strip().split(",")


def test_processes_at_once_never_have_a_gpu_in_common(machine, holders):
    machine(WHOLE)
    started = [holders(count) for count in (1, 2, 1)]
    taken = [has(process) for process in started]
    assert [len(names) for names in taken] == [1, 2, 1]
    assert sorted(name for names in taken for name in names) == GPUS


def test_a_gpu_is_free_again_when_who_had_it_is_killed(machine, holders):
    machine(WHOLE[:1])
    first = holders()
    assert has(first) == GPUS[:1]
    second = holders()
    assert "in use by other processes" in second.stderr.readline()
    first.kill()
    assert has(second) == GPUS[:1]


@pytest.mark.parametrize(
    ("lines", "visible", "expected"),
    [
        (WHOLE, None, GPUS),
        (WHOLE, "2,0", [GPUS[2], GPUS[0]]),
        (WHOLE, GPUS[1], GPUS[1:2]),
        (WHOLE, GPUS[3][:5], GPUS[3:4]),  # the beginning of a UUID
        (WHOLE, "1,9,2", GPUS[1:2]),  # CUDA ends at the first that is none
        (WHOLE, "-1", []),
        (WHOLE, "", []),
        (PARTED, None, [GPUS[0], *INSTANCES]),
        (PARTED, "1", INSTANCES),
        (PARTED, uuid(PARTED[1]), INSTANCES),
        (PARTED, INSTANCES[1], INSTANCES[1:]),
    ],
    ids=[*("all", "numbers", "UUID", "its beginning", "too high", "none", "nothing"), *("split", "1", "whole", "part")],
)
def test_only_what_is_visible_is_taken_and_instances_one_by_one(machine, monkeypatch, lines, visible, expected):
    machine(lines)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.visible() == expected


def test_who_may_use_one_gpu_waits_for_it_and_takes_no_other(machine, holders):
    machine(WHOLE)
    assert has(holders(CUDA_VISIBLE_DEVICES="1")) == GPUS[1:2]
    waiting = holders(CUDA_VISIBLE_DEVICES=GPUS[1])
    assert has(holders(3)) == [GPUS[0], *GPUS[2:]]
    assert "in use by other processes" in waiting.stderr.readline()


@pytest.mark.parametrize("count", [1, 0])
def test_a_machine_without_gpus_is_left_alone_unless_none_shall_be_used(tmp_path, holders, count):
    hidden = holders(count, PATH=str(tmp_path), CUDA_VISIBLE_DEVICES="7")
    assert has(hidden) == (["7"] if count else ["-1"])


def test_more_than_there_are_is_left_to_those_who_need_them(machine, holders):
    machine(WHOLE)
    assert has(holders(5)) == ["None"]
    assert has(holders(4)) == GPUS


def test_trainings_that_run_at_once_under_the_profile_have_gpus_of_their_own(machine, tmp_path):
    machine(WHOLE[:2])
    study = Project(tmp_path, **SMALL, settings={"gpus": 1})
    stage = tmp_path / "bin" / "iou-aware"
    stage.rename(stage.with_name("stand-in"))
    program(stage, TRAINING.format(python=sys.executable, patience=PATIENCE_SECONDS))
    os.mkfifo(tmp_path / "meeting")
    (tmp_path / "taken").mkdir()
    study.run("--profile", "workflow/profiles/workstation", "--until", "train", "--retries", "0")
    assert sorted(file.read_text() for file in (tmp_path / "taken").iterdir()) == GPUS[:2]


@pytest.mark.parametrize(
    ("settings", "stage", "count"),
    [
        ({"gpus": 4}, "train", 4),
        ({"gpus": 4}, "predict", 1),
        ({}, "train", 1),
        ({"gpus": 2, "device": "cpu"}, "train", 0),
        ({"device": "cpu"}, "predict", 0),
    ],
)
def test_a_stage_takes_what_it_needs_before_anything_looks_for_gpus(tmp_path, settings, stage, count):
    experiment = project(tmp_path, settings=settings)
    arguments = command(experiment, stage, RETINANET, *(["--split", "val"] if stage == "predict" else []))[3:]
    done = subprocess.run(
        [sys.executable, "-c", ASKED, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1] == f"{count} False"


def test_no_process_of_a_killed_training_keeps_its_gpus(machine, tmp_path):
    """What torchrun has started would train on by itself, on GPUs that others take meanwhile."""
    machine(WHOLE[:2])
    experiment = project(tmp_path, settings={"epochs": 500, "gpus": 2})
    pipes = {"cwd": tmp_path, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command(experiment, "train", RETINANET), **pipes) as training, Patience(training):
        assert any("epoch 1/500" in line for line in training.stderr)
        ranks = psutil.Process(training.pid).children()
        assert [rank.environ()["CUDA_VISIBLE_DEVICES"] for rank in ranks] == [",".join(GPUS[:2])] * 2
        predict = command(experiment, "predict", RETINANET, "--split", "val")
        with subprocess.Popen(predict, **pipes) as waiting, Patience(waiting):
            assert "in use by other processes" in waiting.stderr.readline()
            training.kill()
            assert f"Taken: {GPUS[0]}" in waiting.stderr.readline()
            waiting.kill()
        _, alive = psutil.wait_procs(ranks, timeout=PATIENCE_SECONDS)
        for rank in alive:
            rank.kill()
        assert alive == []
