"""The two lists of pinned versions, requirements.lock for laptops and environment.yml for clusters, agree."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from builders.processes import python

ROOT = Path(__file__).resolve().parents[2]
#: torch and mmcv come as a pair of prebuilt CUDA wheels on a cluster, and pip's resolver asks for OpenCV's full build.
MAY_DIFFER = {"torch", "onedl-mmcv", "opencv-python"}


*CONDA, PIP = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


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
    imported = {name for file in (ROOT / "src").rglob("*.py") for name in top_level_imports(file)}
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


def top_level_imports(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0] for name in names}
