"""A finished study, which tests read and change nothing of but its figures."""

import pytest
from builders.results import finished

from iou_aware.analysis.tables.write import write_table
from iou_aware.experiment.experiment import Experiment


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Experiment:
    """A study of the paper's own numbers, less a constant, with its tables written."""
    made = finished(tmp_path_factory.mktemp("study"))
    for name in made.tables:
        write_table(made, name)
    return made
