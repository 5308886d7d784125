"""The memory layout of a model on a CPU, where PyTorch corrupts memory with some convolutions in channels_last."""

import ctypes
import logging
import subprocess

import pytest
import torch
from builders.training import BACKBONE, ENVIRONMENT, IOU_AWARE, command, project
from torch import nn

from iou_aware.common import seal
from iou_aware.training.device import channels_last

CHECKER = "libc_malloc_debug.so.0"
NARROW = BACKBONE.replace("channels=16", "channels=4").replace("[16, 32, 64, 128]", "[4, 8, 16, 32]")


def is_channels_last(module: nn.Module) -> bool:
    return all(layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in module)


@pytest.mark.parametrize(
    ("arguments", "options", "corrupts"),
    [
        ((15, 8, 1), {"stride": 2}, True),
        ((15, 8, 1), {"stride": (1, 2)}, True),
        ((16, 8, 1), {"stride": 2}, False),
        ((4, 8, 1), {}, False),
        ((4, 8, 3), {"stride": 2}, False),
        ((4, 8, 1), {"stride": 2, "groups": 2}, False),
    ],
)
def test_a_model_that_would_corrupt_memory_keeps_its_layout_on_a_cpu(arguments, options, corrupts, monkeypatch, caplog):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(*arguments, **options))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with caplog.at_level(logging.WARNING):
        assert is_channels_last(channels_last(model)) is not corrupts
    assert ("backward pass of 1 may corrupt memory" in caplog.text) == corrupts
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert is_channels_last(channels_last(model))


@pytest.mark.parametrize("backbone", [BACKBONE, NARROW])
def test_a_training_corrupts_no_memory(tmp_path, backbone):
    """As a processor without AVX-512 computes it, with malloc looking for damage to its blocks."""
    try:
        ctypes.CDLL(CHECKER)
    except OSError as missing:
        pytest.skip(f"{missing}; it comes with glibc 2.34 and later")
    experiment = project(tmp_path, settings={"epochs": 1, "device": "cpu"})
    (tmp_path / "configs" / "backbones" / "tiny.py").write_text(backbone)
    checked = {"LD_PRELOAD": CHECKER, "MALLOC_CHECK_": "3", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    start = {"cwd": tmp_path, "env": ENVIRONMENT | checked, "capture_output": True, "text": True}
    done = subprocess.run(command("train", IOU_AWARE), check=False, **start)
    assert done.returncode == 0, done.stderr
    assert ("channels_last is ignored" in done.stderr) == (backbone == NARROW)
    seal.verify(experiment.paths.run_folder(IOU_AWARE))
