"""A training killed by SIGKILL at random moments of its whole life ends as one that was left alone, to the last bit.

Each disturbed run is killed and started again several times, at moments drawn from its whole life: while it imports,
trains, writes a checkpoint, resumes, or writes what a finished run consists of; every other kill waits for a file that
is being written. Run by `make test-kill`; it takes about five minutes of one core. The moments are drawn anew each
time; the seed is printed, and `KILL_SEED=N make test-kill` draws the same.
"""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

from builders.training import ENVIRONMENT, IOU_AWARE, command, outcome, project, saved

from iou_aware.common import seal
from iou_aware.common.files import sha256
from iou_aware.experiment.experiment import Experiment

KILLS = int(os.environ.get("KILLS", "24"))
KILLS_PER_RUN = 3
LONGEST_WRITE_S = 0.003


def fresh(folder: Path) -> Experiment:
    return project(folder, settings={"epochs": 30, "device": "cpu"})


def start(experiment: Experiment) -> subprocess.Popen:
    log = (experiment.root / "train.log").open("a")
    return subprocess.Popen(command("train", IOU_AWARE), cwd=experiment.root, env=ENVIRONMENT, stderr=log)


def files_in_writing(experiment: Experiment) -> set[Path]:
    """Return the files that stand beside their targets until they are whole."""
    folders = (experiment.paths.checkpoints(IOU_AWARE), experiment.paths.run_folder(IOU_AWARE))
    return {path for folder in folders for path in folder.rglob("*.part")}


def strike(experiment: Experiment, draw: random.Random, life: float, in_writing: bool) -> bool:
    """Start a training and kill it at a random moment; return False if it had finished before."""
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
    assert process.wait() in (0, -signal.SIGKILL), (experiment.root / "train.log").read_text()
    return process.returncode != 0


def check_remains(experiment: Experiment, weights: str, history: str) -> None:
    """Hold what a killed run left against the contract: checkpoints whole, results whole or absent."""
    for path in saved(experiment, IOU_AWARE):
        assert path.stem.partition("-")[2] == sha256(path)[:16]
    folder = experiment.paths.run_folder(IOU_AWARE)
    assert not (folder / "weights.pth").exists() or sha256(folder / "weights.pth") == weights
    assert not (folder / "history.csv").exists() or (folder / "history.csv").read_text() == history
    if experiment.paths.seal(IOU_AWARE).exists():
        seal.verify(folder)


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(tmp_path):
    undisturbed, began = fresh(tmp_path / "undisturbed"), time.monotonic()
    assert start(undisturbed).wait() == 0
    expected, life = outcome(undisturbed, IOU_AWARE), time.monotonic() - began
    seed = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))
    draw = random.Random(seed)
    print(f"\nKILL_SEED={seed}; an undisturbed run takes {life:.1f} s")
    kills = runs = 0
    while kills < KILLS:
        experiment = fresh(tmp_path / f"run{runs}")
        runs += 1
        for _ in range(KILLS_PER_RUN):
            if not strike(experiment, draw, life, in_writing=kills % 2 == 1):
                break
            kills += 1
            check_remains(experiment, *expected)
        assert start(experiment).wait() == 0, (experiment.root / "train.log").read_text()
        seal.verify(experiment.paths.run_folder(IOU_AWARE))
        assert outcome(experiment, IOU_AWARE) == expected
    print(f"{kills} kills; {runs} of {runs} runs ended with the bits of the undisturbed one")
