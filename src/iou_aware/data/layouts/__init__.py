"""How annotations lie on disk, a layout a module, which `iou_aware.data.source` describes."""

from importlib import import_module
from types import ModuleType

from iou_aware.data.dataset import Dataset, Split


def of(dataset: Dataset) -> ModuleType:
    """Return the module of a dataset's layout."""
    return import_module(f"{__name__}.{dataset.layout}")


def present(dataset: Dataset) -> dict[str, Split]:
    """Return a dataset's splits, without those which are optional and absent."""
    return {
        name: split
        for name, split in dataset.splits.items()
        if not split.optional or all(file.exists() for file in of(dataset).files(dataset, split))
    }
