"""The whole workflow on the smallest experiment, for tests of what comes out at its end."""

import csv
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a command in a project, with a home folder of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        arguments,
        cwd=folder,
        env=os.environ | {"PATH": path, "HOME": str(home)} | environment,
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


class Job(NamedTuple):
    """A job that has run: its rule, its command, and the files that the rule declares, below the project."""

    rule: str
    command: list[str]
    inputs: list[str]
    outputs: list[str]


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
