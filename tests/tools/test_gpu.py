"""The GPU test, where there is no GPU: its parts on tiny images, what it finds, and what it makes of faults."""

import importlib
import json
import os
import shutil
import sys
from pathlib import Path
from unittest import mock

import psutil
import pytest
import torch
import yaml
from builders.processes import python

from iou_aware.experiment.experiment import Experiment
from iou_aware.method.heads import IoUAwareRetinaHead

TOOLS = Path(__file__).parents[2] / "tools" / "gpu"
MODULES = ("parts", "passes", "run", "steps", "trial")
# Stands in for parts.py: one part fails, one never ends and leaves a process behind, one looks at what is written.
PARTS = """
import json, pathlib, subprocess, sys, threading
name, out = sys.argv[1], pathlib.Path({out!r})
pathlib.Path("figures").mkdir(exist_ok=True)
figures = {{"part": name}}
if name == "sweep":
    figures["before"] = list(json.loads((out / "gpu.json").read_text())["parts"])
pathlib.Path("figures", name + ".json").write_text(json.dumps(figures))
if name == "ops":
    child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
    (out / "child").write_text(str(child.pid))
    threading.Event().wait()
sys.exit("it went wrong" if name == "fp32" else 0)
"""


@pytest.fixture(scope="module")
def tools():
    """The scripts of tools/gpu, on the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        patch.setenv("TRIAL_DEVICE", "cpu")
        yield {name: importlib.import_module(name) for name in MODULES}
        for name in MODULES:
            del sys.modules[name]


def run_part(tools, patch, name: str) -> dict:
    """Run a part as its process does, and return its figures."""
    patch.setattr(sys, "argv", ["parts.py", name])
    tools["parts"].main()
    return json.loads(Path("figures", f"{name}.json").read_text())


@pytest.fixture(scope="module")
def project(tools, tmp_path_factory):
    """The folder of a project that `prepare` has made and `fp32` has trained in."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_part(tools, patch, "prepare")
        run_part(tools, patch, "fp32")
    return folder


@pytest.fixture
def part(tools, project, monkeypatch):
    """Return a function that runs a part in the project and returns its figures."""
    monkeypatch.chdir(project)
    return lambda name: run_part(tools, monkeypatch, name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sweep", {"rules": 23}),
        ("ops", {"RoIAlign, GPU from CPU": "0.0e+00"}),
        ("iou_aware_atss", {"steps": 12}),
        ("iou_aware_fcos", {"steps": 12}),
        ("faster_rcnn", {"steps": 10}),
        ("nccl", {"steps": 10, "backend": "gloo"}),
        ("predict", {"rules": 23}),
        ("resume", {"exit statuses": [-9, 75, 0], "same weights": True}),  # killed, stopped, gone on
    ],
)
def test_a_part_runs_and_gives_its_figures(part, name, expected):
    assert part(name).items() >= expected.items()


def test_the_sweep_is_compared_to_the_last_bit(part, monkeypatch):
    swept, original = [], IoUAwareRetinaHead.sweep

    def on_another_device(head, *args, **kwargs):
        found = original(head, *args, **kwargs)
        if swept:
            found.columns["scores"].view(-1)[-1:].mul_(1 + 2**-23)
        swept.append(found)
        return found

    monkeypatch.setattr(IoUAwareRetinaHead, "sweep", on_another_device)
    with pytest.raises(AssertionError, match=r"plain: 1 of [0-9]+ values of scores"):
        part("sweep")


def test_the_ops_are_compared(part, tools, monkeypatch):
    monkeypatch.setattr(tools["parts"], "nms", lambda *args: (None, torch.tensor([0])))
    with pytest.raises(AssertionError, match=r"NMS at 0.3: mmcv decides otherwise about [1-9][0-9]* of 200 boxes"):
        part("ops")


def test_what_a_gpu_is_to_train_can_be_asked_for(tools, project, tmp_path, monkeypatch):
    trial = tools["trial"]
    monkeypatch.setattr(trial, "ON_CPU", False)
    monkeypatch.setattr(trial, "DEVICE", "cuda")
    shutil.copytree(project / "configs", tmp_path / "configs")
    for name, settings in trial.TRAININGS.items():
        path = tmp_path / "configs" / "experiments" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(trial._content(name, settings)))
        assert Experiment.load(path).settings.items() >= (settings | {"device": "cuda", "gpus": 1}).items()


