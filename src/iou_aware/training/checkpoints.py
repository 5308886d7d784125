"""Checkpoints of the complete state of a training.

A checkpoint is whole or absent. Its name has the number of steps and the start of its own SHA-256, so that damage shows
before the file is opened. The one before the newest is always kept. Each run has a folder of checkpoints per config.
"""

import hashlib
import io
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object

from iou_aware.common.files import sha256, write_bytes
from iou_aware.common.messages import InputError, log
from iou_aware.training import weights

NAME = re.compile(r"iteration_\d{8}-(?P<digest>[0-9a-f]{16})\.pth")


def save(folder: Path, state: dict[str, Any], iteration: int) -> Path:
    """Write a checkpoint, then remove all older ones but one.

    Args:
        folder: The run's checkpoints under its config.
        state: Tensors in plain containers of plain values.
        iteration: How many steps the run has made.

    Raises:
        OSError: It could not be written; older checkpoints are untouched.
    """
    content = io.BytesIO()
    torch.save(state, content)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    target = folder / f"iteration_{iteration:08d}-{digest[:16]}.pth"
    write_bytes(target, content.getbuffer())
    keep(folder, newest=2)
    return target


def load(folder: Path) -> tuple[dict[str, Any], Path] | None:
    """Return the newest undamaged checkpoint and its file; None where the run has no checkpoint.

    A damaged one is named in the log and skipped.

    Raises:
        InputError: All are damaged, or one holds more than tensors and plain values.
    """
    newest_first = _newest_first(folder)
    for path in newest_first:
        digest, expected = sha256(path)[:16], NAME.fullmatch(path.name)["digest"]
        if digest == expected:
            return weights.load(path), path
        log.warning(
            "%s is damaged: its sha256 starts with %s, expected %s. Trying the one before it.", path, digest, expected
        )
    if newest_first:
        raise InputError(
            f"{folder}: all {len(newest_first)} checkpoints are damaged, the newest is {newest_first[0].name}. "
            "Check the disk; remove the folder to start this run over."
        )
    return None


def of_other_configs(folder: Path) -> list[Path]:
    """Return the run's checkpoints under other configs."""
    return [path for beside in folder.parent.glob("*") if beside != folder for path in _newest_first(beside)]


def keep(folder: Path, newest: int) -> None:
    """Remove all checkpoints but the ``newest``."""
    for path in _newest_first(folder)[newest:]:
        path.unlink(missing_ok=True)


def capture(runner, iteration: int) -> dict[str, Any]:
    """Return the complete state of training, of all processes, after so many steps; all must call this together."""
    states = {name: part.state_dict() for name, part in _parts(runner).items()}
    return states | {"iteration": iteration, "generators": all_gather_object(_generators())}


def restore(runner, state: dict[str, Any]) -> None:
    """Put a captured state back into a runner that has built everything but not started."""
    for name, part in _parts(runner).items():
        part.load_state_dict(state[name])
    loop = runner.train_loop
    loop._iter, loop._epoch = state["iteration"], state["iteration"] // len(loop.dataloader)
    _set_generators(state["generators"][runner.rank])


def _parts(runner) -> dict[str, Any]:
    """Return the parts of a runner that have a state, by their names in a checkpoint."""
    schedulers = {f"scheduler {place}": one for place, one in enumerate(runner.param_schedulers or [])}
    model = getattr(runner.model, "module", runner.model)  # the detector, not what distributes it
    return {"model": model, "optimizer": runner.optim_wrapper, "progress": runner.progress} | schedulers


def _newest_first(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.pth") if NAME.fullmatch(path.name)), reverse=True)


def _generators() -> dict[str, Any]:
    """Return the state of every random number generator of this process."""
    name, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (name, keys.tolist(), *rest),
        "python": random.getstate(),
    }


def _set_generators(saved: dict[str, Any]) -> None:
    torch.set_rng_state(saved["torch"])
    if saved["cuda"]:
        torch.cuda.set_rng_state_all(saved["cuda"])
    np.random.set_state(saved["numpy"])
    random.setstate(saved["python"])
