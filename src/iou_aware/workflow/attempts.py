"""How an attempt at a stage ended, which its log says at the end, and what another attempt is good for.

A workflow manager sees only that a job failed, on a cluster not even its exit status, while the log is a file that both
see.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRONG_INPUT = 2
INTERRUPTED = 75  # what sysexits.h calls a temporary failure: try again
TERMINATED = 128 + 15  # a shell's status of what SIGTERM has ended

_MARK = re.compile(r" \[exit status (\d+)\]$", re.MULTILINE)


def marked(message: str, status: int) -> str:
    """Return a stage's last words with its exit status."""
    return f"{message} [exit status {status}]"


def ended(log: Path) -> int | None:
    """Return the exit status at the end of a log; None where it has none, as of a stage that was killed."""
    statuses = _MARK.findall(log.read_text(errors="replace"))
    return int(statuses[-1]) if statuses else None


def may_lack_memory(log: Path) -> bool:
    """Say whether the last attempt may have been ended for want of memory: it ran, and was not asked to stop."""
    return log.is_file() and ended(log) not in (INTERRUPTED, TERMINATED)


def end_at_once(*kinds: type) -> None:
    """Let Snakemake not try a job again whose stage found its input wrong, from now on.

    Args:
        kinds: Snakemake's classes of jobs, ``Job`` and ``GroupJob``, whose ``restart_times`` says how often.
    """
    since = time.time()  # a log from before does not speak of this attempt
    for kind in kinds:
        kind.restart_times = property(_unless_wrong(kind.restart_times.fget, since))


def _unless_wrong(allowed: Callable[[Any], int], since: float) -> Callable[[Any], int]:
    def restart_times(job: Any) -> int:
        logs = [path for path in map(Path, job.log) if path.is_file() and path.stat().st_mtime >= since]
        return 0 if any(ended(log) == WRONG_INPUT for log in logs) else allowed(job)

    return restart_times
