"""A training killed by SIGKILL at random moments of its whole life ends as one that was left alone, to the last bit.

Each disturbed run is killed and started again several times, at moments drawn from its whole life: while it imports,
trains, writes a checkpoint, resumes, or writes what a finished run consists of; every other kill waits for a file that
is being written. Run by `make test-kill`; it takes about five minutes of one core. The moments are drawn anew each
time; the seed is printed, and `KILL_SEED=N make test-kill` draws the same.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders.training import ENVIRONMENT, IOU_AWARE, command, project

from iou_aware.common import seal
from iou_aware.common.files import sha256
from iou_aware.evaluation.evaluate import evaluate
from iou_aware.experiment.experiment import Experiment
from iou_aware.inference.predict import predict

KILLS = int(os.environ.get("KILLS", "24"))
KILLS_PER_RUN = 3
EPOCHS = 30
STEPS = 5  # per epoch: 18 images, 4 at a time
LONGEST_WRITE_S = 0.003


@dataclass(frozen=True)
class Outcome:
    """Everything about a run that must not depend on how it came about."""

    weights: str
    history: str
    metrics: dict

    @classmethod
    def of(cls, experiment: Experiment) -> "Outcome":
        record = seal.verify(experiment.paths.run_folder(IOU_AWARE))
        predict(experiment, IOU_AWARE, "val")
        metrics = json.loads(evaluate(experiment, IOU_AWARE, "val").read_text())["rules"]
        return cls(record["weights_sha256"], experiment.paths.history(IOU_AWARE).read_text(), metrics)


def fresh(folder: Path) -> Experiment:
    return project(folder, settings={"epochs": EPOCHS, "device": "cpu"})


def start(experiment: Experiment) -> subprocess.Popen:
    log = (experiment.root / "train.log").open("a")
    return subprocess.Popen(command(experiment, "train", IOU_AWARE), cwd=experiment.root, env=ENVIRONMENT, stderr=log)


def files_in_writing(experiment: Experiment) -> set[tuple[Path, int]]:
    """Return the files, and when they were last written to, that stand beside their targets until they are whole."""
    found = set()
    for folder in (experiment.paths.checkpoints(IOU_AWARE), experiment.paths.run_folder(IOU_AWARE)):
        for path in folder.rglob("*.part"):
            with contextlib.suppress(FileNotFoundError):
                found.add((path, path.stat().st_mtime_ns))
    return found


def strike(experiment: Experiment, draw: random.Random, life: float, in_writing: bool) -> str | None:
    """Start a training and kill it at a random moment; say where it was, or None if it had finished before."""
    left_behind = files_in_writing(experiment)
    moment, later = time.monotonic() + draw.uniform(0, life), draw.uniform(0, LONGEST_WRITE_S)
    process = start(experiment)
    while process.poll() is None and time.monotonic() < moment:
        time.sleep(0.001)
    if in_writing:
        while process.poll() is None and not files_in_writing(experiment) - left_behind:
            pass
        time.sleep(later)
    process.send_signal(signal.SIGKILL)
    if process.wait() == 0:
        return None
    assert process.returncode == -signal.SIGKILL, (experiment.root / "train.log").read_text()
    if files_in_writing(experiment) - left_behind:
        return "in writing a file"
    return "in finishing" if experiment.paths.weights(IOU_AWARE).exists() else "elsewhere"


def epochs_saved(experiment: Experiment) -> int:
    """Return how many epochs the newest checkpoint has."""
    names = (path.name for path in experiment.paths.checkpoints(IOU_AWARE).rglob("iteration_*.pth"))
    return max((int(name.removeprefix("iteration_").partition("-")[0]) for name in names), default=0) // STEPS


def check_remains(experiment: Experiment, expected: Outcome) -> None:
    """Hold what a killed run left against the contract: checkpoints whole, results whole or absent."""
    for path in experiment.paths.checkpoints(IOU_AWARE).rglob("iteration_*.pth"):
        assert path.stem.partition("-")[2] == sha256(path)[:16]
    weights, history = experiment.paths.weights(IOU_AWARE), experiment.paths.history(IOU_AWARE)
    assert not weights.exists() or sha256(weights) == expected.weights
    assert not history.exists() or history.read_text() == expected.history
    if experiment.paths.seal(IOU_AWARE).exists():
        seal.verify(experiment.paths.run_folder(IOU_AWARE))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Outcome, float]:
    """The outcome of a run that was left alone, and how long it took in seconds."""
    experiment = fresh(tmp_path_factory.mktemp("undisturbed"))
    began = time.monotonic()
    assert start(experiment).wait() == 0
    life = time.monotonic() - began
    return Outcome.of(experiment), life


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(undisturbed, tmp_path):
    expected, life = undisturbed
    seed = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))
    draw = random.Random(seed)
    print(f"\nKILL_SEED={seed}; an undisturbed run takes {life:.1f} s and has the weights {expected.weights[:16]}")
    struck, runs = [], 0
    while len(struck) < KILLS:
        experiment = fresh(tmp_path / f"run{runs}")
        runs += 1
        for _ in range(KILLS_PER_RUN):
            place = strike(experiment, draw, life, in_writing=len(struck) % 2 == 1)
            if place is None:
                break
            struck.append(place)
            saved = epochs_saved(experiment)
            print(f"  run {runs}: kill {len(struck)} {place}, {saved} of {EPOCHS} epochs saved", flush=True)
            check_remains(experiment, expected)
        assert start(experiment).wait() == 0, (experiment.root / "train.log").read_text()
        assert Outcome.of(experiment) == expected
    places = ", ".join(f"{count} {place}" for place, count in Counter(struck).most_common())
    print(f"{len(struck)} kills ({places}); {runs} of {runs} runs ended with the bits of the undisturbed one")
