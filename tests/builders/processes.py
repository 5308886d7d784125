"""Programs that tests run to their end."""

import subprocess
import sys
from pathlib import Path
from typing import Any


def python(*arguments: str | Path, check: bool = False, **options: Any) -> subprocess.CompletedProcess:
    """Run Python with these arguments, and return what it said; options are those of ``subprocess.run``."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=check, **options)
