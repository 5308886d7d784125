"""What the tests of the pages look at: a finished study, and the programs to look with."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builders.workflows import REPOSITORY, finished
from playwright.sync_api import Page, sync_playwright

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
def chromium(_programs):
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        # Of its sandbox containers have too little, as of shared memory.
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]
        yield playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)


@pytest.fixture
def browser(chromium) -> Page:
    """A tab of its own."""
    with chromium.new_context(no_viewport=True) as context:
        yield context.new_page()


@pytest.fixture
def faults(browser) -> list[tuple[str, str]]:
    """What the console complains of, after its kind, and requests that failed or left this machine."""
    found, complaints, here = [], ("error", "warning", "assert"), ("file:", "data:")
    browser.on("console", lambda said: said.type in complaints and found.append((said.type, said.text)))
    browser.on("pageerror", lambda error: found.append(("error", str(error))))
    browser.on("requestfailed", lambda request: found.append(("error", f"{request.url}: {request.failure}")))
    browser.on("request", lambda request: request.url.startswith(here) or found.append(("error", request.url)))
    return found
