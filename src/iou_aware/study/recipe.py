"""A recipe's length and images per step, read from ``configs/schedules`` without importing MMDetection or PyTorch."""

import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from iou_aware.errors import InputError
from iou_aware.study.run import Run


@dataclass(frozen=True)
class Recipe:
    """How long a recipe trains, and on how many images at a time.

    Attributes:
        epochs: passes over the training split.
        batch_size: images per step, over all GPUs.
        batch_sizes: exceptions to it, each of a ``batch_size`` and the values that a run must have for it.
    """

    epochs: int
    batch_size: int
    batch_sizes: tuple[Mapping[str, Any], ...] = ()

    @staticmethod
    def load(file: Path) -> "Recipe":
        """Read a schedule, a Python file as MMEngine reads them, with the bases that it starts from.

        Raises:
            InputError: the file is missing or broken, or says neither of the two.
        """
        content = _content(file)
        try:
            epochs, batch_size = content["train_cfg"]["max_epochs"], content["train_dataloader"]["batch_size"]
        except KeyError as fault:
            raise InputError(f"{file}: the key {fault} is missing, also in its bases; a recipe needs it.") from fault
        return Recipe(epochs, batch_size, tuple(content.get("batch_sizes", ())))

    def images_per_step(self, run: Run, settings: Mapping[str, Any]) -> int:
        """Return how many images a run's steps see over all GPUs."""
        fitting = (
            entry["batch_size"]
            for entry in self.batch_sizes
            if all(getattr(run, key) == value for key, value in entry.items() if key != "batch_size")
        )
        return settings.get("batch_size") or next(fitting, self.batch_size)

    def passes(self, settings: Mapping[str, Any]) -> int:
        """Return how many epochs are trained."""
        return settings.get("epochs") or self.epochs


def _content(file: Path) -> dict[str, Any]:
    """Return the assignments of a config file over those of its bases; as much of MMEngine's merging as this needs."""
    try:
        own = runpy.run_path(str(file))
    except Exception as fault:  # A config file is a program, and may raise whatever it likes.
        raise InputError(f"{file}: cannot be read as a config ({fault}); a recipe needs it.") from fault
    bases = own.get("_base_", [])
    content: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        content |= _content(_place(file, base))
    return content | {key: value for key, value in own.items() if not key.startswith("__")}


def _place(file: Path, base: str) -> Path:
    package, installed, name = base.partition("::")
    if not installed:
        return file.parent / base
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"{file}: it starts from {base}, but {package} is not installed; see CONTRIBUTING.md.")
    return Path(spec.submodule_search_locations[0]) / ".mim" / "configs" / name
