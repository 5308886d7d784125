"""GPUs of one machine, shared out between processes; a script stands in for nvidia-smi, and the processes are real."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from functools import partial

import psutil
import pytest
from builders.data import program
from builders.processes import python
from builders.training import RETINANET, command, project

from iou_aware.workflow import gpus

PATIENCE_SECONDS = 120  # on a loaded machine; a process that waits for longer is killed, and the test fails
PIPES = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
PIPES |= {"text": True, "preexec_fn": partial(signal.alarm, PATIENCE_SECONDS)}
HOLD = """
import logging, os, sys
from iou_aware.workflow import gpus
logging.basicConfig(level=logging.INFO)
gpus.take(int(sys.argv[1]))
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""
# What a stage asks for, and whether a library that asks for GPUs had been imported by then.
ASKED = """
import sys
from iou_aware import cli
from iou_aware.workflow import gpus
gpus.take = lambda count: sys.exit(f"{count} {'torch' in sys.modules}")
cli.main(sys.argv[1:])
"""
GPUS = [f"GPU-{number}{os.getpid()}" for number in range(4)]
# Lists the GPUs, or those of them with the numbers asked for.
NVIDIA_SMI = """\
#!/bin/sh
cd "$(dirname "$0")"
case "$*" in *--id=*) ;; *) exec cat uuids ;; esac
for number in $(echo "${*##*--id=}" | tr , ' '); do sed -n "$((number + 1))p" uuids; done | grep . || exit 6
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make this a machine with GPUs."""
    listed = program(tmp_path / "machine" / "nvidia-smi", NVIDIA_SMI)
    listed.with_name("uuids").write_text("\n".join(GPUS) + "\n")
    monkeypatch.setenv("PATH", str(listed.parent), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def holders():
    """Return a function that starts a process which takes GPUs and keeps them; all are ended afterwards."""
    with ExitStack() as stack:

        def start(count: int = 1, **environment: str) -> subprocess.Popen:
            process = subprocess.Popen([sys.executable, "-c", HOLD, str(count)], env=os.environ | environment, **PIPES)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def has(process: subprocess.Popen) -> list[str]:
    """Return what a process has taken, once it has."""
    return process.stdout.readline().strip().split(",")


def test_processes_at_once_never_have_a_gpu_in_common(machine, holders):
    started = [holders(count) for count in (1, 2, 1)]
    taken = [has(process) for process in started]
    assert [len(names) for names in taken] == [1, 2, 1]
    assert sorted(name for names in taken for name in names) == GPUS


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        *((None, GPUS), ("2,0", [GPUS[2], GPUS[0]]), ("1,9", GPUS[1:2]), ("-1", []), ("", [])),
        *((GPUS[1], GPUS[1:2]), ("MIG-1,MIG-0", ["MIG-1", "MIG-0"])),
    ],
    ids=["unset", "numbers", "beyond", "none", "empty", "uuid", "mig"],  # UUIDs have the process in them
)
def test_only_what_is_visible_is_taken(machine, monkeypatch, asked, expected):
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert gpus.visible() == expected


def test_more_than_there_are_is_left_to_those_who_need_them(machine, holders, tmp_path):
    assert has(holders(5)) == ["None"]
    assert has(holders(4)) == GPUS
    none = {"PATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "7"}  # nothing lists them
    assert (has(holders(1, **none)), has(holders(0, **none))) == (["7"], ["-1"])


@pytest.mark.parametrize(
    ("settings", "stage", "count"),
    [({"gpus": 4}, "train", 4), ({"gpus": 4}, "predict", 1), ({"gpus": 2, "device": "cpu"}, "train", 0)],
)
def test_a_stage_takes_what_it_needs_before_anything_looks_for_gpus(tmp_path, settings, stage, count):
    project(tmp_path, settings=settings)
    split = ["--split", "val"] if stage == "predict" else []
    done = python("-c", ASKED, *command(stage, RETINANET, *split)[3:], cwd=tmp_path)
    assert done.stderr.splitlines()[-1] == f"{count} False"


def test_no_process_of_a_killed_training_keeps_its_gpus(machine, tmp_path, monkeypatch):
    """What torchrun has started would train on by itself, on GPUs that others take meanwhile."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(GPUS[:2]))
    project(tmp_path, settings={"epochs": 500, "gpus": 2})
    with subprocess.Popen(command("train", RETINANET), cwd=tmp_path, **PIPES) as training:
        assert any("epoch 1/500" in line for line in training.stderr)
        ranks = psutil.Process(training.pid).children()
        assert [rank.environ()["CUDA_VISIBLE_DEVICES"] for rank in ranks] == [",".join(GPUS[:2])] * 2
        predict = command("predict", RETINANET, "--split", "val")
        with subprocess.Popen(predict, cwd=tmp_path, **PIPES) as waiting:
            assert "in use by other processes" in waiting.stderr.readline()
            training.kill()
            assert f"Taken: {GPUS[0]}" in waiting.stderr.readline()
            waiting.kill()
        _, alive = psutil.wait_procs(ranks, timeout=PATIENCE_SECONDS)
        for rank in alive:
            rank.kill()
        assert alive == []
