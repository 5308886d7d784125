"""A cluster's request to end, passed on to the stage that it is meant for."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

COMMAND = "iou-aware"


def relay_sigterm(scheduler: type) -> None:
    """Let Snakemake pass SIGTERM on to the stages that it runs, and make nothing of it itself, from now on.

    Where Slurm keeps track of processes by control groups, as on most clusters, its signals reach the first process of
    a job's step only. That is Snakemake, which by itself waits for the stage and then calls the job failed, whatever
    became of it: the stage, a training that could save, would hear of nothing until it is killed, and one that finishes
    within the notice would lose its outputs.

    Args:
        scheduler: Snakemake's ``JobScheduler``, whose method ``exit_gracefully`` takes the signal.
    """
    scheduler.exit_gracefully = _pass_on


def _pass_on(*_: Any) -> None:
    for stage in _stages(psutil.Process()):
        with contextlib.suppress(psutil.Error):
            stage.terminate()


def _stages(process: psutil.Process) -> Iterator[psutil.Process]:
    """Yield the stages below a process, without what they started; a container's program may stand in between."""
    with contextlib.suppress(psutil.Error):
        for child in process.children():
            if COMMAND in {Path(word).name for word in child.cmdline()}:
                yield child
            else:
                yield from _stages(child)
