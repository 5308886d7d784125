"""What holds for all tests: one thread per process, the same examples on any machine, no figures left for the next.

pytest-xdist gives every core a process of its own already, and tests that fork a training into several processes must
not have used threads before: a forked process waits forever for the threads of its parent's OpenMP pool.

Examples that are drawn are the same every time and may take their time, so that a test fails for its cause and not by
luck or load; `pytest --hypothesis-profile=default` draws others.
"""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

os.environ["OMP_NUM_THREADS"] = "1"
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")


@pytest.fixture(autouse=True)
def _closed_figures():
    """Close what a test has drawn."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A project with its three runs trained, never disturbed."""
    from builders.training import project, train  # which imports PyTorch, and few tests need

    experiment = project(tmp_path_factory.mktemp("trained"))
    for run in experiment.runs:
        train(experiment, run)
    return experiment


@pytest.fixture
def fresh(tmp_path):
    """The same project with nothing trained."""
    from builders.training import project

    return project(tmp_path)


@pytest.fixture(scope="session")
def predicted(trained):
    """The same project, whose runs have predicted the validation split."""
    from iou_aware.inference.predict import predict

    for run in trained.runs:
        predict(trained, run, "val")
    return trained
