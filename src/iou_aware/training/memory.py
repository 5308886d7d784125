"""Feature maps with their channels innermost, which convolutions on a CPU and tensor cores on a GPU are faster with."""

import logging
from typing import Any

import torch
from mmcv.ops import RoIAlign
from torch import nn

logger = logging.getLogger(__name__)


def channels_last(model: nn.Module) -> nn.Module:
    """Lay a model's weights, and so its feature maps, out with channels innermost; return the model.

    mmcv's RoIAlign reads its input as if channels were outermost whatever its layout, so that it gets a copy that is.

    On a CPU, a model with a convolution that corrupts memory in that layout is left as it is, with a warning.
    """
    corrupting = [name for name, module in model.named_modules() if _corrupts_memory(module)]
    if corrupting and not torch.cuda.is_available():
        logger.warning(
            "channels_last is ignored: on a CPU, the backward pass of %s may corrupt memory in that layout "
            "(docs/processors.md). With 16 input channels or more it does not.",
            ", ".join(corrupting),
        )
        return model
    for module in model.modules():
        if isinstance(module, RoIAlign):
            module.register_forward_pre_hook(_channels_first)
    return model.to(memory_format=torch.channels_last)


def _corrupts_memory(module: nn.Module) -> bool:
    """Tell whether a convolution is one whose weight gradient oneDNN writes beyond its buffer, on x86 in channels_last.

    This is https://github.com/uxlfoundation/oneDNN/issues/6035. Tried with PyTorch 2.13.0, each case in a process of
    its own, against malloc's checks and the gradient of the other layout: 1 to 24 input channels; kernels 1, 3, 5, 7;
    strides 1 to 4, also along one axis only; 1 to 24 output channels; groups; images of 7x9 to 96x96, 4 to 32 at a
    time. With AVX2, 1x1 convolutions of 2 to 7 input channels fail at any stride above 1 that divides the image; with
    AVX-512 those of 2 to 15, on larger images (48x48 and above of those tried). Everything else passed, and everything
    with AVX or SSE4.1 at most. PyTorch 2.14.1 fails in the same cases.
    """
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.groups == 1
        and module.in_channels < 16
    )


def _channels_first(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0].contiguous(), *inputs[1:])
