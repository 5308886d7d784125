"""Create `.venv` with every pinned dependency, mmcv's compiled ops and this package. Called by make; safe to repeat.

Needs Python 3.11 or 3.12 with headers, a C++ compiler and the network; no root. A finished set-up is recognised by a
stamp that names what it was made from, so a second run takes no time, and an interrupted one goes on where it stopped.
Of two at once in one folder the second waits for the first.
"""

import contextlib
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from build_mmcv import alone

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / "iou-aware.stamp"
MADE = VENV / "iou-aware.made"
PYTHON = VENV / "bin" / "python"
#: What mmcv's build needs in the environment before it starts; everything else can be installed meanwhile.
BUILD_TOOLS = ("torch", "numpy", "setuptools", "wheel", "ninja", "packaging")


def check_tools() -> None:
    """Exit with one sentence about the first thing that is missing."""
    compiler = shlex.split(os.environ.get("CXX", "c++"))[0]
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        sys.exit(
            f"Python 3.11 or 3.12 is needed and {sys.executable} is {sys.version.split()[0]}; install one of them."
        )
    if shutil.which(compiler) is None:
        sys.exit(f"A C++ compiler is needed and '{compiler}' was not found; on Debian or Ubuntu: apt-get install g++")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        sys.exit(
            "Python's headers (Python.h) are needed to build mmcv; on Debian or Ubuntu: apt-get install python3-dev"
        )


def fingerprint() -> str:
    """Return what a finished set-up was made from: the pins, the scripts, the interpreter and its place."""
    sources = [LOCK, ROOT / "pyproject.toml", Path(__file__), ROOT / "tools" / "build_mmcv.py"]
    digest = hashlib.sha256(f"{sys.version} {ROOT}".encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def pins() -> dict[str, str]:
    """Return the lock file as package -> `package==version`."""
    lines = [line.strip() for line in LOCK.read_text().splitlines()]
    return {line.split("==")[0]: line for line in lines if line and not line.startswith("#")}


def run(*command: str | Path) -> None:
    """Run a command; a failing one ends the set-up, its own output having said why."""
    if subprocess.run([str(part) for part in command], check=False).returncode:
        sys.exit(
            f"set-up stopped: this failed: {shlex.join(str(part) for part in command[:8])} ...\nThe reason is above; "
            "where that is the network or a full disk, mend it and call this again: it goes on where it stopped."
        )


def pip_install(*arguments: str | Path) -> None:
    """Install with the environment's pip: quietly, and leaving modules to be compiled by ``compile_modules``."""
    run(PYTHON, "-m", "pip", "install", "-qq", "--no-compile", "--disable-pip-version-check", *arguments)


def compile_modules(name: str = "") -> None:
    """Compile what is installed, or one package of it, on all cores.

    Where Python is told not to write bytecode, as in many containers, every process would do it anew, which costs each
    some seconds. Packages hold files for other Pythons as well: those fail and are never imported.
    """
    subprocess.run([PYTHON, "-m", "compileall", "-qq", "-j", "0", site_packages() / name], check=False)


def make_venv() -> None:
    """Make the empty environment unless it is there, whole, made by this interpreter and in this place.

    One that was killed while it was made has no pip yet; the scripts in one that was moved start another's Python.
    """
    made = f"{sys.version}\n{VENV}\n"
    found = MADE.read_text() if MADE.is_file() else None
    if found != made:
        run(sys.executable, "-m", "venv", *(["--clear"] if found else []), VENV)
        MADE.write_text(made)


def forget_unfinished(folder: Path) -> None:
    """Have packages installed again that pip was installing when it was killed.

    It takes a package for installed from the moment that its metadata is there, and names itself as the installer only
    when all else is.
    """
    for metadata in folder.glob("*.dist-info"):
        if not (metadata / "INSTALLER").is_file():
            shutil.rmtree(metadata)


def site_packages() -> Path:
    """Return where the environment's packages lie."""
    return Path(sysconfig.get_path("purelib", vars={"base": str(VENV), "platbase": str(VENV)}))


def stop(process: subprocess.Popen) -> None:
    """End a process that leads a group, and all that it has started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def set_up() -> None:
    """Make the environment; mmcv compiles while the rest is fetched and unpacked."""
    make_venv()
    forget_unfinished(site_packages())
    pinned = pins()
    print("set-up: PyTorch and build tools", flush=True)
    # PyTorch brings whatever its own build needs (CUDA libraries or nothing), so it alone is resolved.
    pip_install("-c", LOCK, *(pinned[name] for name in BUILD_TOOLS))
    wheels = VENV / "wheels"
    version = pinned["onedl-mmcv"].split("==")[1]
    build = [PYTHON, ROOT / "tools" / "build_mmcv.py", version, wheels]
    builder = subprocess.Popen(build, start_new_session=True)
    try:
        print("set-up: everything else in requirements.lock", flush=True)
        pip_install("--no-deps", *(pin for name, pin in pinned.items() if name != "onedl-mmcv"))
        pip_install("--no-deps", "--no-build-isolation", "-e", ROOT)
        compile_modules()
        if builder.wait():
            sys.exit("set-up stopped: mmcv could not be built; the reason is above")
    finally:
        stop(builder)
    pip_install("--no-deps", "--force-reinstall", *wheels.glob(f"onedl_mmcv-{version}-*.whl"))
    compile_modules("mmcv")
    run(PYTHON, "-c", "import mmcv.ops, mmdet, iou_aware, snakemake, hotcoco")


def main() -> None:
    """Set up unless that has been done from the same sources."""
    if is_done():
        return
    check_tools()
    with alone(ROOT, "set-up"):
        if is_done():  # by the one that was waited for
            return
        started = time.monotonic()
        STAMP.unlink(missing_ok=True)
        set_up()
        STAMP.write_text(fingerprint())
        print(f"set-up: done in {time.monotonic() - started:.0f} s", flush=True)


def is_done() -> bool:
    """Say whether a set-up from the same sources has come to its end."""
    return STAMP.is_file() and STAMP.read_text() == fingerprint()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("set-up stopped, as asked; called again it goes on where it stopped.")
    except OSError as fault:
        sys.exit(f"set-up stopped: {fault}")
