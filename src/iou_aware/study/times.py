"""What the stages cost: time and memory, from the benchmark files that Snakemake writes for every job."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from iou_aware.errors import InputError
from iou_aware.study.experiment import Experiment
from iou_aware.study.needs import Needs

STAGES = (
    *("prepare", "train", "release", "predict", "evaluate", "collect", "table", "figures"),
    *("bootstrap", "premise", "gallery", "claims", "notebook", "report"),
)


@dataclass(frozen=True)
class Job:
    """One finished job.

    Attributes:
        start: when it started, in seconds since the epoch.
        end: when it ended.
        cpu: seconds of CPU time; 0 for one that ended before it was looked at.
        peak: most memory it held, in MiB (resident set size of the process and its children); 0 likewise.
        gpus: how many GPUs it had to itself.
    """

    start: float
    end: float
    cpu: float
    peak: float
    gpus: int


@dataclass(frozen=True)
class Cost:
    """The jobs of one stage together.

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
    needs = Needs(experiment)
    gpus = {"train": needs.training_gpus, "predict": needs.testing_gpus}
    jobs = {stage: [_job(file, gpus.get(stage, 0)) for file in _files(experiment, stage)] for stage in STAGES}
    if not any(jobs.values()):
        folder = experiment.paths.benchmark("train", "x").parents[1]
        raise InputError(
            f"{folder}: no benchmark files; expected those that snakemake writes as it runs {experiment.name}"
        )
    jobs["all"] = [job for of_stage in jobs.values() for job in of_stage]
    return {stage: _cost(of_stage) for stage, of_stage in jobs.items() if of_stage}


def print_times(experiment: Experiment) -> None:
    """Print the cost of every stage to standard output, as a table."""
    costs = stage_costs(experiment)
    print(f"{'stage':<10} {'jobs':>5} {'time':>9} {'CPU':>9} {'longest':>9} {'memory':>10}")
    for stage, cost in costs.items():
        times = " ".join(f"{clock(seconds):>9}" for seconds in (cost.wall, cost.cpu, cost.longest))
        print(f"{stage:<10} {cost.jobs:>5} {times} {cost.peak:>6.0f} MiB")
    print("time: while at least one of the jobs ran; longest and memory: of one job.")


def clock(seconds: float) -> str:
    """Return a duration as ``1:02:03`` or ``2:03``, rounded to seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _files(experiment: Experiment, stage: str) -> list[Path]:
    alone = experiment.paths.benchmark(stage)
    return sorted([*alone.parent.glob(alone.name), *(alone.parent / stage).glob("*.tsv")])


def _job(file: Path, gpus: int) -> Job:
    """Read a benchmark file, which is written as its job ends."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            row = next(csv.DictReader(lines, delimiter="\t"))
        seconds, cpu, peak = (_number(row[name]) for name in ("s", "cpu_time", "max_rss"))
    except (StopIteration, KeyError, ValueError) as fault:
        raise InputError(f"{file}: not a benchmark file of Snakemake ({fault!r}); remove it") from fault
    end = file.stat().st_mtime
    return Job(end - seconds, end, cpu, peak, gpus)


def _number(text: str) -> float:
    return 0.0 if text in ("NA", "-") else float(text)


def _cost(jobs: list[Job]) -> Cost:
    return Cost(
        jobs=len(jobs),
        wall=_covered((job.start, job.end) for job in jobs),
        cpu=sum(job.cpu for job in jobs),
        gpu=sum(job.gpus * (job.end - job.start) for job in jobs),
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
