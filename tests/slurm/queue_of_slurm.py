"""What a test asks of Slurm, and what it does to it."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# On a loaded machine; Snakemake asks for news every three minutes at most.
PATIENCE_S = 1200


@dataclass(frozen=True)
class Job:
    """One job of Slurm's queue.

    Attributes:
        number: its id.
        state: such as ``RUNNING``.
        rule: the rule of Snakemake that it runs, or the group of rules.
        run: the run that it trains; empty for others.
        start: when it started or is expected to, in seconds since the epoch; infinite where nobody knows.
    """

    number: str
    state: str
    rule: str
    run: str
    start: float


def jobs() -> list[Job]:
    """Return every job that Slurm remembers, the newest last."""
    lines = slurm("squeue", "--noheader", "--all", "--states=all", "--sort=i", "--format=%i|%T|%k|%S").splitlines()
    found = []
    for line in lines:
        number, state, comment, start = line.split("|")
        rule, _, wildcards = comment.removeprefix("rule_").partition("_wildcards_")
        since = float("inf") if start == "N/A" else datetime.fromisoformat(start).timestamp()
        found.append(Job(number, state, rule, wildcards if rule == "train" else "", since))
    return found


def running(rule: str) -> list[Job]:
    """Return the jobs of a rule that run now."""
    return [job for job in jobs() if job.state == "RUNNING" and job.rule == rule]


def state(number: str) -> str:
    """Return the state of one job."""
    return next(job.state for job in jobs() if job.number == number)


def details(number: str) -> str:
    """Return all that Slurm says about a job."""
    return slurm("scontrol", "show", "job", number)


def slurm(*command: str) -> str:
    """Run one of Slurm's commands and return what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def wait(met: Callable[[], Any], what: str, process: subprocess.Popen) -> Any:
    """Return what ``met`` returns once that is true; fail when it is not in time, or when the workflow ends before."""
    end = time.monotonic() + PATIENCE_S
    while not (value := met()):
        assert process.poll() is None, f"the workflow ended before this happened: {what}"
        assert time.monotonic() < end, f"did not happen within {PATIENCE_S} s: {what}"
        time.sleep(0.2)
    return value
