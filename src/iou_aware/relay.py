"""A cluster's request to end, passed on to the stage that it is meant for."""

import contextlib
import os
import signal
import threading
from pathlib import Path

import psutil

COMMAND = "iou-aware"


def relay_sigterm() -> None:
    """Pass SIGTERM on to the stages that this process starts, from now on, whatever else is done here when it comes.

    Where Slurm keeps track of processes by control groups, as on most clusters, its signals reach the first process of
    a job's step only. That is Snakemake, which waits for the stage to end; and the stage, a training that could save,
    would hear of nothing until it is killed. What is sent goes by the pipe that Python offers for this, as the handler
    of the signal is Snakemake's.
    """
    receiving, sending = os.pipe()
    os.set_blocking(sending, False)
    signal.set_wakeup_fd(sending, warn_on_full_buffer=False)
    threading.Thread(target=_pass_on, args=(receiving,), daemon=True).start()


def _pass_on(receiving: int) -> None:
    while numbers := os.read(receiving, 1):
        if numbers[0] == signal.SIGTERM:
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    if COMMAND in {Path(word).name for word in child.cmdline()}:
                        child.terminate()
