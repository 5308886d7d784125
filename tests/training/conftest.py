"""A project whose runs are not trained yet."""

import pytest
from builders.training import project

from iou_aware.experiment.experiment import Experiment


@pytest.fixture
def fresh(tmp_path) -> Experiment:
    """The experiment of a project without results."""
    return project(tmp_path)
