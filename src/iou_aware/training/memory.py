"""Feature maps with their channels innermost, which convolutions on a CPU and tensor cores on a GPU are faster with."""

from typing import Any

import torch
from mmcv.ops import RoIAlign
from torch import nn


def channels_last(model: nn.Module) -> nn.Module:
    """Lay a model's weights, and so its feature maps, out with channels innermost; return the model.

    mmcv's RoIAlign reads its input as if channels were outermost whatever its layout, so that it gets a copy that is.
    """
    for module in model.modules():
        if isinstance(module, RoIAlign):
            module.register_forward_pre_hook(_channels_first)
    return model.to(memory_format=torch.channels_last)


def _channels_first(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0].contiguous(), *inputs[1:])
