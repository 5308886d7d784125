"""Create `.venv` with every pinned dependency, mmcv's compiled ops and this package. Called by make; safe to repeat.

Needs Python 3.11.5 or later, or 3.12, with headers, a C++ compiler and the network; no root. A finished set-up is
recognised by a stamp that names what it was made from, so a second run takes no time, and an interrupted one goes on
where it stopped. Of two at once in one folder the second waits for the first.

With CUDA=1 in its environment it is for NVIDIA GPUs: those of the compute capabilities that ARCHS lists, such as
"8.0 9.0", or else those of this machine. PyTorch is then the one of environment.yml, and mmcv the wheel that is built
for it; where that does not run, on these GPUs, this Python or this system, mmcv is compiled, which takes nvcc. CUDA=0
goes back, and without either an environment stays what it was made for.
"""

import contextlib
import hashlib
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from build_mmcv import alone, find_nvcc

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
ENVIRONMENT = ROOT / "environment.yml"
STAMP = VENV / "iou-aware.stamp"
MADE = VENV / "iou-aware.made"
PYTHON = VENV / "bin" / "python"
#: What mmcv's build needs in the environment before it starts; everything else can be installed meanwhile.
BUILD_TOOLS = ("torch", "numpy", "setuptools", "wheel", "ninja", "packaging")
#: What mmcv's CUDA wheels are for besides: the Python, and the C library from which version on (cp312, manylinux_2_34).
WHEEL_PYTHON, WHEEL_GLIBC = (3, 12), (2, 34)
#: The compute capabilities that the CUDA 12.9 wheels of onedl-mmcv 2.3.6 are compiled for (its publish.yml), without
#: PTX, from which a driver could compile for another.
WHEEL_GPUS = ("7.5", "8.6", "8.9", "9.0", "12.0")


def wanted() -> list[str]:
    """Return what the environment is to be for: nothing for a CPU; ``cuda``, then the GPUs' compute capabilities."""
    cuda, archs = os.environ.get("CUDA", ""), os.environ.get("ARCHS", "").replace(",", " ").split()
    if cuda not in ("", "0", "1"):
        sys.exit(f"CUDA: found '{cuda}', expected 1, for an environment for NVIDIA GPUs, or 0, for one without.")
    if wrong := [arch for arch in archs if not re.fullmatch(r"\d+\.\d", arch)]:
        sys.exit(f"ARCHS: found '{wrong[0]}', expected compute capabilities such as 8.0 (an A100) or 9.0 (an H100).")
    made = MADE.read_text().splitlines() if MADE.is_file() else []
    there = next((line.split() for line in made if line.startswith("cuda")), [])
    if cuda == "1":
        known = archs or gpus()
        return ["cuda", *known] if known or not there else there
    return there if cuda == "" else []


def gpus() -> list[str]:
    """Return the compute capabilities of the GPUs that are here, as far as NVIDIA's driver tells."""
    try:
        query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
        answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    except OSError:
        return []
    return sorted(set(re.findall(r"^\d+\.\d$", answer, re.MULTILINE)))


def capabilities(target: list[str]) -> list[str] | None:
    """Return what mmcv's CUDA ops must be compiled for: nothing for a CPU; None where the prebuilt wheel is taken."""
    wheel = sys.version_info[:2] == WHEEL_PYTHON and glibc() >= WHEEL_GLIBC
    return None if target and wheel and all(map(wheel_runs_on, target[1:])) else target[1:]


def wheel_runs_on(gpu: str) -> bool:
    """Return whether mmcv's wheel runs on GPUs of a compute capability, such as ``8.0``.

    They run what is compiled for their own major version and for no later minor one (CUDA C++ Programming Guide, Binary
    Compatibility).
    """
    major, minor = gpu.split(".")
    compiled = (capability.split(".") for capability in WHEEL_GPUS)
    return any(major == other_major and int(minor) >= int(other_minor) for other_major, other_minor in compiled)


def glibc() -> tuple[int, ...]:
    """Return the version of the C library, nothing where it is another than glibc."""
    name, version = platform.libc_ver()
    return tuple(map(int, version.split("."))) if name == "glibc" else ()


def check_tools(target: list[str]) -> None:
    """Exit with one sentence about the first thing that is missing."""
    compiler = shlex.split(os.environ.get("CXX", "c++"))[0]
    if not (3, 11, 5) <= sys.version_info < (3, 13):
        sys.exit(
            f"Python 3.11 (from 3.11.5 on, for some of the pinned packages) or 3.12 is needed and {sys.executable} is "
            f"{sys.version.split()[0]}; install one of them."
        )
    if capabilities(target) is None:
        return
    if shutil.which(compiler) is None:
        sys.exit(f"A C++ compiler is needed and '{compiler}' was not found; on Debian or Ubuntu: apt-get install g++")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        sys.exit(
            "Python's headers (Python.h) are needed to build mmcv; on Debian or Ubuntu: apt-get install python3-dev"
        )
    if target:
        check_nvcc(target)


