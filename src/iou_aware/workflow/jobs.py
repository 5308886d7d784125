"""How Snakemake treats the jobs of this workflow: which it tries again, with how much memory, and what they hear."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from iou_aware.common.messages import INTERRUPTED, TERMINATED, WRONG_INPUT, exit_status

COMMAND = "iou-aware"


def may_lack_memory(log: Path) -> bool:
    """Return whether the last attempt may have run out of memory: it ran, and was not asked to stop."""
    return log.is_file() and exit_status(log) not in (INTERRUPTED, TERMINATED)


def retry_no_wrong_input(*kinds: type) -> None:
    """Make Snakemake not retry a job whose stage found its input wrong.

    Args:
        kinds: Snakemake's classes of jobs, ``Job`` and ``GroupJob``, whose ``restart_times`` is the number of retries.
    """
    for kind in kinds:
        kind.restart_times = property(partial(_retries, kind.restart_times.fget))


def _retries(allowed: Callable[[Any], int], job: Any) -> int:
    """Return how often a job may be retried: never when its input is wrong, else as often as Snakemake allows it."""
    logs = filter(Path.is_file, map(Path, job.log))
    return 0 if any(exit_status(log) == WRONG_INPUT for log in logs) else allowed(job)


def relay_sigterm(scheduler: type) -> None:
    """Make Snakemake pass SIGTERM on to the stages that it runs, and do nothing else about it.

    Where Slurm tracks processes by control groups, as on most clusters, its signals reach only the first process of a
    job's step, which is Snakemake. By itself, Snakemake waits for the stage and then calls the job failed. The stage, a
    training that could save, would not know until it is killed; and one that finishes in time would lose its outputs.

    Args:
        scheduler: Snakemake's ``JobScheduler``, whose method ``exit_gracefully`` handles the signal.
    """
    scheduler.exit_gracefully = _pass_on


def _pass_on(*_: Any) -> None:
    for stage in _stages(psutil.Process()):
        with contextlib.suppress(psutil.Error):
            stage.terminate()


def _stages(process: psutil.Process) -> Iterator[psutil.Process]:
    """Yield the stages below a process, not their own children; a container's program may be in between."""
    with contextlib.suppress(psutil.Error):
        for child in process.children():
            if COMMAND in {Path(word).name for word in child.cmdline()}:
                yield child
            else:
                yield from _stages(child)
