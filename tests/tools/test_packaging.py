"""What is installed of the project and beside it: wheel, extras, pinned versions, and the container's recipe.

`make test-container` carries that recipe out; here it is only looked at.
"""

import ast
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from builders import dockerfile
from builders.detections import entries, noisy, scene
from builders.dockerfile import ROOT
from builders.processes import python

import iou_aware

#: torch and mmcv come as a pair of prebuilt CUDA wheels on a cluster, and pip's resolver asks for OpenCV's full build.
MAY_DIFFER = {"torch", "onedl-mmcv", "opencv-python"}
*CONDA, PIP = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
STEPS = dockerfile.instructions()
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


def pins(lines: list[str]) -> dict[str, str]:
    return dict(line.split("==") for line in lines if line and line[0] not in "#-")


LOCKED, ON_CLUSTERS = pins((ROOT / "requirements.lock").read_text().splitlines()), pins(PIP["pip"])


def test_both_files_pin_the_same_versions_but_for_the_named_pair():
    assert len(LOCKED) > 100 and LOCKED.keys() - MAY_DIFFER == ON_CLUSTERS.keys() - MAY_DIFFER
    assert {name for name in LOCKED.keys() & ON_CLUSTERS if LOCKED[name] != ON_CLUSTERS[name]} <= MAY_DIFFER


def test_conda_finds_a_torch_and_an_mmcv_that_are_built_for_each_other():
    """The ops of mmcv load only with the PyTorch they were compiled for; its version list says what is published."""
    torch, cuda = ON_CLUSTERS["torch"].split("+")
    assert (ON_CLUSTERS["onedl-mmcv"], torch, cuda) in {("2.3.6", "2.9.0", "cu129"), ("2.3.6", "2.10.0", "cu129")}
    assert "python=3.12" in CONDA and "--only-binary onedl-mmcv" in PIP["pip"]
    assert f"--extra-index-url https://download.pytorch.org/whl/{cuda}" in PIP["pip"]
    assert f"--extra-index-url https://mmwheels.onedl.ai/{cuda}-torch{torch.replace('.', '')}/simple/" in PIP["pip"]


def test_whatever_the_package_imports_is_named_as_its_need_and_pinned():
    needed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["study"])
    assert {name.lower() for name in needed} <= {name.lower() for name in LOCKED}
    providers = packages_distributions()
    nodes = [node for file in (ROOT / "src").rglob("*.py") for node in ast.walk(ast.parse(file.read_text()))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    imported = {name.partition(".")[0] for name in names}
    assert {"torch", "cv2", "yaml"} <= imported
    for name in imported - sys.stdlib_module_names - {"iou_aware"}:
        assert {provider.lower() for provider in providers[name]} & needed, name


def test_the_head_needs_nothing_that_mmdetection_does_not_bring():
    """Installed on its own, the package asks for nothing: it must not put another PyTorch or mmcv over a project's."""
    assert not tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("dependencies")
    assert not further_imports("mmdet.models", "import iou_aware.method.heads, iou_aware.method.targets")


def further_imports(known: str, code: str) -> set[str]:
    """Return the packages that code imports beside those of a known one, without Python's and this project's."""
    code = f"import sys, {known}; before = set(sys.modules); {code}; print(set(sys.modules) - before)"
    answer = python("-c", code, check=True)
    names = {name.partition(".")[0] for name in ast.literal_eval(answer.stdout.splitlines()[-1])}
    return names - sys.stdlib_module_names - {"iou_aware"}


@pytest.mark.parametrize(("before", "known"), [("", "False False"), ("import mmdet.registry", "True True")])
def test_importing_the_package_registers_the_head_only_in_an_mmdetection_process(before, known):
    code = f"{before}\nimport sys, iou_aware; print('torch' in sys.modules, 'iou_aware.method.heads' in sys.modules)"
    answer = python("-c", code, check=True)
    assert answer.stdout.splitlines()[-1] == known


def test_snakemake_needs_little_beside_itself_where_jobs_run_in_a_container():
    """What docs/cluster.md has installed for it, on a login node where all else is in the image."""
    text = (ROOT / "docs" / "cluster.md").read_text()
    named = set(re.search(r"pip install -c requirements\.lock (.*)", text)[1].split())
    imports = re.findall(r"^(?:from|import) iou_aware.*", (ROOT / "workflow" / "Snakefile").read_text(), re.MULTILINE)
    needed = further_imports("snakemake.utils", "; ".join(imports))
    providers = packages_distributions()
    assert {provider.lower() for name in needed & providers.keys() for provider in providers[name]} <= named


def test_everything_that_is_copied_into_the_container_is_in_the_repository_and_reaches_the_build():
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in rules, "data and results stay out"
    copied = [shlex.split(rest)[:-1] for word, rest in STEPS if word == "COPY" and "--from" not in rest]
    names = set().union(*copied)
    assert names == {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    tracked = files_of_the_project()
    for name in names:
        assert fnmatch.filter(tracked, name) or fnmatch.filter(tracked, f"{name}/*"), name


def test_every_base_is_a_named_version_and_cuda_is_the_one_that_pytorch_is_built_for():
    bases = dict(rest.split("=") for word, rest in STEPS if word == "ARG" and "BASE=" in rest)
    assert {rest.split()[0].strip("${}") for word, rest in STEPS if word == "FROM"} == set(bases)
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*", base) for base in bases.values())
    major, minor, system = re.search(r"cuda:(\d+)\.(\d+).*-ubuntu([\d.]+)$", bases["BUILD_BASE"]).groups()
    assert ON_CLUSTERS["torch"].endswith(f"+cu{major}{minor}")
    assert bases["BASE"] == f"ubuntu:{system}", "what is built with one Python runs with the same"
