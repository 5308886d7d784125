"""The exit status of a stage, which its log ends with, and when Snakemake runs the stage again.

Snakemake learns that a job failed and, on a cluster, not even its exit status. The log is a file that both can read.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRONG_INPUT = 2
INTERRUPTED = 75  # what sysexits.h calls a temporary failure: try again
TERMINATED = 128 + 15  # a shell's status of what SIGTERM has ended

_MARK = re.compile(r" \[exit status (\d+)\]$", re.MULTILINE)


def marked(message: str, status: int) -> str:
    """Return the last message of a stage's log, with its exit status."""
    return f"{message} [exit status {status}]"


def exit_status(log: Path) -> int | None:
    """Return the exit status at the end of a log; None where it has none, as after SIGKILL."""
    statuses = _MARK.findall(log.read_text(errors="replace"))
    return int(statuses[-1]) if statuses else None


def may_lack_memory(log: Path) -> bool:
    """Return whether the last attempt may have run out of memory: it ran, and was not asked to stop."""
    return log.is_file() and exit_status(log) not in (INTERRUPTED, TERMINATED)


def retry_no_wrong_input(*kinds: type) -> None:
    """Make Snakemake not retry a job whose stage found its input wrong.

    Args:
        kinds: Snakemake's classes of jobs, ``Job`` and ``GroupJob``, whose ``restart_times`` is the number of retries.
    """
    for kind in kinds:
        kind.restart_times = property(_unless_wrong(kind.restart_times.fget))


def _unless_wrong(allowed: Callable[[Any], int]) -> Callable[[Any], int]:
    def restart_times(job: Any) -> int:
        logs = filter(Path.is_file, map(Path, job.log))
        return 0 if any(exit_status(log) == WRONG_INPUT for log in logs) else allowed(job)

    return restart_times
