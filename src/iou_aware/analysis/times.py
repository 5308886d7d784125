"""What stages and runs cost: time, CPU, GPU and memory, from the benchmark files that Snakemake writes for every job.

Such a file knows of a job's last session only. What a training that was interrupted took before, its record knows.
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iou_aware.common.errors import InputError
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.layout import STAGES
from iou_aware.workflow.needs import Needs


@dataclass(frozen=True)
class Job:
    """One finished job.

    Attributes:
        start: when it started, in seconds since the epoch.
        end: when it ended.
        stage: what it did.
        name: of what, a run or a run and a split; empty where the stage has one job.
        cpu: seconds of CPU time; 0 for one that ended before it was looked at.
        peak: most memory it held, in MiB (resident set size of the process and its children); 0 likewise.
        gpu: seconds for which it had GPUs to itself, those of several together.
    """

    stage: str
    name: str
    start: float
    end: float
    cpu: float
    peak: float
    gpu: float


@dataclass(frozen=True)
class Cost:
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
    if not jobs:
        folder = experiment.paths.benchmark("train", "x").parents[1]
        raise InputError(
            f"{folder}: no benchmark files; expected those that snakemake writes as it runs {experiment.name}"
        )
    by_stage = {stage: [job for job in jobs if job.stage == stage] for stage in STAGES} | {"all": jobs}
    return {stage: _cost(of_stage) for stage, of_stage in by_stage.items() if of_stage}


def run_costs(experiment: Experiment) -> dict[str, Cost]:
    """Return the cost of every run: of its training, and of what was made of it on each split; see ``stage_costs``."""
    jobs = _jobs(experiment)
    by_run = {run: [job for job in jobs if f"{job.name}.".startswith(f"{run}.")] for run in experiment.runs}
    return {run: _cost(of_run) for run, of_run in by_run.items() if of_run}


def print_times(experiment: Experiment) -> None:
    """Print the cost of every stage and of every run to standard output, as two tables."""
    _print("stage", stage_costs(experiment))
    if runs := run_costs(experiment):
        print()
        _print("run", runs)
    print("time: while at least one of the jobs ran; longest and memory: of one job; CPU and GPU: hours of all.")


def _print(what: str, costs: Mapping[str, Cost]) -> None:
    width = max(10, *map(len, costs))
    print(f"{what:<{width}} {'jobs':>5} {'time':>9} {'CPU-h':>9} {'GPU-h':>9} {'longest':>9} {'memory':>10}")
    for name, cost in costs.items():
        shown = (clock(cost.wall), hours(cost.cpu), hours(cost.gpu), clock(cost.longest))
        print(f"{name:<{width}} {cost.jobs:>5} {' '.join(f'{text:>9}' for text in shown)} {cost.peak:>6.0f} MiB")


def hours(seconds: float) -> str:
    """Return a duration in hours, with three digits: ``0.0125``, ``3.75``, ``1230``; ``0`` for nothing."""
    value = float(f"{seconds / 3600:.3g}")
    return f"{value:.0f}" if value >= 100 or not value else f"{value:.{2 - math.floor(math.log10(value))}f}"


def clock(seconds: float) -> str:
    """Return a duration as ``1:02:03`` or ``2:03``, rounded to seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _jobs(experiment: Experiment) -> list[Job]:
    """Return all jobs that have finished, in the order of their stages."""
    needs = Needs(experiment)
    jobs = []
    for stage in STAGES:
        alone = experiment.paths.benchmark(stage)
        jobs += [_job(file, stage, "", {}, 0) for file in alone.parent.glob(alone.name)]
        for file in sorted((alone.parent / stage).glob("*.tsv")):
            run = next((run for run in experiment.runs if f"{file.stem}.".startswith(f"{run}.")), None)
            asked = {"train": needs.training_gpus(file.stem), "predict": needs.testing_gpus(file.stem)}.get(stage, 0)
            jobs.append(_job(file, stage, file.stem, _record(experiment, run), asked))
    return jobs


def _record(experiment: Experiment, run: str | None) -> dict[str, Any]:
    """Return the record of a run's training; empty where there is none yet."""
    file = None if run is None else experiment.paths.seal(run)
    return json.loads(file.read_text(encoding="utf-8")) if file and file.is_file() else {}


def _job(file: Path, stage: str, name: str, record: Mapping[str, Any], asked: int) -> Job:
    """Read a benchmark file, which is written as its job ends.

    Args:
        file: The file.
        stage: What the job did.
        name: Of what.
        record: Of its run's training; it knows where that ran, and for how long in all sessions together.
        asked: How many GPUs the experiment asks for; what counts where there is no record.
    """
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            row = next(csv.DictReader(lines, delimiter="\t"))
        seconds, cpu, peak = (_number(row[key]) for key in ("s", "cpu_time", "max_rss"))
    except (StopIteration, KeyError, ValueError) as fault:
        raise InputError(f"{file}: not a benchmark file of Snakemake ({fault!r}); remove it") from fault
    gpus, end, used = asked, file.stat().st_mtime, seconds
    if "device" in record and stage in ("train", "predict"):
        gpus = 0 if record["device"] == "cpu" else record["processes"] if stage == "train" else 1
    if stage == "train":
        used, cpu = max(seconds, record.get("seconds") or 0.0), max(cpu, record.get("cpu_seconds") or 0.0)
    return Job(stage, name, end - seconds, end, cpu, peak, gpus * used)


def _number(text: str) -> float:
    return 0.0 if text in ("NA", "-") else float(text)


def _cost(jobs: list[Job]) -> Cost:
    return Cost(
        jobs=len(jobs),
        wall=_covered((job.start, job.end) for job in jobs),
        cpu=sum(job.cpu for job in jobs),
        gpu=sum(job.gpu for job in jobs),
        longest=max(job.end - job.start for job in jobs),
        peak=max(job.peak for job in jobs),
    )


def _covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
