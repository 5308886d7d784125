"""Checkpoints of the complete state of a training.

A checkpoint is whole or absent. Its name has the number of steps and the start of its own SHA-256, so that damage shows
before the file is opened. The one before the newest is always kept. Each run has a folder of checkpoints per config.
"""

import hashlib
import io
import logging
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object
from mmengine.model import is_model_wrapper

from iou_aware.common.errors import InputError
from iou_aware.common.files import sha256, write_bytes
from iou_aware.training import weights

logger = logging.getLogger(__name__)

NAME = re.compile(r"iteration_(?P<iteration>\d{8,})-(?P<digest>[0-9a-f]{16})\.pth")
KEPT = 2


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
    keep(folder, KEPT)
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
        logger.warning(
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


def capture(runner, epoch: int, batch: int) -> dict[str, Any]:
    """Return the complete state of training, of all processes; all of them must call this together.

    Args:
        runner: The runner.
        epoch: How many epochs are complete.
        batch: How many steps of the epoch after them have been made.
    """
    return {
        "epoch": epoch,
        "batch": batch,
        "model": weights.of(runner.model),
        "optimizer": runner.optim_wrapper.state_dict(),
        "schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers or []],
        "progress": runner.progress.state_dict(),
        "generators": all_gather_object(_generators()),
    }


def restore(runner, state: dict[str, Any]) -> None:
    """Put a captured state back into a runner that has built everything but not started."""
    loop = runner.train_loop
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    model.load_state_dict(state["model"], strict=True)
    runner.optim_wrapper.load_state_dict(state["optimizer"])
    for scheduler, saved in zip(runner.param_schedulers or [], state["schedulers"], strict=True):
        scheduler.load_state_dict(saved)
    runner.progress.load_state_dict(state["progress"])
    loop.start(state["epoch"], state["batch"])
    _set_generators(state["generators"][runner.rank])


def _newest_first(folder: Path) -> list[Path]:
    named = [path for path in folder.glob("*.pth") if NAME.fullmatch(path.name)]
    return sorted(named, key=lambda path: (int(NAME.fullmatch(path.name)["iteration"]), path.name), reverse=True)


def _generators() -> dict[str, Any]:
    """Return the state of every random number generator of this process."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)),
        "python": random.getstate(),
    }


def _set_generators(saved: dict[str, Any]) -> None:
    torch.set_rng_state(saved["torch"])
    if saved["cuda"]:
        torch.cuda.set_rng_state_all(saved["cuda"])
    name, keys, *rest = saved["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    random.setstate(saved["python"])
