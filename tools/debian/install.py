"""Programs that a test needs, from Debian's packages where they are not there already.

    python tools/debian/install.py --programs pdflatex --packages texlive-latex-base

Installing needs root and apt-get; where there is neither, it says so in a sentence and ends with 1. It needs nothing of
the project but Python.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# Daemons lie where a user's PATH need not lead.
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

# Debian asks this program whether a package may start its daemons; 101 is a no.
POLICY = Path("/usr/sbin/policy-rc.d")


def install(programs: Sequence[str], packages: Sequence[str]) -> str | None:
    """Install packages unless all programs are there; return what went wrong, as a sentence, or None."""
    missing = ", ".join(program for program in programs if shutil.which(program, path=PATH) is None)
    if not missing:
        return None
    wanted = " ".join(packages)
    if shutil.which("apt-get") is None:
        return f"{missing} not found, and no apt-get to install Debian's {wanted} with; install them."
    if os.geteuid() != 0:
        return f"{missing} not found, and only root can install it; as root: apt-get install {wanted}"
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    patient = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]
    with _no_services():
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run([*patient, *command], check=False, env=environment, capture_output=True, text=True)
            if done.returncode:
                return f"apt-get {' '.join(command)} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}"
    return None


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Keep packages from starting daemons of their own while they are installed, unless the machine has said so."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    try:
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", nargs="+", required=True, help="what has to be there")
    parser.add_argument("--packages", nargs="+", required=True, help="Debian's packages that bring it")
    options = parser.parse_args()
    fault = install(options.programs, options.packages)
    if fault:
        print(fault, file=sys.stderr)
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main())
