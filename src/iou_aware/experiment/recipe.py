"""A recipe's length and images per step, read from ``configs/schedules`` without importing MMDetection or PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iou_aware.common import assignments
from iou_aware.common.errors import InputError
from iou_aware.experiment.run import Run


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
        content = assignments.read(file)
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
