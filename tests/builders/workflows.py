"""Projects in which Snakemake runs: a small one whose stages a script stands in for, and the smallest as it is.

``Project`` is the former, and says what Snakemake would do in it; ``finished`` makes the latter.
"""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml
from builders.data import program
from builders.experiments import REPOSITORY
from builders.results import IOU_AWARE, SMALL_RUN, experiment

from iou_aware.data.manifest import Manifest, SplitData

CONFIG = "configs/experiments/study.yaml"
STAND_IN = """\
#!/bin/sh
set -e
stage=$1 results=$(dirname "$2") what=$3 split=$5
put() { for file in "$@"; do mkdir -p "$(dirname "$file")"; echo "$stage $what" > "$file"; done; }
case $stage in
  prepare) mkdir -p results/datasets/$what; cp bin/manifest.json results/datasets/$what ;;
  train) for name in config.py history.csv run.json weights.pth; do put $results/runs/$what/$name; done ;;
  release) for name in config.py run.json weights.pth; do put $results/runs/$what/$name; done ;;
  predict) put $results/detections/$what/$split.parquet ;;
  evaluate) put $results/evaluations/$what/$split.json ;;
  collect) put $results/metrics.csv $results/per_class.csv $results/missing.csv $results/checks.json ;;
  table) for suffix in csv md tex html; do put $results/tables/$what.$suffix; done ;;
  bootstrap) put $results/bootstrap/$what/$split.parquet ;;
  premise) put $results/premise/correlations.csv ;;
  gallery) put $results/gallery/gallery.csv ;;
  claims) put $results/claims.json $results/claims.md ;;
  figures) for name in alpha training; do put $results/figures/$name.svg; done ;;
  notebook) put $results/report/$what.html ;;
  report) put $results/report/index.html ;;
esac
"""
SMALL = {
    "runs": [SMALL_RUN | {"detector": "retinanet"}, SMALL_RUN | IOU_AWARE],
    "rules": ["none", "alpha=0.50"],
    "tables": {
        "losses": {
            "caption": "Losses.",
            "split": "val",
            "columns": ["AP"],
            "rows": {"baseline": {"detector": "retinanet"}, "bce": {"iou_loss": "bce", "rule": "none"}},
        }
    },
}
# What runs after a change, in jobs by rule: what reads metrics.csv, and all that follows a training.
NOTEBOOKS = len(list((REPOSITORY / "reports").glob("*.ipynb"))) - 1  # beside the report's own
ALL_CHEAP = {"collect": 1, "table": 1, "figures": 1, "claims": 1, "notebook": NOTEBOOKS, "report": 1}
PREDICTED = {"predict": 1, "evaluate": 1, "bootstrap": 1, "premise": 1, "gallery": 1, **ALL_CHEAP}


def programs(*folders: Path) -> dict[str, str]:
    """Return the environment's variables, with programs from some folders first, then those of this Python."""
    places = [*folders, Path(sys.executable).parent, os.environ["PATH"]]
    return os.environ | {"PATH": os.pathsep.join(map(str, places))}


class Project:
    """A project in a temporary folder, and what Snakemake would do in it."""

    def __init__(self, folder: Path, **changes):
        self.folder = folder
        experiment(folder, **changes)
        for name in ("workflow", "environment.yml"):
            (folder / name).symlink_to(REPOSITORY / name)
        shutil.copytree(REPOSITORY / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        shutil.copy(REPOSITORY / "configs" / "costs.yaml", folder / "configs")
        stand_in = program(folder / "bin" / "iou-aware", STAND_IN)
        part = SplitData("val.json", "val", True, {"images": 5, "boxes": 9}, "f" * 64)
        splits = {"val": part, "test": part}
        manifest = Manifest("shapes", "coco", "data/shapes", ["disc"], [1], "val", ["val"], "error", splits)
        manifest.write(stand_in.with_name("manifest.json"))

    def before_stages(self, script: str) -> None:
        """Let a line of shell run before what stands in for a stage, with the same arguments."""
        (self.folder / "bin" / "iou-aware").write_text(STAND_IN.replace("set -e\n", f"set -e\n{script}\n"))

    def start(self, *arguments: str) -> subprocess.Popen:
        own = {"PYTHONPATH": str(self.folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = ["snakemake", "--cores", "4", *arguments, "--configfile", CONFIG]
        return subprocess.Popen(command, cwd=self.folder, env=programs(self.folder / "bin") | own, **pipes)

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        process = self.start(*arguments)
        out, errors = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, errors)

    def run(self, *arguments: str) -> None:
        done = self.snakemake(*arguments)
        assert done.returncode == 0, done.stderr

    def plan(self, *arguments: str) -> dict[str, int]:
        """Return how many jobs of each rule would run."""
        done = self.snakemake("--dry-run", *arguments)
        assert done.returncode == 0, done.stderr
        text = done.stdout + done.stderr
        if "Job stats:" not in text:
            assert "Nothing to be done" in text
            return {}
        counts = dict(re.findall(r"^(\w+) +(\d+)$", text.partition("Job stats:")[2], re.MULTILINE))
        return {rule: int(count) for rule, count in counts.items() if rule not in ("all", "total")}

    def set(self, **changes) -> None:
        """Replace top-level keys of the experiment."""
        path = self.folder / CONFIG
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes, sort_keys=False))

    def append(self, file: str, text: str = "# changed\n") -> None:
        with (self.folder / file).open("a") as opened:
            opened.write(text)


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a command in a project, with a home folder of its own."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = programs() | {"HOME": str(home)} | environment
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the workflow of a project on the smallest experiment."""
    profile = ["--profile", "workflow/profiles/workstation", "--cores", "2"]
    return command(folder, "snakemake", *profile, *arguments, "--configfile", "configs/experiments/tiny.yaml")


def finished(folder: Path) -> Path:
    """Make ``folder`` a project of the repository's files, in which the workflow runs to its end; return it."""
    for name in ("workflow", "configs", "reports", "src", "environment.yml"):
        (folder / name).symlink_to(REPOSITORY / name)
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Job(NamedTuple):
    """A job that has run: its rule, its command, and the files that the rule declares, below the project."""

    rule: str
    command: list[str]
    inputs: list[str]
    outputs: list[str]


@cache
def jobs(folder: Path) -> list[Job]:
    """Return the jobs of a finished project, as Snakemake knows them."""
    done = snakemake(folder, "--detailed-summary")
    assert done.returncode == 0, done.stderr
    found: dict[str, Job] = {}
    for line in csv.DictReader(done.stdout.splitlines(), delimiter="\t"):
        words = shlex.split(line["shellcmd"].split(" > ")[0])
        inputs = [file for file in line["input-file(s)"].split(",") if not Path(file).is_absolute()]
        found.setdefault(line["shellcmd"], Job(line["rule"], words, inputs, [])).outputs.append(line["output_file"])
    return list(found.values())


# A module that Python imports as it starts: it notes every file that is opened to be read, but by ``os.open``, which
# is not how files are read here and whose path may be relative to another folder.
NOTES = """\
import os, sys

notes = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def note(event, values):
    if event == "open" and values[1] is not None and isinstance(values[0], str) and "r" in values[1]:
        os.write(notes, os.path.abspath(values[0]).encode() + b"\\n")

sys.addaudithook(note)
"""
