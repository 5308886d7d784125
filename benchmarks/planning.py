"""``snakemake -n``: how long the workflow takes to plan a study of which nothing is done yet."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from timing import alone

ROOT = Path(__file__).parents[1]
FILES = ("workflow", "configs", "reports", "src", "environment.yml")


def plan(project: Path, experiment: str) -> Callable[[], None]:
    """Return what plans an experiment in a folder."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "all", "--cores", "2"]
    command += ["--configfile", f"configs/experiments/{experiment}.yaml"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

    def work() -> None:
        subprocess.run(command, cwd=project, env=os.environ | {"PATH": path}, check=True, capture_output=True)

    return work


def entries(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield an entry for the miniature (``quick``: a tiny one instead) and, unless ``quick``, the paper's study."""
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES:
            (Path(folder) / name).symlink_to(ROOT / name)
        for experiment in ["tiny"] if quick else ["micro", "paper"]:
            side = ("everything yet to be made", plan(Path(folder), experiment))
            yield alone(f"snakemake -n, experiment {experiment}", side, turns=1 if quick else 3)
