"""Checkpoints that cannot be lost, and the one loader of weights, which runs nothing that a file holds.

A checkpoint is whole or absent. Its name holds how far the run had come and the start of its own SHA-256, so that
damage shows before the file is opened. The one before the newest is always kept.
"""

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from mmengine.registry import WEIGHT_INITIALIZERS

from iou_aware.common.errors import InputError
from iou_aware.common.files import sha256, writing
from iou_aware.training import state

logger = logging.getLogger(__name__)

NAME = re.compile(r"iteration_(?P<iteration>\d{8,})-(?P<digest>[0-9a-f]{16})\.pth")
KEPT = 2
# How PyTorch names what it refuses to import, in the middle of advice to trust the file.
FOREIGN = re.compile(r"GLOBAL (?P<name>\S+)")
# MMEngine tries again without safety what it cannot load with it; PyTorch refuses that, too, where this is set.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
# What weights of a backbone may hold beyond it, the classifier of ImageNet, and lack: BN's counters, which files from
# before PyTorch 0.4.1 do not have and only a cumulative average reads.
CLASSIFIER = "fc."
COUNTER = ".num_batches_tracked"


@dataclass(frozen=True, order=True)
class _Found:
    """A file that calls itself a checkpoint: after how many iterations, the start of its checksum."""

    iteration: int
    digest: str
    path: Path


class Checkpoints:
    """The checkpoints of one run under one config, in a folder that belongs to them alone."""

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, state: dict[str, Any], iteration: int) -> Path:
        """Write a checkpoint, read it back from the disk, and only then remove all but it and the one before.

        Args:
            state: Tensors in plain containers of plain values.
            iteration: How many steps the run has made.

        Raises:
            OSError: It could not be written, or the disk gave back something else; those before it are untouched.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / "unfinished.part"
        written = save(state, beside)
        if (found := sha256(beside)) != written:
            raise OSError(f"{beside}: wrote content of sha256 {written}, read back {found}; check the disk.")
        target = self.folder / f"iteration_{iteration:08d}-{written[:16]}.pth"
        beside.replace(target)
        _sync(self.folder)
        self.keep(KEPT)
        return target

    def load(self) -> tuple[dict[str, Any], Path] | None:
        """Return the newest undamaged checkpoint and its file; None where there is none, so that the run starts.

        A damaged one is named in the log, and the one before it is taken.

        Raises:
            InputError: All are damaged; or one is undamaged but no checkpoint, and is refused.
        """
        found = self._newest_first()
        for candidate in found:
            digest = sha256(candidate.path)[:16]
            if digest == candidate.digest:
                return load(candidate.path), candidate.path
            logger.warning(
                "%s is damaged: its sha256 starts with %s, expected %s. Trying the one before it.",
                candidate.path,
                digest,
                candidate.digest,
            )
        if found:
            raise InputError(
                f"{self.folder}: all {len(found)} checkpoints are damaged, the newest is {found[0].path.name}. "
                "Check the disk; remove the folder to start this run over."
            )
        return None

    def of_other_configs(self) -> list[Path]:
        """Return the run's checkpoints under other configs, which lie in folders beside this one."""
        beside = (Checkpoints(folder) for folder in self.folder.parent.glob("*") if folder != self.folder)
        return [found.path for checkpoints in beside for found in checkpoints._newest_first()]

    def keep(self, newest: int) -> None:
        """Remove all checkpoints but the ``newest``."""
        for candidate in self._newest_first()[newest:]:
            candidate.path.unlink(missing_ok=True)

    def _newest_first(self) -> list[_Found]:
        names = [(NAME.fullmatch(path.name), path) for path in self.folder.glob("*.pth")]
        return sorted((_Found(int(m["iteration"]), m["digest"], path) for m, path in names if m), reverse=True)


def save(content: Any, path: Path) -> str:
    """Write ``content`` as PyTorch does, flush it to the disk, and return the SHA-256 of what was handed to it."""
    with path.open("wb") as file:
        hashing = _Hashing(file)
        torch.save(content, hashing)
        file.flush()
        os.fsync(file.fileno())
        # Reading it back is to ask the disk, not the memory that the system keeps of what was written.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return hashing.digest.hexdigest()


def load(path: Path) -> Any:
    """Read a file of tensors and plain values onto the CPU; whatever else it holds is refused and not run.

    Raises:
        InputError: The file is missing, truncated, or holds something else than tensors and plain values.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as fault:
        raise InputError(f"{path} does not exist; expected a file of weights.") from fault
    except Exception as fault:  # PyTorch stumbles over damage in any way: IndexError, KeyError, AssertionError, ...
        named = FOREIGN.search(str(fault))
        if named:
            raise InputError(
                f"{path}: refused, nothing in it was run: it holds {named['name']}, more than tensors and plain "
                "values. Take it from a source you trust, or train again."
            ) from fault
        raise InputError(
            f"{path}: truncated, damaged or no PyTorch file ({type(fault).__name__}); nothing in it was run. Fetch "
            "it, or train again."
        ) from fault


def load_into(model: torch.nn.Module, path: Path, name: str | Path, backbone: bool = False) -> None:
    """Load a file of weights into a model: all of them, or none.

    Args:
        model: The model.
        path: The file, with a ``state_dict`` in it or one itself.
        name: What to call the model.
        backbone: Whether the file may hold a classifier as well, and lack BN's counters.

    Raises:
        InputError: The file holds more than weights, or those of another model.
    """
    content = load(path)
    found = content.get("state_dict", content) if isinstance(content, dict) else {}
    found = found if isinstance(found, dict) else {}
    expected = model.state_dict()
    faults = {
        "missing": [key for key in expected if key not in found and not (backbone and key.endswith(COUNTER))],
        "of another shape": [
            key for key in expected if key in found and getattr(found[key], "shape", None) != expected[key].shape
        ],
        "unknown": [key for key in found if key not in expected and not (backbone and str(key).startswith(CLASSIFIER))],
    }
    told = "; ".join(f"{what}: {len(keys)}, such as {keys[0]!r:.80}" for what, keys in faults.items() if keys)
    if told:
        raise InputError(f"{path}: not the weights of {name}: {told}.")
    model.load_state_dict(found, strict=False)


@WEIGHT_INITIALIZERS.register_module("Pretrained", force=True)
class Pretrained:
    """The initial weights of a module whose ``init_cfg`` names a file of them.

    In place of MMEngine's, which goes on with random weights where those of the file do not fit.

    Args:
        checkpoint: The file.
    """

    def __init__(self, checkpoint: str):
        self.path = Path(checkpoint)

    def __call__(self, module: torch.nn.Module) -> None:
        """Load the file; InputError as from ``load_into``."""
        load_into(module, self.path, type(module).__name__, backbone=True)


def save_weights(model: torch.nn.Module, classes: Sequence[str], path: Path) -> dict[str, torch.Tensor]:
    """Write a model's weights and the names of its classes, as MMDetection's tools read them; return the weights."""
    weights = state.weights(model)
    with writing(path) as beside:
        save({"meta": {"dataset_meta": {"classes": list(classes)}}, "state_dict": weights}, beside)
    return weights


class _Hashing:
    """A file to write to that keeps the checksum of all that passes."""

    def __init__(self, file: BinaryIO):
        self.file, self.digest = file, hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
