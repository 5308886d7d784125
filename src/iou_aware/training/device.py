"""The device to compute on and the memory layout: what settings request, checked against environment and machine."""

import os
from collections.abc import Mapping
from typing import Any

import mmcv
import torch
from mmcv.ops import RoIAlign, get_compiling_cuda_version, nms
from torch import nn

from iou_aware.common.messages import InputError, MachineError, log
from iou_aware.experiment.experiment import Experiment
from iou_aware.workflow.costs import Estimates

WHICH_GO_TOGETHER = "docs/cluster.md, step 1, says which versions go together and with which GPUs"


def check(experiment: Experiment) -> None:
    """Print whether this environment and this machine's GPUs can run an experiment.

    On a login node, with fewer GPUs than a job gets or none, it checks what can be checked there.

    Raises:
        InputError: They cannot.
    """
    settings = experiment.settings
    if settings.get("device") != "cuda":
        print(f"{experiment.name} does not insist on a GPU (settings.device is not cuda); nothing to check.")
        return
    _require_build()
    versions = f"PyTorch {torch.__version__} and mmcv {mmcv.__version__} are built for CUDA {torch.version.cuda}"
    if not torch.cuda.is_available():
        print(f"{versions}. No GPU is here; run the same command on a GPU node before anything is submitted.")
        return
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    for number in range(len(names)):
        try_out(f"cuda:{number}")
    print(f"{versions}, and compute on {', '.join(names)}.")
    if len(names) < (most := Estimates(experiment).most_gpus):
        print(f"A training asks for {most} GPUs (settings.gpus), more than are here; a job must have them.")


def choose(settings: Mapping[str, Any], gpus: int = 1) -> str:
    """Return ``cuda`` or ``cpu``, and hide the GPUs from this process when it uses the CPU.

    No CUDA context is created: a GPU in exclusive mode must be left to the training process that will use it.

    Args:
        settings: ``device`` (auto, cpu or cuda; auto takes a GPU where there is one) and ``tf32`` (whether a GPU
            multiplies in TensorFloat-32).
        gpus: How many GPUs are needed where any are used.

    Raises:
        InputError: A GPU is requested but there is none, too few, or no library built for it.
    """
    device = settings.get("device") or "auto"
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # MMEngine takes any GPU that it sees
        return "cpu"
    if device == "cuda":
        _require_build()
    if not torch.cuda.is_available():
        if device == "auto":
            return "cpu"
        raise MachineError(
            "settings.device: found cuda, but PyTorch sees no GPU here; expected auto, cpu, or a GPU. On a cluster the "
            "job was given none, or its driver is too old for this CUDA, which `nvidia-smi` would tell."
        )
    if torch.cuda.device_count() < gpus:
        raise InputError(
            f"settings.gpus: found {gpus}, but PyTorch sees {torch.cuda.device_count()} here; expected no more. "
            "On a cluster the profile must ask for the same number (gpu, or gres)."
        )
    # PyTorch's own are true for convolutions and false for matrices.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = settings.get("tf32", True)
    return "cuda"


def try_out(device: str) -> None:
    """Compute something on a device with PyTorch and with mmcv's ops, so that faults show before data are loaded.

    Args:
        device: Such as ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        InputError: It fails: PyTorch or mmcv is not built for this GPU, or another process has it.
    """
    try:
        library = f"PyTorch {torch.__version__}"
        box = torch.ones(1, 4, device=device) * 2
        library = f"mmcv {mmcv.__version__}"
        nms(box, box.new_ones(1), 0.5)
    except RuntimeError as fault:
        reason = str(fault).splitlines()[0]
        if "no kernel image" in reason:
            gpu = "{}.{}".format(*torch.cuda.get_device_capability(device))
            reason += f". Its compute capability is {gpu}; `make setup CUDA=1 ARCHS={gpu}` compiles mmcv for that"
        unbuilt = "no kernel image" in reason or "implementation for device" in reason
        kind = InputError if unbuilt else MachineError  # a GPU that is broken or in use may be another next time
        raise kind(f"{library} cannot compute on {device} here: {reason} ({WHICH_GO_TOGETHER}).") from fault


def _require_build() -> None:
    """Raise InputError unless PyTorch and mmcv are built with CUDA; needs no GPU."""
    without = [] if torch.version.cuda else [f"PyTorch {torch.__version__}"]
    if get_compiling_cuda_version() == "not available":
        without.append(f"mmcv {mmcv.__version__}")
    if without:
        raise InputError(
            f"settings.device: found cuda, but built without it in this environment: {' and '.join(without)}, as "
            f"`make` sets it up; expected that of environment.yml or of `make setup CUDA=1` ({WHICH_GO_TOGETHER})."
        )


def channels_last(model: nn.Module) -> nn.Module:
    """Convert a model's weights, and so its feature maps, to the channels-last layout; return the model.

    Convolutions on a CPU and tensor cores on a GPU are faster with it. mmcv's RoIAlign ignores the layout of its input
    and gets a contiguous copy. On a CPU, a model with a convolution that corrupts memory in this layout is left
    unchanged, with a warning.
    """
    corrupting = [name for name, module in model.named_modules() if _corrupts_memory(module)]
    if corrupting and not torch.cuda.is_available():
        log.warning(
            "channels_last is ignored: on a CPU, the backward pass of %s may corrupt memory in that layout "
            "(docs/processors.md). With 16 input channels or more it does not.",
            ", ".join(corrupting),
        )
        return model
    innermost = {"memory_format": torch.channels_last}
    for module in model.modules():
        if isinstance(module, RoIAlign):
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:]))
    if hasattr(model, "backbone"):  # a convolution of three channels takes twice as long if it has to do this
        model.backbone.register_forward_pre_hook(lambda _, images: images[0].contiguous(**innermost))
    return model.to(**innermost)


def _corrupts_memory(module: nn.Module) -> bool:
    """Return whether oneDNN writes a convolution's weight gradient beyond its buffer, on x86 in channels_last.

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
