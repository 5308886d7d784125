"""Shares the GPUs of one machine between processes: each takes GPUs that no other has, and sees only those.

A process takes a GPU by binding a socket to its UUID in Linux's abstract namespace. The kernel lets one process at a
time, of any user, have a name and frees it when that process ends, even by SIGKILL, so that no lock is left behind.
UUIDs stay the same whatever CUDA_VISIBLE_DEVICES or a scheduler makes of the numbers.
"""

import contextlib
import os
import random
import socket
import subprocess
import time
from collections.abc import Sequence

from iou_aware.common.messages import log

VISIBLE = "CUDA_VISIBLE_DEVICES"
_ANSWER_SECONDS = 60.0
_PAUSE_SECONDS = 1.0

# The sockets of this process. A forked process, such as one that loads images, uses no GPU and closes its copies.
_taken: list[socket.socket] = []
os.register_at_fork(after_in_child=lambda: [one.close() for one in _taken])


def take(count: int) -> None:
    """Take GPUs for the lifetime of this process, waiting until enough are free, and hide the others from CUDA.

    Must be called before the first import of a library that initialises CUDA, as MMEngine does. Takes none where fewer
    are visible than needed, or ``nvidia-smi`` lists none: the stage itself reports what is missing.

    Args:
        count: How many; 0 hides them all.
    """
    if count == 0:
        os.environ[VISIBLE] = "-1"
        return
    if _taken or "LOCAL_RANK" in os.environ:  # torchrun's processes use the GPUs of their parent
        return
    names = visible()
    if len(names) < count:
        return
    bound = _bind(names, count)
    if not bound:
        log.info("Waiting for %d of the GPUs %s: in use by other processes", count, ", ".join(names))
    while not bound:
        time.sleep(_PAUSE_SECONDS * random.uniform(1, 2))
        bound = _bind(names, count)
    _taken.extend(bound.values())
    os.environ[VISIBLE] = ",".join(bound)
    log.info("Taken: %s", os.environ[VISIBLE])


def visible() -> list[str]:
    """Return the UUIDs of the GPUs, or MIG instances, that CUDA would see.

    Entries of CUDA_VISIBLE_DEVICES are UUIDs, or numbers in the order of ``nvidia-smi``.
    """
    asked = os.environ.get(VISIBLE)
    if asked == "":
        return []
    if asked and asked.startswith(("GPU-", "MIG-")):
        return asked.split(",")
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader", *([f"--id={asked}"] if asked else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_ANSWER_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.split()


def _bind(names: Sequence[str], count: int) -> dict[str, socket.socket]:
    """Bind the first ``count`` free names; return nothing, with nothing bound, where there are too few."""
    bound: dict[str, socket.socket] = {}
    with contextlib.ExitStack() as opened:
        for name in names:
            one = opened.enter_context(socket.socket(socket.AF_UNIX))
            with contextlib.suppress(OSError):
                one.bind(f"\0iou-aware {name}")
                bound[name] = one
            if len(bound) == count:
                opened.pop_all()  # those of others, which are not bound here, close with their last reference
                return bound
    return {}
