"""Everything that decides how a run goes on: captured as plain values, and put back bit for bit."""

import random
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object
from mmengine.model import is_model_wrapper


def capture(runner, epoch: int, batch: int) -> dict[str, Any]:
    """Return the complete state of training, of all processes; all must call this together.

    Args:
        runner: The runner.
        epoch: How many epochs are complete.
        batch: How many steps of the epoch after them have been made.
    """
    return {
        "epoch": epoch,
        "batch": batch,
        "model": weights(runner.model),
        "optimizer": _on_cpu(runner.optim_wrapper.state_dict()),
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


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a model's weights on the CPU, each in memory of its own."""
    model = model.module if is_model_wrapper(model) else model
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }


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


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_on_cpu(item) for item in value)
    return value
