"""The container recipe, as far as it can be looked at without building it; `make test-container` carries it out."""

import fnmatch
import re
import shlex
import subprocess

import yaml
from builders import dockerfile
from builders.dockerfile import ROOT

STEPS = dockerfile.instructions()


def test_everything_that_is_copied_is_in_the_repository_and_reaches_the_build():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert "*" in rules, "data and results stay out"
    copied = [shlex.split(rest)[:-1] for word, rest in STEPS if word == "COPY" and "--from" not in rest]
    names = set().union(*copied)
    assert names == let_in
    for name in names:
        assert fnmatch.filter(tracked, name) or fnmatch.filter(tracked, f"{name}/*"), name


def test_every_base_is_a_named_version_and_cuda_is_the_one_that_pytorch_is_built_for():
    bases = dict(rest.split("=") for word, rest in STEPS if word == "ARG" and "BASE=" in rest)
    used = [rest.split()[0].strip("${}") for word, rest in STEPS if word == "FROM"]
    assert set(used) == set(bases)
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*", base) for base in bases.values())
    pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]["pip"]
    torch = next(line for line in pip if line.startswith("torch=="))
    major, minor = re.search(r"cuda:(\d+)\.(\d+)", bases["BUILD_BASE"]).groups()
    assert torch.endswith(f"+cu{major}{minor}")
    system = re.search(r"ubuntu[\d.:]+$", bases["BUILD_BASE"])[0].replace("ubuntu", "ubuntu:")
    assert bases["BASE"] == system, "what is built with one Python runs with the same"
