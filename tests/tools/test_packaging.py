"""What is installed of the project: wheel, source distribution, and what each extra needs."""

import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from builders.detections import entries, noisy, scene
from builders.processes import python

import iou_aware

ROOT = Path(__file__).parents[2]
BACKEND = "import sys, setuptools.build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"
RUN = "from iou_aware import cli; sys.exit(cli.main(sys.argv[1:]))"
# None of these may be imported by who only compares results files.
BLOCKED = ("torch", "mmdet", "mmengine", "mmcv", "cv2", "pyarrow", "yaml", "seaborn", "matplotlib", "snakemake")

BLOCKING = """
class Blocked:
    def find_spec(name, *_):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked)
"""


def files_of_the_project() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if os.path.lexists(ROOT / name)]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with a source distribution, and a wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    (folder / "project").mkdir()
    subprocess.run(["cp", "-a", "--parents", *files_of_the_project(), folder / "project"], cwd=ROOT, check=True)
    build(folder / "project", "build_sdist", folder)
    shutil.unpack_archive(next(folder.glob("*.tar.gz")), folder / "unpacked", filter="data")
    build(next((folder / "unpacked").iterdir()), "build_wheel", folder)
    return folder


def build(project: Path, kind: str, into: Path) -> None:
    done = python("-c", BACKEND, kind, into, cwd=project)
    assert done.returncode == 0, done.stderr


def test_both_hold_what_commands_need_and_nothing_else(built):
    (archive,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    with tarfile.open(archive) as source, zipfile.ZipFile(wheel) as installed:
        in_source, in_wheel = {name.partition("/")[2] for name in source.getnames()}, set(installed.namelist())
    tracked = files_of_the_project()
    package = {name.removeprefix("src/") for name in tracked if re.match(r"src/.*\.(py|yaml|j2|mplstyle)$", name)}
    data = {name for name in tracked if re.match(r"(configs|reports)/|model-index\.yml$", name)}
    assert "reports/paper/table1.csv" in data and "iou_aware/schemas/experiment.schema.yaml" in package
    assert package | {f"iou_aware/.mim/{name}" for name in data} == {
        name for name in in_wheel if not re.match(r"iou_aware-[^/]*dist-info/", name)
    }
    assert {f"src/{name}" for name in package} | data <= in_source
    assert {"workflow/Snakefile", "workflow/rules/train.smk", "Makefile", "LICENSE"} <= in_source
    assert not {name for name in in_source if re.match(r"(tests|data|results|docs|benchmarks)/", name)}


def test_wheel_runs_its_commands(built, tmp_path):
    shutil.unpack_archive(next(built.glob("*.whl")), tmp_path, "zip")
    code = f"import sys; sys.path.insert(0, '.'); {RUN}"
    experiment = "iou_aware/.mim/configs/experiments/paper.yaml"
    done = python("-c", code, "runs", experiment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "coco.iou_aware_retinanet.r50" in done.stdout
    assert f"Version: {iou_aware.__version__}" in next(tmp_path.glob("*.dist-info/METADATA")).read_text()


def test_files_are_compared_without_pytorch_and_mmdetection(tmp_path):
    content = scene(tmp_path / "truth.json")
    for seed, name in enumerate("AB"):
        (tmp_path / f"{name}.json").write_text(json.dumps(entries(noisy(content, seed))))
    code = f"import sys; blocked = {BLOCKED!r}" + BLOCKING + RUN
    sides = ["compare", "A.json", "B.json", "--annotations", "truth.json", "--into", "out"]
    done = python("-c", code, *sides, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "| AP75 |" in done.stdout
    assert {file.name for file in (tmp_path / "out").iterdir()} >= {"index.html", "metrics.csv"}


def test_one_version_is_told_everywhere():
    assert f"\nversion: {iou_aware.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == iou_aware.__version__


def test_every_trained_detector_is_in_the_metafile():
    index = yaml.safe_load((ROOT / "model-index.yml").read_text())
    models = [model for file in index["Import"] for model in yaml.safe_load((ROOT / file).read_text())["Models"]]
    files = [model["Config"] for model in models]
    recipes = [ROOT / "configs" / "detectors" / recipe for recipe in ("mmdet3", "paper")]
    assert sorted(files) == sorted(str(file.relative_to(ROOT)) for folder in recipes for file in folder.glob("*.py"))
    assert len({model["Name"] for model in models}) == len(models)
