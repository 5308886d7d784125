"""Where to compute: what an experiment's settings ask for, held against what the machine has."""

import os
from collections.abc import Mapping
from typing import Any

import torch

from iou_aware.errors import InputError


def choose(settings: Mapping[str, Any]) -> str:
    """Return ``cuda`` or ``cpu``, and hide the GPUs from this process when it is to use the CPU.

    Args:
        settings: ``device`` (auto, cpu or cuda; auto takes a GPU where there is one).

    Raises:
        InputError: A GPU is asked for where there is none.
    """
    device = settings.get("device") or "auto"
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # MMEngine looks for itself, and takes what it finds
        return "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("settings.device: found cuda, but PyTorch sees no GPU here; expected auto, cpu, or a GPU.")
    return "cuda" if torch.cuda.is_available() else "cpu"
