"""A small experiment in a project of its own, as the working directory."""

import pytest
from builders.experiments import write


@pytest.fixture
def project(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
