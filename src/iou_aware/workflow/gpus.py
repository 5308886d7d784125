"""GPUs of one machine, shared out: a process takes some that no other has, and it and its children see no others.

A GPU is taken by binding a socket to its name in Linux's abstract namespace. The kernel lets one process at a time have
a name, whoever its user is, and frees it when that process ends, however it ends: no lock is ever left behind. Names
are UUIDs, which stay the same whatever CUDA_VISIBLE_DEVICES or a scheduler makes of the numbers.
"""

import errno
import logging
import os
import random
import re
import socket
import subprocess
import time
from collections.abc import Sequence

logger = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
_LISTED = re.compile(r"^(?P<instance> *)\S.*\(UUID: (?P<uuid>[^)]+)\)", re.MULTILINE)
_ANSWER_SECONDS = 60.0
_PAUSE_SECONDS = 1.0

# What this process has taken. A process forked from it, such as one that loads images, computes on none of them.
_taken: list[socket.socket] = []
os.register_at_fork(after_in_child=lambda: [one.close() for one in _taken])


def take(count: int) -> None:
    """Take GPUs for as long as this process lives, waiting until enough are free, and hide the others from CUDA.

    Must come before the first import of a library that asks for GPUs, as MMEngine does when it is imported: what CUDA
    sees is settled by then. Where fewer are visible than asked for, or ``nvidia-smi`` does not list them, nothing is
    taken; whoever computes tells what is missing.

    Args:
        count: How many; 0 hides them all.
    """
    if count == 0:
        os.environ[VISIBLE] = "-1"
        return
    if _taken or "LOCAL_RANK" in os.environ:  # torchrun's processes have what the one that started them has taken
        return
    names = visible()
    if len(names) < count:
        return
    said = False
    while not (found := _free(names, count)):
        if not said:
            logger.info("Waiting for %d of the GPUs %s: others compute there", count, ", ".join(names))
            said = True
        time.sleep(_PAUSE_SECONDS * random.uniform(1, 2))
    _taken.extend(found.values())
    os.environ[VISIBLE] = ",".join(found)
    logger.info("Taken: %s", os.environ[VISIBLE])


def visible() -> list[str]:
    """Return the UUIDs of the GPUs that CUDA would see, MIG instances in the place of a GPU that is parted into them.

    Entries of CUDA_VISIBLE_DEVICES may be numbers, in the order of ``nvidia-smi``, or the beginnings of UUIDs; as for
    CUDA, the first that is no GPU ends the list.
    """
    gpus = _listed()
    asked = os.environ.get(VISIBLE)
    if asked is None:
        return [name for names in gpus.values() for name in names]
    numbered = list(gpus.values())
    found: dict[str, None] = {}
    for entry in filter(None, map(str.strip, asked.split(","))):
        if entry.isdecimal():
            names = numbered[int(entry)] if int(entry) < len(numbered) else []
        else:
            instances = [name for names in gpus.values() for name in names if name.startswith(entry)]
            names = instances or next((names for gpu, names in gpus.items() if gpu.startswith(entry)), [])
        if not names:
            break
        found |= dict.fromkeys(names)
    return list(found)


def _listed() -> dict[str, list[str]]:
    """Return what there is to compute on for each GPU of the machine: its MIG instances, else the GPU itself."""
    try:
        command = ["nvidia-smi", "-L"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_ANSWER_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return {}
    gpus: dict[str, list[str]] = {}
    for line in _LISTED.finditer(done.stdout):
        if line["instance"]:
            gpus[next(reversed(gpus))].append(line["uuid"])
        else:
            gpus[line["uuid"]] = []
    return {gpu: instances or [gpu] for gpu, instances in gpus.items()}


def _free(names: Sequence[str], count: int) -> dict[str, socket.socket] | None:
    """Bind the first names that are free; None, and nothing bound, where there are too few."""
    bound: dict[str, socket.socket] = {}
    for name in names:
        one = socket.socket(socket.AF_UNIX)
        try:
            one.bind(f"\0iou-aware {name}")
        except OSError as fault:
            one.close()
            if fault.errno != errno.EADDRINUSE:
                raise
            continue
        bound[name] = one
        if len(bound) == count:
            return bound
    for one in bound.values():
        one.close()
    return None
