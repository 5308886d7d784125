"""What an experiment asks to compute on, told before anything waits for it or runs for long."""

from types import SimpleNamespace

import pytest
import torch
from training_project import RETINANET, project

from iou_aware import cli
from iou_aware.errors import InputError
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
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: f"GPU {place}")

    return have


def asking(**settings) -> SimpleNamespace:
    return SimpleNamespace(name="study", settings=settings)


@pytest.mark.parametrize(
    ("built", "named"),
    [
        ({"cuda": None}, "PyTorch [^ ]+,"),
        ({"mmcv": "not available"}, "mmcv [^ ]+,"),
        ({"cuda": None, "mmcv": "not available"}, "PyTorch [^ ]+ and mmcv [^ ]+,"),
    ],
)
def test_an_environment_without_cuda_is_told_where_there_is_no_gpu(gpus, built, named):
    """As on a login node, in the environment that `make` sets up."""
    gpus(0, **built)
    with pytest.raises(InputError, match=f"settings.device: found cuda, but built without it.*: {named}"):
        device.check(asking(device="cuda"))


def test_an_environment_with_cuda_passes_where_there_is_no_gpu(gpus, capsys):
    gpus(0)
    device.check(asking(device="cuda", gpus=4))
    assert "run the same command on a GPU node" in capsys.readouterr().out


def test_every_gpu_is_tried(gpus, capsys, monkeypatch):
    gpus(2)
    tried = []
    monkeypatch.setattr(device, "prove", tried.append)
    device.check(asking(device="cuda", gpus=2))
    assert tried == ["cuda:0", "cuda:1"]
    assert "GPU 0, GPU 1" in capsys.readouterr().out


def test_a_login_node_with_fewer_gpus_than_a_job_passes(gpus, capsys, monkeypatch):
    gpus(1)
    monkeypatch.setattr(device, "prove", lambda where: None)
    device.check(asking(device="cuda", gpus=4))
    assert "asks for 4 GPUs" in capsys.readouterr().out


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_fewer_gpus_than_processes_are_told(gpus, asked):
    gpus(1)
    with pytest.raises(InputError, match=r"settings.gpus: found 4, but PyTorch sees 1 here"):
        device.choose({"device": asked}, 4)


def test_mmcv_that_cannot_compute_on_a_device_is_named():
    """None of mmcv's ops is built for PyTorch's device of tensors without content, as for a GPU that it lacks."""
    with pytest.raises(InputError, match=r"mmcv .* cannot compute on meta here: nms_impl: implementation for device"):
        device.prove("meta")
    device.prove("cpu")


@pytest.mark.parametrize("stage", [train, predict])
def test_a_stage_tries_the_gpu_before_it_looks_at_anything(tmp_path, gpus, monkeypatch, stage):
    experiment = project(tmp_path, settings={"device": "cuda"})
    gpus(1)
    monkeypatch.setattr(device, "prove", lambda where: (_ for _ in ()).throw(InputError(f"tried {where}")))
    experiment.paths.manifest("shapes").unlink()
    with pytest.raises(InputError, match="tried cuda"):
        stage(experiment, RETINANET, *(["val"] if stage is predict else []))


def test_the_command_says_that_an_experiment_needs_no_gpu(tmp_path, capsys):
    project(tmp_path)
    assert cli.main(["check", str(tmp_path / "configs" / "experiments" / "study.yaml")]) == 0
    assert "does not insist on a GPU" in capsys.readouterr().out
