"""The paper's experiment; and a small study whose every job has run, for tests to change."""

import shutil

import pytest
from builders.experiments import PAPER, REPOSITORY
from builders.workflows import SMALL, Project

from iou_aware.experiment.experiment import Experiment


@pytest.fixture
def paper(monkeypatch) -> Experiment:
    """The experiment of the paper, in the repository as the working directory."""
    monkeypatch.chdir(REPOSITORY)
    return Experiment.load(PAPER)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A small study whose every job has run; one of its detectors starts from the other."""
    project = Project(tmp_path_factory.mktemp("finished"), **SMALL)
    bases = ["mmdet::_base_/models/retinanet_r50_fpn.py", "./retinanet.py", "../../schedules/quick.py"]
    project.append("configs/detectors/quick/iou_aware_retinanet.py", f"_base_ = {bases}\n")
    project.run()
    return project


@pytest.fixture
def study(finished, tmp_path) -> Project:
    """The finished study, to be changed."""
    folder = tmp_path / "study"
    shutil.copytree(finished.folder, folder, symlinks=True)
    copy = object.__new__(Project)
    copy.folder = folder
    return copy
