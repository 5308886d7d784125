"""A small project whose stages a shell script stands in for, and what Snakemake would do in it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from builders.results import SMALL_RUN, experiment

from iou_aware.data.manifest import Manifest, SplitData

REPOSITORY = Path(__file__).parents[2]
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
    "runs": [
        SMALL_RUN | {"detector": "retinanet"},
        SMALL_RUN | {"detector": "iou_aware_retinanet", "iou_loss": "bce"},
    ],
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


class Project:
    """A project in a temporary folder, and what Snakemake would do in it."""

    def __init__(self, folder: Path, **changes):
        self.folder = folder
        experiment(folder, **changes)
        for name in ("Snakefile", "workflow", "environment.yml"):
            (folder / name).symlink_to(REPOSITORY / name)
        for name in ("src", "reports"):
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored, dirs_exist_ok=True)
        if (REPOSITORY / "configs" / "costs.yaml").is_file():
            shutil.copy(REPOSITORY / "configs" / "costs.yaml", folder / "configs")
        stand_in = folder / "bin" / "iou-aware"
        stand_in.parent.mkdir()
        stand_in.write_text(STAND_IN)
        stand_in.chmod(0o755)
        part = SplitData("val.json", "val", True, {"images": 5, "boxes": 9}, "f" * 64)
        splits = {"val": part, "test": part}
        manifest = Manifest("shapes", "coco", "data/shapes", ["disc"], [1], "val", ["val"], "error", splits)
        manifest.write(stand_in.with_name("manifest.json"))

    def start(self, *arguments: str) -> subprocess.Popen:
        path = os.pathsep.join([str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        return subprocess.Popen(
            ["snakemake", "--cores", "4", *arguments, "--configfile", CONFIG],
            cwd=self.folder,
            env=os.environ | {"PATH": path, "PYTHONPATH": str(self.folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

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
