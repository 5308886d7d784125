"""A model's weights: written as MMDetection reads them, and read by a loader that runs nothing in a file."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.model.weight_init import WEIGHT_INITIALIZERS  # with those of MMEngine, of which one is replaced

from iou_aware.common.files import writing
from iou_aware.common.messages import InputError

# PyTorch's name of what it refuses to import, within advice to trust the file.
FOREIGN = re.compile(r"GLOBAL (?P<name>\S+)")
# MMEngine retries an unsafe load where a safe one fails; with this set, PyTorch refuses both.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
# Weights of a backbone may also have ImageNet's classifier, and may lack BN's counters: files from before PyTorch 0.4.1
# do, and only a cumulative average reads them.
CLASSIFIER = "fc."
COUNTER = ".num_batches_tracked"


def load(path: Path) -> Any:
    """Read a file of tensors and plain values onto the CPU; refuse a file that holds anything else.

    Raises:
        InputError: The file is missing, truncated, or holds something else than tensors and plain values.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as fault:
        raise InputError(f"{path} does not exist; expected a file of weights.") from fault
    except Exception as fault:  # damage raises anything: IndexError, KeyError, AssertionError, ...
        told = f"truncated, damaged or no PyTorch file ({type(fault).__name__}); nothing in it was run"
        if named := FOREIGN.search(str(fault)):
            told = f"refused, nothing in it was run: it holds {named['name']}, more than tensors and plain values"
        raise InputError(f"{path}: {told}. Fetch it from a source you trust, or train again.") from fault


def load_into(model: torch.nn.Module, path: Path, name: str | Path, backbone: bool = False) -> None:
    """Load a file of weights into a model: all of them, or none.

    Args:
        model: The model.
        path: The file, with a ``state_dict`` in it or one itself.
        name: The model's name in errors.
        backbone: Whether the file may hold a classifier as well, and lack BN's counters.

    Raises:
        InputError: The file holds more than weights, or those of another model.
    """
    content = load(path)
    weights = content.get("state_dict", content) if isinstance(content, dict) else {}
    weights = weights if isinstance(weights, dict) else {}
    expected = model.state_dict()
    faults = {
        "missing": [key for key in expected if key not in weights and not (backbone and key.endswith(COUNTER))],
        "of another shape": [
            key for key in expected if key in weights and getattr(weights[key], "shape", None) != expected[key].shape
        ],
        "unknown": [
            key for key in weights if key not in expected and not (backbone and str(key).startswith(CLASSIFIER))
        ],
    }
    told = "; ".join(f"{what}: {len(keys)}, such as {keys[0]!r:.80}" for what, keys in faults.items() if keys)
    if told:
        raise InputError(f"{path}: not the weights of {name}: {told}.")
    model.load_state_dict(weights, strict=False)


@WEIGHT_INITIALIZERS.register_module("Pretrained", force=True)
def pretrained(checkpoint: str) -> Callable[[torch.nn.Module], None]:
    """Return a function that loads the file of a module's ``init_cfg`` into it; InputError as from ``load_into``.

    It replaces MMEngine's, which keeps random weights where those of the file do not fit.
    """
    return lambda module: load_into(module, Path(checkpoint), type(module).__name__, backbone=True)


def of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a model's weights on the CPU, each in memory of its own, by the names they have in a single process."""
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in getattr(model, "module", model).state_dict().items()
    }


def save(model: torch.nn.Module, classes: Sequence[str], path: Path) -> None:
    """Write a model's weights and the names of its classes, as MMDetection's tools read them."""
    with writing(path) as beside, beside.open("wb") as file:
        torch.save({"meta": {"dataset_meta": {"classes": list(classes)}}, "state_dict": of(model)}, file)
