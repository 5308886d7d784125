"""What the tests of the pages look at: a finished study, and the programs to look with."""

import subprocess
import sys
from pathlib import Path

import pytest
from browser import browser as running
from builders.workflows import REPOSITORY, finished

from iou_aware.experiment.experiment import Experiment

PROGRAMS = ["chromium", "pdflatex", "pdftotext"]
PACKAGES = ["chromium", "texlive-latex-base", "texlive-latex-recommended", "poppler-utils"]


@pytest.fixture(scope="session", autouse=True)
def _programs():
    """Chromium, LaTeX and a reader of PDF, installed where they are missing; without them the tests fail."""
    install = [sys.executable, str(REPOSITORY / "tools" / "debian" / "install.py")]
    done = subprocess.run(
        [*install, "--programs", *PROGRAMS, "--packages", *PACKAGES], check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.fail(done.stderr.strip(), pytrace=False)


@pytest.fixture(scope="session")
def project(_programs, tmp_path_factory) -> Path:
    """A project in which the workflow has run on the smallest experiment."""
    return finished(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def study(project) -> Experiment:
    return Experiment.load(project / "configs" / "experiments" / "tiny.yaml")


@pytest.fixture(scope="session")
def browser(_programs):
    """A Chromium that all tests share."""
    with running() as tab:
        yield tab