def test_trainings_are_measured_and_compared_with_single_precision(part):
    figures = {name: part(name) for name in ("bf16", "bf16_channels_last")}
    for each in figures.values():
        assert each["steps"] == 12
        assert each["images/s"] > 0
        assert float(each["losses from fp32"].rstrip("%")) < 5
    assert "of fp32's" in figures["bf16"]["change of weights"]
    assert figures["bf16"]["losses"] != json.loads(Path("figures/fp32.json").read_text())["losses"]


def test_other_losses_are_told(part, tools):
    losses = json.loads(Path("figures/fp32.json").read_text())["losses"]
    with pytest.raises(AssertionError, match=r"a loss is 10\.0% from that of single precision"):
        tools["parts"].compare_losses([1.1 * loss for loss in losses], {})


@pytest.mark.parametrize(("factor", "message"), [(-1, "another way than .* cosine -1"), (2, "2.00 times as far")])
def test_another_change_of_weights_is_told(part, tools, factor, message):
    change = torch.load("fp32.pth")
    with pytest.raises(AssertionError, match=message):
        tools["parts"].compare_changes(factor * change, "fp32", {})


@pytest.mark.parametrize(
    ("name", "timed"), [("steps", ["RetinaNet", "IoU-aware RetinaNet"]), ("passes", ["1 rule", "12 rules"])]
)
def test_steps_and_passes_are_timed_in_turn(part, name, timed):
    ratios = {what: float(told.split(", ")[1]) for what, told in part(name).items()}
    assert ratios.pop("MMDetection's RetinaNet") == 1
    assert min(ratios.values()) > 0
    assert list(ratios) == timed


def test_without_a_gpu_it_says_so_and_fails(tmp_path):
    done = python(TOOLS / "run.py", tmp_path, env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"})
    assert done.returncode == 1
    assert "No GPU is here" in done.stdout
    assert not any(tmp_path.iterdir())


def test_the_script_runs_parts(tmp_path):
    done = python(TOOLS / "run.py", tmp_path, "--device", "cpu", "--minutes", "60", "--only", "ops")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert [part["status"] for part in results["parts"].values()] == ["passed", "passed"]
    assert results["ops"] == "installed"
    page = (tmp_path / "gpu.md").read_text()
    assert "# 2 of 2 parts passed" in page
    assert "says nothing but that the script runs" in page


@pytest.fixture
def run(tools, tmp_path, monkeypatch):
    """The script, which runs the ``parts.py`` that a test writes."""
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))  # which main() adds to
    with mock.patch.multiple(tools["run"], HERE=tmp_path, python=lambda code: True, LEAST_SECONDS=1):
        yield tools["run"]


def test_a_part_that_fails_or_never_ends_stops_no_other(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "parts.py").write_text(PARTS.format(out=str(tmp_path)))
    monkeypatch.setattr(run, "PARTS", {"prepare": 60, "fp32": 60, "ops": 5, "sweep": 60})
    assert run.main([str(tmp_path)]) == 1
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert [part["status"] for part in parts.values()] == ["passed", "failed", "stopped after 5 s", "passed"]
    assert "it went wrong" in parts["fp32"]["said"]
    assert parts["fp32"]["figures"] == {"part": "fp32"}
    assert parts["sweep"]["figures"]["before"] == ["prepare", "fp32", "ops"]
    assert "not passed: fp32, ops" in capsys.readouterr().out
    child = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_nothing_is_begun_without_time_or_without_a_project(run, tmp_path):
    (tmp_path / "parts.py").write_text("import sys; sys.exit(1)")
    for minutes, status in [("60", "failed"), ("0", "not begun: no time left")]:
        assert run.main([str(tmp_path), "--minutes", minutes]) == 1
        parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
        assert {name: part["status"] for name, part in parts.items()} == {"prepare": status}
