"""A real Slurm on this machine, for tests: one node, two files standing in for GPUs.

    python tools/slurm/cluster.py install     Slurm and munge from Debian's packages, if they are not there
    python tools/slurm/cluster.py start       write /etc/slurm, start the daemons, wait until the node takes jobs
    python tools/slurm/cluster.py status      what runs
    python tools/slurm/cluster.py logs        the ends of the daemons' logs
    python tools/slurm/cluster.py stop        cancel the jobs, stop the daemons, take /etc/slurm back

Every command can be given twice. It needs root, on Debian or a relative of it, and says so where it has not got that.
It needs nothing of the project but Python, refuses a machine that has a Slurm of its own, and keeps everything but
``/etc/slurm/*.conf`` (Snakemake's jobs look nowhere else) in one folder, which ``stop`` removes.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
CLUSTER = "iou-aware-stand-in"
FOLDER = Path("/run/iou-aware-slurm")
CONFIGURATION = Path("/etc/slurm/slurm.conf")
GRES = Path("/etc/slurm/gres.conf")
MARK = "Written by tools/slurm/cluster.py"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
DAEMONS = ("slurmd", "slurmctld", "munged")
# Slurm wants devices, and never opens them.
STAND_INS = ("/dev/null", "/dev/zero")
# What a loaded machine may need; a healthy one is ready within seconds.
PATIENCE_S = 120


class ClusterError(RuntimeError):
    """The cluster cannot be had here, with the reason and what to do."""


def install() -> None:
    """Install Slurm and munge from Debian's packages unless they are there.

    Raises:
        ClusterError: This is not Debian, or not root, or the packages could not be installed.
    """
    if all(map(_program, PROGRAMS)):
        return
    print("Installing Debian's packages slurm-wlm and munge", flush=True)
    installer = [sys.executable, str(HERE.parent / "debian" / "install.py")]
    done = subprocess.run(
        [*installer, "--programs", *PROGRAMS, "--packages", "slurm-wlm", "munge"],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ClusterError(done.stderr.strip())
    if Path("/run/systemd/system").is_dir():
        # They would be started with the machine; this cluster has daemons of its own.
        services = ["systemctl", "disable", "slurmctld", "slurmd", "munge"]
        subprocess.run(services, check=False, capture_output=True)


def start() -> None:
    """Start the daemons unless they run, and return when the node takes jobs.

    Raises:
        ClusterError: The machine has a Slurm of its own, or a daemon does not start; its log is quoted.
    """
    _need_root("start the daemons")
    for program in PROGRAMS:
        if _program(program) is None:
            raise ClusterError(f"{program} not found; run: python {Path(__file__).name} install")
    if running():
        return
    if CONFIGURATION.exists() and MARK not in CONFIGURATION.read_text(encoding="utf-8"):
        raise ClusterError(f"{CONFIGURATION} is of another cluster, on a machine with a Slurm of its own; not touched.")
    stop()
    try:
        _write_configuration()
    except OSError as error:
        raise ClusterError(f"{error.filename} cannot be written ({error.strerror}); Slurm's jobs need it.") from error
    own = {
        "key-file": "munge.key",
        "socket": "munge.socket",
        "pid-file": "munged.pid",
        "log-file": "munged.log",
        "seed-file": "munged.seed",
    }
    _start("munged", "--num-threads=2", *(f"--{option}={FOLDER / name}" for option, name in own.items()))
    _start("slurmctld")
    _start("slurmd")
    _wait(running, "the node does not take jobs")


def stop() -> None:
    """Cancel every job, stop the daemons, and remove what ``start`` wrote. Nothing happens where nothing runs.

    Raises:
        ClusterError: A daemon does not stop.
    """
    if not FOLDER.exists():
        return
    _need_root("stop the daemons")
    if _alive("slurmctld"):
        subprocess.run(["scancel", "--user", "root"], check=False, capture_output=True, timeout=30)
        if _alive("slurmd"):
            _wait(lambda: not _jobs(), "jobs do not end", timeout=60)
    for daemon in DAEMONS:
        pid = _alive(daemon)
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            _wait(lambda daemon=daemon: _alive(daemon) is None, f"{daemon} does not stop")
    for pid in _left():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(FOLDER)
    for file in (CONFIGURATION, GRES):
        if file.exists() and MARK in file.read_text(encoding="utf-8"):
            file.unlink()


def running() -> bool:
    """Say whether all daemons run and the node takes jobs."""
    if not all(_alive(daemon) for daemon in DAEMONS):
        return False
    try:
        found = subprocess.run(["sinfo", "-h", "-o", "%T"], check=False, capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:
        return False
    return bool(found.stdout.split()) and set(found.stdout.split()) <= {"idle", "mixed", "allocated"}


def status() -> None:
    """Print the daemons, the node and the jobs."""
    for daemon in reversed(DAEMONS):
        print(f"{daemon}: {_alive(daemon) or 'not running'}")
    if _alive("slurmctld"):
        subprocess.run(["sinfo", "-N", "-o", "%N %P %T %c CPUs %m MB %G"], check=False, timeout=30)
        subprocess.run(["squeue"], check=False, timeout=30)


def logs() -> None:
    """Print the ends of the daemons' logs."""
    print(_logs())


