"""SIGTERM from a cluster, passed on to the stages that a job runs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

COMMAND = "iou-aware"


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
