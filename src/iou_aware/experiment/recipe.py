"""How a run is trained: its detector's config, which starts from a schedule, with its backbone's merged over it.

The plan and the training share it; it imports neither MMDetection nor PyTorch.
"""

from collections.abc import Mapping
from typing import Any

from iou_aware.common import assignments
from iou_aware.common.messages import InputError
from iou_aware.experiment.layout import Layout
from iou_aware.experiment.run import Run

NEEDED = ("model", "optim_wrapper", "train_cfg.max_epochs", "train_dataloader.batch_size")


def read(paths: Layout, run: Run) -> dict[str, Any]:
    """Return the config of a run's detector under its recipe, with the backbone's merged over it.

    Raises:
        InputError: A file is missing or broken, or lacks what a run needs.
    """
    detector = paths.detector(run.recipe, run.detector)
    content = assignments.read(detector)
    for needed in NEEDED:
        inside: Any = content
        for key in needed.split("."):
            if not isinstance(inside, Mapping) or key not in inside:
                raise InputError(f"{detector}: the key '{needed}' is missing, also in its bases; a run needs it.")
            inside = inside[key]
    return assignments.merged(content, assignments.read(paths.backbone(run.backbone)))


def images_per_step(recipe: Mapping[str, Any], run: Run, settings: Mapping[str, Any]) -> int:
    """Return how many images one step of a run has over all GPUs.

    Args:
        recipe: From ``read``: ``train_dataloader.batch_size``, and ``batch_sizes``, exceptions to it, each of a
            ``batch_size`` and the values that a run must have for it. The first that fits the run counts.
        run: The run.
        settings: The experiment's; ``batch_size`` overrules the recipe.
    """
    fitting = (
        exception["batch_size"]
        for exception in recipe.get("batch_sizes", ())
        if all(getattr(run, key) == value for key, value in exception.items() if key != "batch_size")
    )
    return settings.get("batch_size") or next(fitting, recipe["train_dataloader"]["batch_size"])


def epochs(recipe: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """Return how many times a run sees its training split: ``settings.epochs``, or as often as its recipe says."""
    return settings.get("epochs") or recipe["train_cfg"]["max_epochs"]
