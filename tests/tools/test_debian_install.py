"""Installing what a test needs from Debian: nothing where all is there, a sentence where it cannot be."""

import subprocess
import sys
from pathlib import Path

from builders.data import program

SCRIPT = Path(__file__).parents[2] / "tools" / "debian" / "install.py"


def install(path: Path, *programs: str) -> subprocess.CompletedProcess:
    command = [sys.executable, SCRIPT, "--programs", *programs, "--packages", "some-package"]
    return subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, check=False)


def test_nothing_is_installed_where_everything_is_there(tmp_path):
    program(tmp_path / "there", "#!/bin/sh\nexit 0")
    program(tmp_path / "apt-get", f"#!/bin/sh\ntouch {tmp_path}/called; exit 1")
    assert install(tmp_path, "there").returncode == 0
    assert not (tmp_path / "called").exists()


def test_without_apt_get_it_says_what_is_missing(tmp_path):
    program(tmp_path / "there", "#!/bin/sh\nexit 0")
    done = install(tmp_path, "there", "nowhere-to-be-found")
    assert done.returncode == 1
    assert done.stderr.startswith("nowhere-to-be-found not found, and no apt-get")
    assert "some-package" in done.stderr and done.stderr.count("\n") == 1


def test_an_installation_that_cannot_be_is_told(tmp_path):
    """As root by what apt-get says, as anybody else by asking for root."""
    program(tmp_path / "apt-get", "#!/bin/sh\necho no such package; exit 100")
    done = install(tmp_path, "nowhere-to-be-found")
    assert done.returncode == 1
    assert "no such package" in done.stderr or "only root" in done.stderr