def check_nvcc(target: list[str]) -> None:
    """Exit with one sentence unless there is a compiler that goes with PyTorch's CUDA, and GPUs to compile for."""
    if target == ["cuda"]:
        sys.exit(
            "mmcv's wheel is for Python 3.12 and glibc from 2.34 on, this is Python "
            f"{sys.version.split()[0]} with {' '.join(platform.libc_ver())}, and no GPU is here to compile mmcv for; "
            'say for which, such as ARCHS="8.0 9.0" for A100 and H100.'
        )
    major = re.search(r"\+cu(\d+)\d$", pins(target)["torch"])[1]
    needed = f"To compile mmcv for compute capability {', '.join(target[1:])}, nvcc of CUDA {major} is needed"
    advice = f"on a cluster: module load cuda/{major}, or whatever its name is there; or set CUDA_HOME."
    nvcc = find_nvcc()
    if nvcc is None:
        sys.exit(f"{needed} and was not found; {advice}")
    told = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout
    release = re.search(r"release (\d+)\.\d+", told)
    if release is None or release[1] != major:
        sys.exit(f"{needed} and {nvcc} is of {release[0] if release else 'an unknown release'}; {advice}")


def fingerprint(target: list[str]) -> str:
    """Return what a finished set-up was made from: the pins, the scripts, the interpreter and its place."""
    sources = [LOCK, ROOT / "pyproject.toml", Path(__file__), ROOT / "tools" / "build_mmcv.py"]
    digest = hashlib.sha256(f"{sys.version} {ROOT}{''.join(target)}".encode())
    for source in sources + ([ENVIRONMENT] if target else []):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def pins(target: list[str]) -> dict[str, str]:
    """Return the lock file as package -> `package==version`, for GPUs with the PyTorch of environment.yml."""
    lines = [line.strip() for line in LOCK.read_text().splitlines()]
    lines += [line for line in cluster_lines() if target and line.startswith("torch==")]
    return {line.split("==")[0]: line for line in lines if line and not line.startswith("#")}


def indexes(target: list[str]) -> list[str]:
    """Return pip's options for where PyTorch and mmcv for GPUs are."""
    lines = [line for line in cluster_lines() if target and line.startswith("--extra-index-url")]
    return [word for line in lines for word in line.split()]


def cluster_lines() -> list[str]:
    """Return what environment.yml gives to pip, without the YAML around it: there is nothing yet to read that with."""
    return [line.strip().removeprefix("- ") for line in ENVIRONMENT.read_text().splitlines()]


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


def make_venv(target: list[str]) -> None:
    """Make the empty environment unless it is there, whole, made by this interpreter, in this place, for this target.

    One that was killed while it was made has no pip yet; the scripts in one that was moved start another's Python.
    """
    made = f"{sys.version}\n{VENV}\n" + (f"{' '.join(target)}\n" if target else "")
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


def set_up(target: list[str]) -> None:
    """Make the environment; mmcv compiles while the rest is fetched and unpacked."""
    make_venv(target)
    forget_unfinished(site_packages())
    pinned = pins(target)
    constraints = VENV / "pins.txt"
    constraints.write_text("\n".join(pinned.values()) + "\n")
    print("set-up: PyTorch and build tools", flush=True)
    # PyTorch brings whatever its own build needs (CUDA libraries or nothing), so it alone is resolved.
    pip_install("-c", constraints, *indexes(target), *(pinned[name] for name in BUILD_TOOLS))
    wheels = VENV / "wheels"
    version = pinned["onedl-mmcv"].split("==")[1]
    compiled = capabilities(target)
    build = [PYTHON, ROOT / "tools" / "build_mmcv.py", version, wheels, *(compiled or [])]
    builder = subprocess.Popen(build, start_new_session=True) if compiled is not None else None
    try:
        print("set-up: everything else in requirements.lock", flush=True)
        pip_install("--no-deps", *(pin for name, pin in pinned.items() if name != "onedl-mmcv"))
        pip_install("--no-deps", "--no-build-isolation", "-e", ROOT)
        compile_modules()
        if builder and builder.wait():
            sys.exit("set-up stopped: mmcv could not be built; the reason is above")
    finally:
        if builder:
            stop(builder)
    if builder:
        pip_install("--no-deps", "--force-reinstall", *wheels.glob(f"onedl_mmcv-{version}-*.whl"))
    else:
        prebuilt = [*indexes(target), "--only-binary", "onedl-mmcv", pinned["onedl-mmcv"]]
        pip_install("--no-deps", "--force-reinstall", *prebuilt)
    compile_modules("mmcv")
    run(PYTHON, "-c", "import mmcv.ops, mmdet, iou_aware, snakemake, hotcoco")


def main() -> None:
    """Set up unless that has been done from the same sources."""
    target = wanted()
    if is_done(target):
        return
    check_tools(target)
    with alone(ROOT, "set-up"):
        if is_done(target):  # by the one that was waited for
            return
        started = time.monotonic()
        STAMP.unlink(missing_ok=True)
        set_up(target)
        STAMP.write_text(fingerprint(target))
        print(f"set-up: done in {time.monotonic() - started:.0f} s", flush=True)


def is_done(target: list[str]) -> bool:
    """Say whether a set-up from the same sources has come to its end."""
    return STAMP.is_file() and STAMP.read_text() == fingerprint(target)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("set-up stopped, as asked; called again it goes on where it stopped.")
    except OSError as fault:
        sys.exit(f"set-up stopped: {fault}")
