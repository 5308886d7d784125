"""Where to compute, and in which layout: what settings ask for, against what the environment and the machine have."""

import logging
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import mmcv
import torch
from mmcv.ops import RoIAlign, get_compiling_cuda_version, nms
from torch import nn

from iou_aware.common.errors import InputError, MachineError
from iou_aware.experiment.experiment import Experiment
from iou_aware.training import kernels
from iou_aware.workflow.costs import AUTO, Estimates

logger = logging.getLogger(__name__)

WHICH_GO_TOGETHER = "docs/cluster.md, step 1, says which versions go together and with which GPUs"


def check(experiment: Experiment) -> None:
    """Print whether this environment, and the GPUs that are here, can compute what an experiment asks for.

    On a login node, which has no GPU or fewer than a job, it tells what can be told there.

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
        prove(f"cuda:{number}")
    require(experiment)
    print(f"{versions}, and compute on {', '.join(names)}.")
    if len(names) < (most := Estimates(experiment).most_gpus):
        print(f"A training asks for {most} GPUs (settings.gpus), more than are here; a job must have them.")


def choose(settings: Mapping[str, Any], gpus: int = 1) -> str:
    """Return ``cuda`` or ``cpu``, and hide the GPUs from this process when it is to use the CPU.

    No GPU is touched: one that takes a single process must be left to the training process that is to have it.

    Args:
        settings: ``device`` (auto, cpu or cuda; auto takes a GPU where there is one) and ``tf32``, with which a GPU
            rounds what it multiplies to 10 bits.
        gpus: How many GPUs are needed where any are used.

    Raises:
        InputError: A GPU is asked for where there is none, or where nothing can compute on it; or there are too few.
    """
    device = settings.get("device") or "auto"
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # MMEngine looks for itself, and takes what it finds
        return "cpu"
    if device == "cuda":
        _require_build()
        if not torch.cuda.is_available():
            raise MachineError(
                "settings.device: found cuda, but PyTorch sees no GPU here; expected auto, cpu, or a GPU. On a "
                "cluster the job was given none, or its driver is too old for this CUDA, which `nvidia-smi` would tell."
            )
    if not torch.cuda.is_available():
        return "cpu"
    if torch.cuda.device_count() < gpus:
        raise InputError(
            f"settings.gpus: found {gpus}, but PyTorch sees {torch.cuda.device_count()} here; expected no more. "
            "On a cluster the profile must ask for the same number (gpu, or gres)."
        )
    # PyTorch's own are true for convolutions and false for matrices.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = settings.get("tf32", True)
    return "cuda"


def prove(device: str) -> None:
    """Compute something on a GPU, with PyTorch and with mmcv's ops; the first batch of a training is minutes away.

    Args:
        device: Such as ``cuda`` or ``cuda:1``.

    Raises:
        InputError: It does not work: PyTorch or mmcv is not built for this GPU, or someone else has it.
    """
    try:
        box = torch.ones(1, 4, device=device) * 2
    except RuntimeError as fault:
        compiled = ", ".join(torch.cuda.get_arch_list())
        remedy = f"it is compiled for {compiled}. Take another GPU, or a PyTorch that is compiled for this one"
        raise _fault(device, f"PyTorch {torch.__version__}", remedy, fault) from fault
    try:
        nms(box, box.new_ones(1), 0.5)
    except RuntimeError as fault:
        remedy = (
            f"its prebuilt wheels are compiled for {', '.join(kernels.MMCV_WHEEL)}. Compile mmcv for this GPU, which "
            f"takes nvcc of CUDA {str(torch.version.cuda).partition('.')[0]}: `make setup CUDA=1 ARCHS={{gpu}}`"
        )
        raise _fault(device, f"mmcv {mmcv.__version__}", remedy, fault) from fault


def _fault(device: str, library: str, remedy: str, fault: RuntimeError) -> InputError:
    """Return what to say of a library that cannot compute: that it has no kernels for the GPU, or its own words.

    What a build lacks, it lacks on every machine; a GPU that is broken or taken may be another one next time.
    """
    kind = InputError if "implementation for device" in str(fault) else MachineError
    reason = f"{library} cannot compute on {device} here: {str(fault).splitlines()[0]}"
    if "no kernel image" in str(fault):
        kind = InputError
        major, minor = torch.cuda.get_device_capability(device)
        gpu = f"{major}.{minor}"
        name = torch.cuda.get_device_name(device)
        reason = f"{name} has compute capability {gpu}, and {library} has no kernels for it; {remedy.format(gpu=gpu)}"
    return kind(f"{reason} ({WHICH_GO_TOGETHER})")


def require(experiment: Experiment) -> None:
    """Raise InputError if the GPU here is not one that the settings ask for: too little memory, or no bfloat16."""
    settings = experiment.settings
    if settings.get("amp") == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(
            f"settings.amp: found bf16, in which a {torch.cuda.get_device_name()} does not compute; expected fp16 or "
            "false."
        )
    if settings.get("gpus") == AUTO:
        estimates, memory = Estimates(experiment), torch.cuda.get_device_properties(0).total_memory / 2**30
        if memory < 0.9 * (planned := estimates.gpu["memory_gb"]):
            raise InputError(
                f"gpu: found {estimates.costs['gpu']}, of {planned:g} GB, but the GPU here has {memory:.0f}, and "
                "settings.gpus is auto; expected the type in configs/costs.yaml that the trainings get."
            )


def _require_build() -> None:
    """Raise InputError unless PyTorch and mmcv are built with CUDA, which can be told without a GPU."""
    without = [] if torch.version.cuda else [f"PyTorch {torch.__version__}"]
    if get_compiling_cuda_version() == "not available":
        without.append(f"mmcv {mmcv.__version__}")
    if without:
        raise InputError(
            f"settings.device: found cuda, but built without it in this environment: {' and '.join(without)}, as "
            f"`make` sets it up; expected that of environment.yml or of `make setup CUDA=1` ({WHICH_GO_TOGETHER})."
        )


def channels_last(model: nn.Module) -> nn.Module:
    """Lay a model's weights, and so its feature maps, out with channels innermost; return the model.

    Convolutions on a CPU and tensor cores on a GPU are faster with this layout.

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
            module.register_forward_pre_hook(partial(_laid_out, memory_format=torch.contiguous_format))
    if hasattr(model, "backbone"):  # a convolution of three channels takes twice as long if it has to do this
        model.backbone.register_forward_pre_hook(partial(_laid_out, memory_format=torch.channels_last))
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


def _laid_out(module: nn.Module, inputs: tuple[Any, ...], memory_format: torch.memory_format) -> tuple[Any, ...]:
    return (inputs[0].contiguous(memory_format=memory_format), *inputs[1:])
