"""What an experiment asks to compute on, told before anything waits for it or runs for long; its layout in memory.

On a CPU, PyTorch corrupts memory with some convolutions in channels_last.
"""

import ctypes
from types import SimpleNamespace

import pytest
import torch
from builders.processes import python
from builders.training import BACKBONE, ENVIRONMENT, IOU_AWARE, RETINANET, command, project
from torch import nn

from iou_aware.common.messages import InputError, MachineError
from iou_aware.inference.predict import predict
from iou_aware.training import device
from iou_aware.training.train import train


@pytest.fixture
def gpus(monkeypatch):
    """Return a function that lets PyTorch see so many GPUs, and both libraries be built for them."""

    def have(number: int, cuda: str | None = "13.0", mmcv: str = "13.0") -> None:
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(device, "get_compiling_cuda_version", lambda: mmcv)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda place=0: f"GPU {place}")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda place: (8, 0))

    return have


def asking(**settings) -> SimpleNamespace:
    return SimpleNamespace(name="study", paths=None, settings=settings, trained={"a": None})


@pytest.mark.parametrize(
    ("present", "settings", "told"),
    [  # without a GPU, as on a login node, in the environment that `make` sets up
        ({"number": 0, "cuda": None}, {"device": "cuda"}, "settings.device: found cuda, but built .*: PyTorch [^ ]+,"),
        ({"number": 0, "mmcv": "not available"}, {"device": "cuda"}, "settings.device: found cuda.*: mmcv [^ ]+,"),
        ({"number": 0}, {"device": "cuda"}, "settings.device: found cuda, but PyTorch sees no GPU here"),
        ({"number": 1}, {}, "settings.gpus: found 4, but PyTorch sees 1 here"),
    ],
)
def test_gpus_that_are_not_here_are_told(gpus, present, settings, told):
    gpus(**present)
    with pytest.raises(InputError, match=told):
        device.choose(settings, 4)


def test_an_environment_without_cuda_is_told_on_a_login_node(gpus):
    gpus(0, cuda=None)
    with pytest.raises(InputError, match=r"settings\.device: found cuda, but built without it"):
        device.check(asking(device="cuda"))


@pytest.mark.parametrize(
    ("present", "settings", "tried", "told"),
    [
        (0, {"device": "cuda", "gpus": 4}, [], "run the same command on a GPU node"),
        (1, {"device": "cuda", "gpus": 4}, ["cuda:0"], "asks for 4 GPUs"),
        (2, {"device": "cuda", "gpus": 2}, ["cuda:0", "cuda:1"], "GPU 0, GPU 1"),
        (0, {"device": "cpu"}, [], "does not insist on a GPU"),
    ],
)
def test_every_gpu_that_is_present_is_tried(gpus, capsys, monkeypatch, present, settings, tried, told):
    """Fewer than a job asks for are enough: a login node has none, or one."""
    gpus(present)
    proved = []
    monkeypatch.setattr(device, "try_out", proved.append)
    device.check(asking(**settings))
    assert proved == tried
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(("settings", "expected"), [({}, True), ({"tf32": True}, True), ({"tf32": False}, False)])
def test_tf32_is_as_the_settings_say(gpus, monkeypatch, settings, expected):
    gpus(1)
    found = {}
    for name in ("cudnn", "cuda"):  # set aside: PyTorch's own would stay changed for the tests that follow
        monkeypatch.setattr(torch.backends, name, found.setdefault(name, SimpleNamespace(matmul=SimpleNamespace())))
    assert device.choose({"device": "cuda"} | settings) == "cuda"
    assert found["cudnn"].allow_tf32 is found["cuda"].matmul.allow_tf32 is expected


def test_mmcv_that_cannot_compute_on_a_device_is_named():
    """None of mmcv's ops is built for PyTorch's device of tensors without content, as for a GPU that it lacks."""
    with pytest.raises(InputError, match=r"mmcv .* cannot compute on meta here: nms_impl: implementation for device"):
        device.try_out("meta")
    device.try_out("cpu")


@pytest.mark.parametrize(
    ("words", "told", "retry"),
    [  # as an A100 with mmcv's prebuilt wheel, and as a GPU that is broken or taken
        ("no kernel image is available", r"no kernel image .* 8\.0; `make setup CUDA=1 ARCHS=8\.0`", False),
        ("all CUDA-capable devices are busy or unavailable", "all CUDA-capable devices are busy", True),
    ],
)
def test_a_gpu_that_fails_may_be_another_next_time_unless_mmcv_has_no_kernels(gpus, monkeypatch, words, told, retry):
    gpus(1)
    fault = RuntimeError(f"CUDA error: {words}\nand more")
    monkeypatch.setattr(torch, "ones", lambda *_, device: torch.zeros(1, 4))
    monkeypatch.setattr(device, "nms", lambda *_: (_ for _ in ()).throw(fault))
    with pytest.raises(InputError, match=rf"^mmcv \S+ cannot compute on cuda:0 here: CUDA error: {told}") as raised:
        device.check(asking(device="cuda"))
    assert isinstance(raised.value, MachineError) is retry


@pytest.mark.parametrize("stage", [train, predict])
def test_a_stage_tries_the_gpu_before_it_looks_at_anything(tmp_path, gpus, monkeypatch, stage):
    experiment = project(tmp_path, settings={"device": "cuda"})
    gpus(1)
    monkeypatch.setattr(device, "try_out", lambda where: (_ for _ in ()).throw(InputError(f"tried {where}")))
    experiment.paths.manifest("shapes").unlink()
    with pytest.raises(InputError, match="tried cuda"):
        stage(experiment, RETINANET, *(["val"] if stage is predict else []))


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
def test_a_model_that_would_corrupt_memory_keeps_its_layout_on_a_cpu(gpus, caplog, arguments, options, corrupts):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(*arguments, **options))
    gpus(0)
    assert is_channels_last(device.channels_last(model)) is not corrupts
    assert ("backward pass of 1 may corrupt memory" in caplog.text) == corrupts
    gpus(1)
    assert is_channels_last(device.channels_last(model))


@pytest.mark.parametrize("backbone", [BACKBONE, NARROW])
def test_a_training_corrupts_no_memory(tmp_path, backbone):
    """As a processor without AVX-512 computes it, with malloc looking for damage to its blocks."""
    try:
        ctypes.CDLL(CHECKER)
    except OSError as missing:
        pytest.skip(f"{missing}; it comes with glibc 2.34 and later")
    project(tmp_path, settings={"epochs": 1, "device": "cpu"})
    (tmp_path / "configs" / "backbones" / "tiny.py").write_text(backbone)
    checked = {"LD_PRELOAD": CHECKER, "MALLOC_CHECK_": "3", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    done = python(*command("train", IOU_AWARE)[1:], cwd=tmp_path, env=ENVIRONMENT | checked)
    assert done.returncode == 0, done.stderr
    assert ("channels_last is ignored" in done.stderr) == (backbone == NARROW)
