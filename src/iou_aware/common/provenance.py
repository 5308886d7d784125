"""What made a result: the code's git commit and the versions of everything that can change a number."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

PACKAGES = {
    "torch": "torch",
    "mmdet": "onedl-mmdetection",
    "mmcv": "onedl-mmcv",
    "mmengine": "onedl-mmengine",
    "numpy": "numpy",
    "pycocotools": "pycocotools",
    "hotcoco": "hotcoco",
}


def _git(*arguments: str) -> str | None:
    """Return git's answer about the folder this package lies in; None outside of a repository or without git."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


@cache
def collect() -> dict[str, str | bool | None]:
    """Return the provenance of whatever is computed by this process.

    Returns:
        ``git_commit`` (None when the package is not in a git checkout), ``git_dirty``, ``python`` and one key per
        package of ``PACKAGES`` with its installed version.
    """
    status = _git("status", "--porcelain", "--untracked-files=no")
    provenance = {"git_commit": _git("rev-parse", "HEAD"), "git_dirty": None if status is None else bool(status)}
    provenance["python"] = platform.python_version()
    return provenance | {name: version(distribution) for name, distribution in PACKAGES.items()}
