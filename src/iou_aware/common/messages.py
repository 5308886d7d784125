"""What the package tells people: its log, the errors that are meant for them, and how a stage ended."""

import logging
import re
from pathlib import Path

log = logging.getLogger("iou_aware")

# Exit statuses. Snakemake learns that a job failed and, on a cluster, not even its status: the log ends with it, a file
# that the stage writes and Snakemake's side reads.
WRONG_INPUT = 2
INTERRUPTED = 75  # what sysexits.h calls a temporary failure: try again
TERMINATED = 128 + 15  # a shell's status of what SIGTERM has ended

_MARK = re.compile(r" \[exit status (\d+)\]$", re.MULTILINE)


class InputError(ValueError):
    """Something the user gave is wrong: a configuration, an annotation file, an image, a weights file.

    The message names the file, the line or key, what was found, what was expected and what to do. The command line
    prints it without a traceback.
    """


class MachineError(InputError):
    """The machine is at fault, not what the user gave: the same command may work later, or elsewhere."""


def marked(message: str, status: int) -> str:
    """Return the last message of a stage's log, with its exit status."""
    return f"{message} [exit status {status}]"


def exit_status(log_file: Path) -> int | None:
    """Return the exit status at the end of a log; None where it has none, as after SIGKILL."""
    statuses = _MARK.findall(log_file.read_text(errors="replace"))
    return int(statuses[-1]) if statuses else None
