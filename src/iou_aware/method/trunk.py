"""How a detector's layers are computed in training: in half precision, compiled, or both.

What they are compared with, the losses, and what NMS and ranking do stays in single precision and as it is written.
"""

from collections.abc import Callable
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import Tensor, nn


@HOOKS.register_module()
class Trunk(Hook):
    """Computes backbone, neck and the layers of all heads of a detector as it is told; see ``compute``.

    Args:
        dtype: ``float16`` or ``bfloat16`` for mixed precision; None for single precision.
        compiled: Whether PyTorch compiles them.
    """

    def __init__(self, dtype: str | None, compiled: bool):
        self.dtype, self.compiled = dtype, compiled

    def before_train(self, runner) -> None:
        """From now on, compute them so."""
        model = getattr(runner.model, "module", runner.model)
        compute(model, getattr(torch, self.dtype) if self.dtype else None, "inductor" if self.compiled else None)


@OPTIM_WRAPPERS.register_module()
class LossScaling(AmpOptimWrapper):
    """MMEngine's scaling of the loss, without which small gradients vanish in half precision, on any device.

    MMEngine's own insists on a GPU, and computes the losses in half precision as well.

    Args:
        **kwargs: Arguments of ``OptimWrapper``.
    """

    def __init__(self, **kwargs: Any):
        OptimWrapper.__init__(self, **kwargs)
        self._scale_update_param = None
        self.loss_scaler = torch.amp.GradScaler(self.param_groups[0]["params"][0].device.type)

    optim_context = OptimWrapper.optim_context


def compute(model: nn.Module, dtype: torch.dtype | None = None, backend: str | None = None) -> None:
    """Let a detector compute the features of its neck, and the outputs of its heads from these, in another way.

    Parameters, their names and those of buffers stay as they are. Features and outputs are single precision again: mmcv
    has no focal loss and no RoIAlign for bfloat16, and a box needs more digits than half precision has.

    Args:
        model: MMDetection's detector, of one stage or two.
        dtype: In which to convolve and multiply, PyTorch's ``autocast``; None for single precision.
        backend: What compiles it, ``inductor`` for one; None for nothing.
    """
    device = next(model.parameters()).device.type
    heads = (getattr(model, "bbox_head", None), getattr(model, "rpn_head", None))
    second = getattr(getattr(model, "roi_head", None), "bbox_head", None)
    for owner, name in [(model, "extract_feat"), *((head, "forward") for head in (*heads, second) if head is not None)]:
        function = getattr(owner, name)
        if backend:
            function = torch.compile(function, backend=backend)
        setattr(owner, name, function if dtype is None else _mixed(function, device, dtype))


def _mixed(function: Callable, device: str, dtype: torch.dtype) -> Callable:
    def mixed(*args: Any) -> Any:
        with torch.autocast(device, dtype):
            return _single(function(*args))

    return mixed


def _single(value: Any) -> Any:
    """Return tensors, or lists and tuples of them, in single precision."""
    return value.float() if isinstance(value, Tensor) else type(value)(map(_single, value))
