"""Build the mmcv wheel with its compiled ops (NMS, RoIAlign, ...), in minutes instead of a quarter of an hour.

mmcv is published as source only, and nearly all of its build is the compiler reading PyTorch's headers 78 times. Three
things cut that: no debug information, a precompiled header of what every source file includes, and a cache of the
finished wheel, keyed by everything that its content depends on. A precompiled header that does not match the compiler's
flags is ignored by GCC, so the worst case is a slower build, never a wrong one.

Usage: python build_mmcv.py VERSION DEST [CAPABILITY ...]

Prints the wheel's path; torch, setuptools and ninja must be installed. With compute capabilities, such as 8.0, the ops
are compiled for GPUs of these as well, which takes nvcc and no GPU.
"""

import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

CXX = shlex.split(os.environ.get("CXX", "c++"))
CFLAGS = "-g0 -O2 -w"
HELPER = "mmcv/ops/csrc/common/pytorch_cpp_helper.hpp"


def cache_dir() -> Path:
    """Return the per-user cache folder of finished wheels."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "iou-aware" / "wheels"


@contextlib.contextmanager
def alone(folder: Path, doing: str) -> Iterator[None]:
    """Wait until no other process is within this block for the same folder; it is left even by one that is killed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # network file systems that do not lock
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{doing}: another process is at it; waiting for that one", flush=True)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def find_nvcc() -> Path | None:
    """Return the CUDA compiler that PyTorch's build would take, None where there is none."""
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    folders = [*(f"{home}/bin" for home in homes), os.environ.get("PATH", ""), "/usr/local/cuda/bin"]
    found = shutil.which("nvcc", path=os.pathsep.join(folders))
    return Path(found).resolve() if found else None


def cache_key(version: str, capabilities: Sequence[str]) -> str:
    """Return a key that changes whenever the built wheel's content would."""
    import torch

    def says(*command: str | Path) -> str:
        return subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout

    compiler = says(*CXX).splitlines()[0]
    parts = [version, torch.__version__, sys.implementation.cache_tag, sysconfig.get_platform(), compiler, CFLAGS]
    if capabilities:
        parts += [*capabilities, says(find_nvcc())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def precompile_header(source: Path) -> None:
    """Precompile the header that every op includes, with exactly the flags the extension is built with."""
    from torch.utils.cpp_extension import include_paths

    folders = [source / "mmcv/ops/csrc/common", *include_paths(), sysconfig.get_path("include")]
    command = [*CXX, *CFLAGS.split(), "-fPIC", "-std=c++17", "-x", "c++-header"]
    command += ["-DTORCH_API_INCLUDE_EXTENSION_H", "-DTORCH_EXTENSION_NAME=_ext"]
    command += [f"-I{folder}" for folder in folders]
    header = source / HELPER
    subprocess.run([*command, str(header), "-o", f"{header}.gch"], check=True)


def environment(work: Path, capabilities: Sequence[str]) -> dict[str, str]:
    """Return the variables to build mmcv with."""
    # No GPU is looked for: with one in sight mmcv would want nvcc, and what to compile for has been decided.
    variables = {"MAX_JOBS": str(len(os.sched_getaffinity(0)))} | os.environ
    variables |= {"CUDA_VISIBLE_DEVICES": "", "FORCE_CUDA": "0"}
    variables["TMPDIR"] = str(work)  # so that nothing is left behind by what is stopped
    if capabilities:
        variables |= {"FORCE_CUDA": "1", "TORCH_CUDA_ARCH_LIST": ";".join(capabilities)}
        variables["CUDA_HOME"] = str(find_nvcc().parent.parent)
    return variables


def build(version: str, work: Path, capabilities: Sequence[str]) -> Path:
    """Download mmcv's source, build its wheel in ``work`` and return the wheel's path."""
    variables = environment(work, capabilities)
    pip = [sys.executable, "-m", "pip"]
    fetch = [*pip, "download", "-q", "--no-deps", "--no-build-isolation", "--no-binary", ":all:"]
    subprocess.run([*fetch, f"onedl-mmcv=={version}", "-d", str(work)], check=True, env=variables)
    archive = next(work.glob("*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(work, filter="data")
    source = work / archive.name.removesuffix(".tar.gz")
    precompile_header(source)
    # The header is included by force because a precompiled one counts only where it comes first.
    variables["CFLAGS"] = f"{CFLAGS} -include {source / HELPER}"
    wheel = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(work / "wheel"), str(source)]
    subprocess.run(wheel, check=True, env=variables)
    return next((work / "wheel").glob("*.whl"))


def main() -> None:
    """Copy the wheel from the cache to the destination folder, building it first if it is not there."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and tidy up on the way
    version, destination, capabilities = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    cached = cache_dir() / cache_key(version, capabilities)
    cached.mkdir(parents=True, exist_ok=True)
    with alone(cached, f"building mmcv {version}"):
        if not list(cached.glob("*.whl")):
            what = (
                f"for compute capability {', '.join(capabilities)}" if capabilities else "about 2 minutes on two cores"
            )
            print(f"building mmcv {version} with its ops; once per machine, {what}", flush=True)
            with tempfile.TemporaryDirectory() as work:
                wheel = build(version, Path(work), capabilities)
                beside = cached / (wheel.name + ".part")
                shutil.copyfile(wheel, beside)
                beside.rename(cached / wheel.name)
    wheel = next(cached.glob("*.whl"))
    destination.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(wheel, destination / wheel.name)
    print(destination / wheel.name)


if __name__ == "__main__":
    main()