def _write_configuration() -> None:
    FOLDER.mkdir(mode=0o755)
    for name in ("state", "spool"):
        (FOLDER / name).mkdir()
    key = FOLDER / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    host = socket.gethostname().split(".")[0]
    text = (HERE / "slurm.conf").read_text(encoding="utf-8")
    for name, value in {"HOST": host, "FOLDER": str(FOLDER), "CLUSTER": CLUSTER}.items():
        text = text.replace(f"@{name}@", value)
    CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    CONFIGURATION.write_text(text, encoding="utf-8")
    devices = [FOLDER / f"gpu{i}" for i in range(len(STAND_INS))]
    for device, stand_in in zip(devices, STAND_INS, strict=True):
        device.symlink_to(stand_in)
    lines = [f"# {MARK}", *(f"NodeName={host} Name=gpu File={device}" for device in devices)]
    GRES.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _start(daemon: str, *options: str) -> None:
    # A daemon keeps its parent's descriptors; one that held the pipe of whoever called this would never let go of it.
    with (FOLDER / f"{daemon}.err").open("w") as errors:
        command = [_program(daemon), *options]
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
    if done.returncode:
        raise ClusterError(f"{daemon} ends with {done.returncode}.{_logs()}")
    _wait(lambda: _alive(daemon) is not None, f"{daemon} does not start")


def _alive(daemon: str) -> int | None:
    """Return the process id of a daemon of this cluster, or None when it does not run."""
    try:
        pid = int((FOLDER / f"{daemon}.pid").read_text())
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        dead = ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return None
    return pid if name == daemon and not dead else None


def _left() -> list[int]:
    """Return what jobs left running: Slurm loses sight of a process here once its parent is gone."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"SLURM_CLUSTER_NAME={CLUSTER}".encode() in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
        except OSError:
            continue  # It has ended, or is not ours to see.
    return found


def _jobs() -> str:
    return subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=False, timeout=30).stdout.strip()


def _wait(met: Callable[[], bool], otherwise: str, timeout: float = PATIENCE_S) -> None:
    end = time.monotonic() + timeout
    while not met():
        if time.monotonic() > end:
            raise ClusterError(f"{otherwise}, after {timeout:.0f} s.{_logs()}")
        time.sleep(0.2)


def _logs() -> str:
    """Return the ends of the daemons' logs."""
    files = [file for suffix in ("log", "err") for file in sorted(FOLDER.glob(f"*.{suffix}"))]
    return "".join(f"\n--- {file}\n{file.read_text(errors='replace')[-3000:]}" for file in files)


def _need_root(what: str) -> None:
    if os.geteuid() != 0:
        raise ClusterError(f"only root can {what}; run this as root, as in a container of the CI.")


def main() -> int:
    """Run one command of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"install": install, "start": start, "status": status, "logs": logs, "stop": stop}
    parser.add_argument("command", choices=commands)
    try:
        commands[parser.parse_args().command]()
    except ClusterError as error:
        print(f"No Slurm cluster here: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
