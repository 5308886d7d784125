"""The container recipe carried out step by step in an empty Ubuntu, without a container engine or a registry.

Needs root on Debian or Ubuntu, their packages (debootstrap, bubblewrap) and PyPI. One of the bases has CUDA, so here it
makes an environment without. CONTAINER_SYSTEM names another root to begin with, CONTAINER_BINDS what of this machine is
to be seen in it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders import dockerfile
from builders.dockerfile import ROOT


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The root of the image, and the variables that it sets."""
    if os.geteuid():
        pytest.fail("make test-container changes roots, which only root may: run it in a container or virtual machine")
    install = [sys.executable, ROOT / "tools" / "debian" / "install.py", "--programs", "bwrap", "debootstrap"]
    subprocess.run([*install, "--packages", "bubblewrap", "debootstrap"], check=True)
    folder = tmp_path_factory.mktemp("container")
    system = os.environ.get("CONTAINER_SYSTEM") or ubuntu(folder / "system")
    return dockerfile.build(folder, Path(system), CUDA="0")


def ubuntu(system: Path) -> Path:
    """Install the system that the image is made from, as its own tools do."""
    release = "noble"  # 24.04
    script = Path("/usr/share/debootstrap/scripts")
    command = ["debootstrap", "--variant=minbase", "--components=main,universe", release, system]
    command += ["http://archive.ubuntu.com/ubuntu", *([] if (script / release).exists() else [script / "gutsy"])]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return system


def test_the_image_has_the_stages_the_ops_and_git(image):
    said = dockerfile.run(*image, "iou-aware --help; snakemake --version; git --version; c++ --version")
    assert "iou-aware" in said
    said = dockerfile.run(*image, "python -c 'import mmcv.ops, mmdet, iou_aware; print(iou_aware.__file__)'")
    assert said.strip() == "/opt/iou-aware/src/iou_aware/__init__.py"


def test_the_code_is_the_clones_where_a_command_runs_in_one(image):
    root, _ = image
    dockerfile.copy(ROOT, ["src"], root / "clone" / "src")
    said = dockerfile.run(*image, "python -c 'import iou_aware; print(iou_aware.__file__)'", work="/clone")
    assert said.strip() == "/clone/src/iou_aware/__init__.py"
    assert "usage: iou-aware" in dockerfile.run(*image, "iou-aware --help", work="/clone")
