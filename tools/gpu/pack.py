"""Fill a folder with what a machine with a GPU and no network needs to run the GPU test; see docs/gpu.md.

That machine has Python 3.12, PyTorch 2.11 and some common packages. An environment just like it is made here first: in
it mmcv's ops are compiled for the GPU, and the finished pack is tried as far as that goes without one.

Usage: python3.12 pack.py    (Python's headers, nvcc 13 and the network are needed; 7 GB in build/)
"""

import hashlib
import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import ops

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
ENVIRONMENT, PACK = BUILD / "gpu-env", BUILD / "gpu-pack"
PYTHON = ENVIRONMENT / "bin" / "python"
MOST_MIB = 60
ARCHITECTURES = ("90",)  # H100, H200; for other GPUs the ops are compiled where the test is run
PYTORCH = "torch==2.11.0"
#: What the machine has besides; the versions of requirements.lock stand in for its own.
THERE = (
    *("matplotlib", "numpy", "opencv-python-headless", "packaging", "pandas", "pillow", "psutil", "pyarrow", "PyYAML"),
    *("requests", "rich", "scikit-image", "scipy", "setuptools", "six", "tqdm", "wheel"),
)
#: What it lacks.
PACKED = (
    *("addict", "attrs", "hotcoco", "imaug", "jsonschema", "jsonschema-specifications"),
    *("onedl-mmdetection", "onedl-mmengine", "platformdirs", "pycocotools", "referencing", "rpds-py", "shapely"),
    *("termcolor", "terminaltables", "yapf"),
)
TRY = """
import torch, mmdet.models, iou_aware.inference.predict, iou_aware.training.train, iou_aware.evaluation.evaluate
from mmcv.ops import get_compiling_cuda_version, nms
assert nms(torch.tensor([[0.0, 0, 9, 9], [1, 1, 9, 9]]), torch.ones(2), 0.5)[1].tolist() == [0]
print(f"PyTorch {torch.__version__}, mmcv's ops compiled for CUDA {get_compiling_cuda_version()}: the pack loads")
"""
RUN = """\
#!/bin/sh
# The GPU test: results are written to the folder that is named (out), in a quarter of an hour at most.
exec "${PYTHON:-python3}" "$(dirname "$0")/tools/gpu/run.py" "${1:-out}"
"""


def main() -> None:
    """Make the environment, the ops and the pack, in this order; the first two are kept for the next time."""
    check_tools()
    make_environment()
    source = fetch_mmcv()
    compiled = compile_ops(source)
    PACK.parent.mkdir(exist_ok=True)
    shutil.rmtree(PACK, ignore_errors=True)
    site = PACK / "site"
    pip("--target", site, *(pins()[name] for name in PACKED))
    shutil.copytree(source / "mmcv", site / "mmcv")
    shutil.copytree(source / "onedl_mmcv.egg-info", site / "onedl_mmcv.egg-info")
    shutil.copy(compiled, site / "mmcv")
    for folder in ("src", "configs", "tools/gpu"):
        shutil.copytree(ROOT / folder, PACK / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (PACK / "run.sh").write_text(RUN)
    made = {"commit": git("rev-parse", "HEAD"), "uncommitted": git("status", "--porcelain").splitlines()}
    (PACK / "pack.json").write_text(json.dumps(made | {"packed": datetime.now(UTC).isoformat(timespec="seconds")}))
    paths = {"PYTHONPATH": f"{PACK / 'src'}:{site}", "PYTHONDONTWRITEBYTECODE": "1"}
    run(PYTHON, "-c", TRY, cwd="/", env=paths)
    files = [file for file in PACK.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 2**20
    print(f"{PACK}: {len(files)} files, {size:.1f} MiB")
    if size > MOST_MIB:
        sys.exit(f"That is more than {MOST_MIB} MiB.")


def check_tools() -> None:
    """Exit with one sentence about the first thing that is missing."""
    if sys.version_info[:2] != (3, 12):
        sys.exit(f"Python 3.12 is needed, as on the machine with the GPU; {sys.executable} is another version.")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        sys.exit(f"The headers (Python.h) of {sys.executable} are needed; they were not found.")
    if shutil.which("nvcc") is None:
        sys.exit("nvcc of CUDA 13 is needed to compile mmcv's ops, and was not found on the PATH.")


def pins() -> dict[str, str]:
    """Return the lock file as package -> `package==version`."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return {line.split("==")[0]: line for line in lines if "==" in line}


def run(*command: object, **options: object) -> None:
    """Run a command; a failing one ends this, its own output having said why."""
    if subprocess.run([str(part) for part in command], check=False, **options).returncode:
        sys.exit(f"This failed, for the reason above: {' '.join(map(str, command[:8]))} ...")


def pip(*arguments: object, command: str = "install") -> None:
    """Install something, quietly and without what it depends on, in the environment or beside it."""
    quiet = ("-q", "--disable-pip-version-check", "--no-deps", "--no-build-isolation")
    run(PYTHON, "-m", "pip", command, *quiet, *(["--no-compile"] if command == "install" else []), *arguments)


def make_environment() -> None:
    """Make an environment like that of the machine with the GPU, unless it is there."""
    stamp, wanted = ENVIRONMENT / "made", "\n".join([sys.version, PYTORCH, *(pins()[name] for name in THERE)])
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"an environment with {PYTORCH}: some minutes", flush=True)
    run(sys.executable, "-m", "venv", ENVIRONMENT)
    # With what it depends on, which nobody but PyTorch knows: CUDA's libraries and their headers.
    packages = [PYTORCH, *(pins()[name] for name in THERE)]
    run(PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages)
    stamp.write_text(wanted)


def fetch_mmcv() -> Path:
    """Return the folder of mmcv's source, of which only few ops are compiled."""
    folder = BUILD / "gpu-mmcv"
    name, version = pins()["onedl-mmcv"].split("==")
    source = folder / f"{name.replace('-', '_')}-{version}"
    if not source.is_dir():
        pip("--no-binary", ":all:", "-d", folder, f"{name}=={version}", command="download")
        with tarfile.open(folder / f"{source.name}.tar.gz") as tar:
            tar.extractall(folder, filter="data")
    return source


def compile_ops(source: Path) -> Path:
    """Return mmcv's compiled ops; compile them unless that has been done from the same sources."""
    made_from = [Path(ops.__file__).read_bytes(), f"{source} {ARCHITECTURES} {PYTORCH} {sys.version}".encode()]
    folder = BUILD / f"gpu-ops-{hashlib.sha256(b''.join(made_from)).hexdigest()[:12]}"
    if not (folder / ops.NAME).is_file():
        print("mmcv's ops: about 3 minutes of CPU time", flush=True)
        run(PYTHON, ops.__file__, source, folder, *ARCHITECTURES)
    return folder / ops.NAME


def git(*arguments: str) -> str:
    """Return what git says about this repository."""
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
