"""The container recipe carried out step by step in an empty Ubuntu, without a container engine or a registry.

Needs root on Debian or Ubuntu, their packages and PyPI. One of the recipe's bases has CUDA, so here it makes an
environment without. CONTAINER_SYSTEM names another root to begin with, CONTAINER_BINDS what of this machine is to be
seen in it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders import dockerfile
from builders.dockerfile import ROOT


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The root of the image."""
    if os.geteuid():
        pytest.fail("make test-container changes roots, which only root may: run it in a container or virtual machine")
    folder = tmp_path_factory.mktemp("container")
    system = os.environ.get("CONTAINER_SYSTEM") or ubuntu(folder / "system")
    return dockerfile.build(folder, Path(system), CUDA="0")


def ubuntu(system: Path) -> Path:
    """Install the system that the image is made from, as its own tools do."""
    release = "noble"  # 24.04
    install = [sys.executable, ROOT / "tools" / "debian" / "install.py", "--programs", "debootstrap"]
    subprocess.run([*install, "--packages", "debootstrap"], check=True)
    script = Path("/usr/share/debootstrap/scripts")
    command = ["debootstrap", "--variant=minbase", "--components=main,universe", release, system]
    command += ["http://archive.ubuntu.com/ubuntu", *([] if (script / release).exists() else [script / "gutsy"])]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return system


def commands(root, script: str, work: str = "/") -> str:
    """Run commands in the image as it is used: with its variables, in a folder of the user's."""
    settings = [part for word, rest in dockerfile.instructions() if word == "ENV" for part in rest.split()]
    image = dict(setting.split("=", 1) for setting in settings)
    image["PATH"] = image["PATH"].replace("$PATH", dockerfile.SYSTEM_PATH)
    return dockerfile.run(root, work, script, image)


def test_the_image_has_the_stages_the_ops_and_git(root):
    said = commands(root, "iou-aware --help; snakemake --version; git --version; c++ --version")
    assert "iou-aware" in said
    said = commands(root, "python -c 'import mmcv.ops, mmdet, iou_aware; print(iou_aware.__file__)'")
    assert said.strip() == "/opt/iou-aware/src/iou_aware/__init__.py"


def test_the_code_is_the_clones_where_a_command_runs_in_one(root):
    clone = root / "clone"
    dockerfile.copy(ROOT, ["src"], clone / "src")
    said = commands(root, "python -c 'import iou_aware; print(iou_aware.__file__)'", work="/clone")
    assert said.strip() == "/clone/src/iou_aware/__init__.py"
    assert "usage: iou-aware" in commands(root, "iou-aware --help", work="/clone")
