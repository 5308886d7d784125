"""The whole workflow on the smallest experiment, for tests of what comes out at its end."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run a command in a project, with a home folder of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        arguments,
        cwd=folder,
        env=os.environ | {"PATH": path, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the workflow of a project on the smallest experiment."""
    profile = ["--profile", "workflow/profiles/workstation", "--cores", "2"]
    return command(folder, "snakemake", *profile, *arguments, "--configfile", "configs/experiments/tiny.yaml")


def finished(folder: Path) -> Path:
    """Make ``folder`` a project of the repository's files, in which the workflow runs to its end; return it."""
    for name in ("Snakefile", "workflow", "configs", "reports", "src", "environment.yml"):
        (folder / name).symlink_to(REPOSITORY / name)
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
