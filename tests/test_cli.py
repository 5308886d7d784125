"""The command line: help, arguments, and mistakes told without a traceback."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from builders.results import experiment

from iou_aware import cli
from iou_aware.experiment.layout import STAGES


@pytest.fixture
def project(tmp_path, monkeypatch):
    experiment(tmp_path)
    monkeypatch.chdir(tmp_path)
    return "configs/experiments/study.yaml"


def test_every_stage_is_a_command():
    assert set(STAGES) <= set(cli.COMMANDS)


def test_what_the_machine_refuses_is_one_line_and_status_1(project, capsys, monkeypatch):
    def full(experiment, *rest):
        raise OSError(errno.ENOSPC, "No space left on device", "results/study/metrics.csv")

    monkeypatch.setattr("iou_aware.analysis.collect.collect.collect", full)
    assert cli.main(["collect", project]) == 1
    assert capsys.readouterr().err == "iou-aware: [Errno 28] No space left on device: 'results/study/metrics.csv'\n"


def test_a_module_that_is_not_installed_is_named(project, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "iou_aware.analysis.collect.collect", None)
    assert cli.main(["collect", project]) == 2
    assert "iou_aware.analysis.collect.collect" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("prepare {} shape", "no dataset 'shape'; expected shapes or marks. Did you mean 'shapes'?"),
        ("table {} table6", "no table 'table6'; expected table1, table2"),
        ("train {} shapes.retinanet", "no run 'shapes.retinanet'"),
        ("backbone {} r5", "no backbone 'r5'; expected deep, grouped or tiny."),
        ("notebook {} alhpa", "no notebook 'alhpa'"),
        ("detect configs --weights nowhere", "there is no picture in this folder"),
        ("times {}", "no benchmark files"),
        ("fetch shape", "shape.yaml: there is no such file; expected "),
    ],
)
def test_mistakes_are_one_line_and_status_2(project, arguments, expected, capsys):
    assert cli.main(arguments.format(project).split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("iou-aware: ") and said.err.count("\n") == 1
    assert expected in said.err


def test_make_names_a_mistyped_experiment():
    command = ["make", "-s", "-o", "setup", "reproduce", "EXPERIMENT=mikro"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("iou-aware: configs/experiments/mikro.yaml: there is no such file; expected ")
    assert "Did you mean 'configs/experiments/micro.yaml'?" in done.stderr
    assert "Traceback" not in done.stderr
