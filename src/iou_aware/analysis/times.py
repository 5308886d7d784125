"""What stages and runs cost: time, CPU, GPU and memory, from the benchmark files that Snakemake writes for every job.

Such a file knows of a job's last session only. What a training that was interrupted took before, its record knows.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tabulate import tabulate
from tqdm import tqdm

from iou_aware.common.errors import InputError
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.layout import STAGES
from iou_aware.workflow.needs import Needs

# Of a job: what it did and of what (a run, or a run and a split), when it started and ended (seconds since the epoch),
# seconds of CPU time, MiB it held at most with its children (both 0 for one that ended before it was looked at), and
# seconds for which it had GPUs to itself, those of several together.
_JOB = ["stage", "name", "start", "end", "cpu", "peak", "gpu"]
# What costs are shown as.
COSTS = ("Jobs", "Time, h:m:s", "CPU-hours", "GPU-hours", "Longest job", "Memory of one job, MiB")


class Cost(NamedTuple):
    """Several jobs together, those of a stage or of a run.

    Attributes:
        jobs: how many there are.
        wall: seconds in which at least one of them ran.
        cpu: seconds of CPU time of all of them.
        gpu: seconds for which they had a GPU to themselves, those of several GPUs together.
        longest: seconds of the longest.
        peak: MiB of the one that held the most memory.
    """

    jobs: int
    wall: float
    cpu: float
    gpu: float
    longest: float
    peak: float


def stage_costs(experiment: Experiment) -> dict[str, Cost]:
    """Return the cost of every stage that has run, and of ``all`` of them.

    Raises:
        InputError: nothing has run yet, or a benchmark file is damaged.
    """
    jobs = _jobs(experiment)
    if jobs.empty:
        folder = experiment.paths.benchmark("train", "x").parents[1]
        raise InputError(
            f"{folder}: no benchmark files; expected those that snakemake writes as it runs {experiment.name}"
        )
    by_stage = {str(stage): _cost(part) for stage, part in jobs.groupby("stage", sort=False)}
    return by_stage | {"all": _cost(jobs)}


def run_costs(experiment: Experiment) -> dict[str, Cost]:
    """Return the cost of every run: of its training, and of what was made of it on each split; see ``stage_costs``."""
    jobs = _jobs(experiment)
    owners = jobs["name"].map(lambda name: _run_of(name, experiment.runs))
    return {run: _cost(jobs[owners == run]) for run in experiment.runs if (owners == run).any()}


def print_times(experiment: Experiment) -> None:
    """Print the cost of every stage and of every run to standard output, as two tables."""
    for what, costs in {"Stage": stage_costs(experiment), "Run": run_costs(experiment)}.items():
        if costs:
            rows, align = cost_rows(costs), ("left", *["right"] * len(COSTS))
            print(tabulate(rows, [what, *COSTS], "plain", disable_numparse=True, colalign=align), end="\n\n")
    print("Time: while at least one of the jobs ran. CPU-hours and GPU-hours: of all jobs.")


def cost_rows(costs: Mapping[str, Cost]) -> list[list[str]]:
    """Return costs as rows of text: whose they are, and a column for each of ``COSTS``."""
    return [
        [
            *(name, str(cost.jobs), clock(cost.wall), hours(cost.cpu), hours(cost.gpu)),
            *(clock(cost.longest), f"{cost.peak:.0f}"),
        ]
        for name, cost in costs.items()
    ]


def hours(seconds: float) -> str:
    """Return a duration in hours, with three digits: ``0.0125``, ``3.75``, ``1230``; ``0`` for nothing."""
    digits = np.format_float_positional(seconds / 3600, 3, unique=False, fractional=False)
    return digits.rstrip(".") if seconds else "0"


def clock(seconds: float) -> str:
    """Return a duration as ``1:02:03`` or ``2:03``, rounded to seconds."""
    return tqdm.format_interval(round(seconds)).removeprefix("0")


def _jobs(experiment: Experiment) -> pd.DataFrame:
    """Return all jobs that have finished, in the order of their stages."""
    needs = Needs(experiment)
    jobs = []
    for stage in STAGES:
        alone = experiment.paths.benchmark(stage)
        jobs += [_job(file, stage, "", {}, 0) for file in alone.parent.glob(alone.name)]
        for file in sorted((alone.parent / stage).glob("*.tsv")):
            run = _run_of(file.stem, experiment.runs)
            asked = {"train": needs.training_gpus(file.stem), "predict": needs.testing_gpus(file.stem)}.get(stage, 0)
            seal = experiment.paths.seal(run) if run else None
            record = json.loads(seal.read_text(encoding="utf-8")) if seal and seal.is_file() else {}
            jobs.append(_job(file, stage, file.stem, record, asked))
    return pd.DataFrame(jobs, columns=_JOB)


def _run_of(job: str, runs: Iterable[str]) -> str | None:
    """Return the run that a job's name begins with."""
    return next((run for run in runs if f"{job}.".startswith(f"{run}.")), None)


def _job(file: Path, stage: str, name: str, record: Mapping[str, Any], asked: int) -> tuple[Any, ...]:
    """Read a benchmark file, which is written as its job ends; return the values of ``_JOB``.

    Args:
        file: The file.
        stage: What the job did.
        name: Of what.
        record: Of its run's training; it knows where that ran, and for how long in all sessions together.
        asked: How many GPUs the experiment asks for; what counts where there is no record.
    """
    try:
        row = pd.read_csv(file, sep="\t", na_values=["NA", "-"]).fillna(0.0).iloc[0]
        seconds, cpu, peak = (float(row[key]) for key in ("s", "cpu_time", "max_rss"))
    except (IndexError, KeyError, ValueError) as fault:
        raise InputError(f"{file}: not a benchmark file of Snakemake ({fault!r}); remove it") from fault
    gpus, end, used = asked, file.stat().st_mtime, seconds
    if "device" in record and stage in ("train", "predict"):
        gpus = 0 if record["device"] == "cpu" else record["processes"] if stage == "train" else 1
    if stage == "train":
        used, cpu = max(seconds, record.get("seconds") or 0.0), max(cpu, record.get("cpu_seconds") or 0.0)
    return stage, name, end - seconds, end, cpu, peak, gpus * used


def _cost(jobs: pd.DataFrame) -> Cost:
    """Return what jobs cost together."""
    ordered = jobs.sort_values("start")
    # Of each only what lies after the end of all that started before it: overlapping jobs count once.
    reached = ordered["end"].cummax().shift(fill_value=-np.inf)
    covered = (ordered["end"] - np.maximum(ordered["start"], reached)).clip(lower=0)
    return Cost(
        jobs=len(jobs),
        wall=covered.sum(),
        cpu=jobs["cpu"].sum(),
        gpu=jobs["gpu"].sum(),
        longest=(jobs["end"] - jobs["start"]).max(),
        peak=jobs["peak"].max(),
    )
