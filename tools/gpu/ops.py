"""Compile those of mmcv's ops that this project uses, for CPU and CUDA: NMS, RoIAlign, focal loss.

All of mmcv takes the better part of an hour on two cores, these three a few minutes. mmcv's own list of ops is compiled
as it is: the others are there by name, as mmcv's import demands, and raise an error when they are called.

Runs in the Python that is to load the result; that Python's PyTorch is found and not imported, so no GPU is needed.

Usage: python ops.py MMCV DESTINATION [ARCHITECTURE ...]    (90 is an H100; the finished file's path is printed)
"""

import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = (
    *("pybind.cpp", "info.cpp", "focal_loss.cpp", "nms.cpp", "roi_align.cpp", "cpu/nms.cpp", "cpu/roi_align.cpp"),
    *("cuda/cudabind.cpp", "cuda/focal_loss_cuda.cu", "cuda/nms_cuda.cu", "cuda/roi_align_cuda.cu"),
)
NAME = "_ext" + sysconfig.get_config_var("EXT_SUFFIX")
DEFINES = (
    *("-DMMCV_WITH_CUDA", "-DTORCH_API_INCLUDE_EXTENSION_H", "-DTORCH_EXTENSION_NAME=_ext"),
    *("-D__CUDA_NO_HALF_OPERATORS__", "-D__CUDA_NO_HALF_CONVERSIONS__", "-D__CUDA_NO_BFLOAT16_CONVERSIONS__"),
    "-D__CUDA_NO_HALF2_OPERATORS__",
)
MISSING = """\
#include <stdexcept>
extern "C" void not_compiled() { throw std::runtime_error("this op of mmcv was not compiled: tools/gpu/ops.py"); }
"""


def pytorch() -> Path:
    """Return the folder of PyTorch's package."""
    return Path(importlib.util.find_spec("torch").submodule_search_locations[0])


def include_paths(csrc: Path) -> list[Path]:
    """Return where the headers of mmcv, PyTorch, CUDA's libraries and Python lie."""
    torch = pytorch()
    cuda = torch.parent.glob("nvidia/cu[0-9]*/include")  # cuBLAS and the like, which pip installs beside PyTorch
    mmcv = [csrc / "common", csrc / "common/cuda", csrc / "pytorch"]
    return [*mmcv, torch / "include", torch / "include/torch/csrc/api/include", *cuda, sysconfig.get_path("include")]


def compile_one(source: Path, target: Path, includes: list[Path], architectures: list[str]) -> Path:
    """Compile one file into an object and return the object."""
    options = [*(f"-gencode=arch=compute_{name},code=sm_{name}" for name in architectures), *DEFINES]
    options += [f"-I{folder}" for folder in includes]
    command = ["nvcc", "-O2", "-std=c++17", "-w", "--expt-relaxed-constexpr", "-Xcompiler=-fPIC", *options]
    subprocess.run([*command, "-c", str(source), "-o", str(target)], check=True)
    return target


def missing_ops(objects: list[Path]) -> list[str]:
    """Return the mangled symbols of mmcv that objects use and none defines; those of others are in namespaces."""

    def symbols(*options: str) -> set[str]:
        listed = subprocess.run(["nm", "-P", *options, *objects], check=True, capture_output=True, text=True).stdout
        return {line.split()[0] for line in listed.splitlines() if line.startswith("_Z") and line[2].isdigit()}

    return sorted(symbols("--undefined-only") - symbols("--defined-only"))


def build(mmcv: Path, destination: Path, architectures: list[str]) -> Path:
    """Compile the ops of ``mmcv``, a folder that holds mmcv's package, into ``destination``."""
    csrc = mmcv / "mmcv/ops/csrc"
    includes = include_paths(csrc)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        targets = [Path(folder) / f"{number}.o" for number in range(len(SOURCES))]
        sources = [csrc / "pytorch" / name for name in SOURCES]
        longest_first = sorted(zip(sources, targets, strict=True), key=lambda pair: pair[0].suffix != ".cu")
        objects = list(pool.map(lambda pair: compile_one(*pair, includes, architectures), longest_first))
        stubs = Path(folder) / "missing.cpp"
        lines = [f'extern "C" void {name}() __attribute__((alias("not_compiled")));' for name in missing_ops(objects)]
        stubs.write_text(MISSING + "\n".join(lines) + "\n")
        objects.append(compile_one(stubs, stubs.with_suffix(".o"), [], []))
        destination.mkdir(parents=True, exist_ok=True)
        beside = destination / f"{NAME}.part"
        # By name alone: when this is loaded, PyTorch has loaded its libraries, and CUDA's runtime for all to see.
        libraries = [f"-l{name}" for name in ("c10", "c10_cuda", "torch", "torch_cpu", "torch_cuda", "torch_python")]
        link = ["g++", "-shared", "-s", *map(str, objects), f"-L{pytorch() / 'lib'}", *libraries, "-o", str(beside)]
        subprocess.run(link, check=True)
    return beside.rename(destination / NAME)


if __name__ == "__main__":
    print(build(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or ["90"]))
