"""What stages and runs cost: time, CPU, GPU and memory, from the benchmark files that Snakemake writes for every job.

Such a file knows of a job's last session only. What a training that was interrupted took before, its record knows.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate
from tqdm import tqdm

from iou_aware.common.messages import InputError
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.layout import STAGES
from iou_aware.workflow.needs import Needs

# What costs are shown as.
COSTS = ("Jobs", "Time, h:m:s", "CPU-hours", "GPU-hours", "Longest job", "Memory of one job, MiB")


def costs(experiment: Experiment) -> dict[str, pd.DataFrame]:
    """Return the cost of every stage that has run and of ``all`` of them, and the cost of every run.

    Returns:
        By ``Stage`` and ``Run`` (training, and what was made of it on each split), a line for each stage or run:
        ``jobs``, how many there are; ``wall``, seconds in which at least one of them ran; ``cpu``, seconds of CPU time
        of all; ``gpu``, seconds for which they had a GPU to themselves, those of several GPUs together; ``longest``,
        seconds of the longest; ``peak``, MiB of the one that held the most memory.

    Raises:
        InputError: Nothing has run yet, or a benchmark file is damaged.
    """
    jobs = _jobs(experiment)
    stages = pd.concat([_costs(jobs, "stage"), _costs(jobs.assign(stage="all"), "stage")])
    return {"Stage": stages, "Run": _costs(jobs, "run")}


def print_times(experiment: Experiment) -> None:
    """Print the cost of every stage and of every run to standard output, as two tables."""
    for what, table in costs(experiment).items():
        if len(table):
            align = ("left", *["right"] * len(COSTS))
            text = tabulate(cost_rows(table), [what, *COSTS], "plain", disable_numparse=True, colalign=align)
            print(text, end="\n\n")
    print("Time: while at least one of the jobs ran. CPU-hours and GPU-hours: of all jobs.")


def cost_rows(table: pd.DataFrame) -> list[list[str]]:
    """Return costs as rows of text: whose they are, and a column for each of ``COSTS``."""
    return [
        [
            *(cost.Index, str(cost.jobs), clock(cost.wall), hours(cost.cpu), hours(cost.gpu)),
            *(clock(cost.longest), f"{cost.peak:.0f}"),
        ]
        for cost in table.itertuples()
    ]


def hours(seconds: float) -> str:
    """Return a duration in hours, with three digits: ``0.0125``, ``3.75``, ``1230``; ``0`` for nothing."""
    digits = np.format_float_positional(seconds / 3600, 3, unique=False, fractional=False)
    return digits.rstrip(".") if seconds else "0"


def clock(seconds: float) -> str:
    """Return a duration as ``1:02:03`` or ``2:03``, rounded to seconds."""
    return tqdm.format_interval(round(seconds)).removeprefix("0")


def _costs(jobs: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return what jobs cost together, by their stage or their run."""
    grouped = jobs.sort_values("start").groupby(by, observed=True)
    table = grouped.agg(cpu=("cpu", "sum"), gpu=("gpu", "sum"), longest=("seconds", "max"), peak=("peak", "max"))
    return table.assign(jobs=grouped.size(), wall=[_covered(part) for _, part in grouped])


def _covered(jobs: pd.DataFrame) -> float:
    """Return the seconds in which at least one of the jobs ran, which are in the order of their start."""
    # Of each only what lies after the end of all that started before it: overlapping jobs count once.
    reached = jobs["end"].cummax().shift(fill_value=-np.inf)
    return (jobs["end"] - np.maximum(jobs["start"], reached)).clip(lower=0).sum()


def _jobs(experiment: Experiment) -> pd.DataFrame:
    """Return all jobs that have finished: ``stage``, ``run``, and the values of ``_job``."""
    needs, paths, jobs = Needs(experiment), experiment.paths, []
    for stage in STAGES:
        alone = paths.benchmark(stage)
        for file in [*alone.parent.glob(alone.name), *(alone.parent / stage).glob("*.tsv")]:
            # A job of a run is called by its name, or by its name and the split.
            run = next((run for run in experiment.runs if f"{file.stem}.".startswith(f"{run}.")), None)
            record, asked = {}, 0
            if run and paths.seal(run).is_file():
                record = json.loads(paths.seal(run).read_text(encoding="utf-8"))
            if run and stage in ("train", "predict"):
                asked = needs.training_gpus(run) if stage == "train" else needs.testing_gpus(run)
            jobs.append({"stage": stage, "run": run} | _job(file, stage, record, asked))
    if not jobs:
        folder = paths.benchmark("train").parent
        raise InputError(
            f"{folder}: no benchmark files; expected those that snakemake writes as it runs {experiment.name}"
        )
    # Groups come in the order of their categories.
    orders = {"stage": pd.CategoricalDtype(STAGES), "run": pd.CategoricalDtype(list(experiment.runs))}
    return pd.DataFrame(jobs).astype(orders)


def _job(file: Path, stage: str, record: dict[str, Any], asked: int) -> dict[str, float]:
    """Read a benchmark file, which is written as its job ends.

    Args:
        file: The file.
        stage: What the job did.
        record: Of its run's training; it knows where that ran, and for how long in all sessions together.
        asked: How many GPUs the experiment asks for; what counts where there is no record.

    Returns:
        ``start`` and ``end`` (seconds since the epoch), ``seconds``, ``cpu`` (seconds) and ``peak`` (MiB), both 0 for
        a job that ended before it was looked at, and ``gpu`` (seconds, those of several GPUs together).
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
    return {"start": end - seconds, "end": end, "seconds": seconds, "cpu": cpu, "peak": peak, "gpu": gpus * used}
