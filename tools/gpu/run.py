"""Try on one GPU, in a quarter of an hour, what no test on a CPU can show, and write down what was measured.

Each part is a process of its own with a time limit of its own: one that fails, or takes too long, is reported and the
others go on. What is known is written after each, so that whatever ends this early leaves the parts before it.

Runs on a bare machine: Python 3.12, PyTorch with CUDA, no network. From the folder that `make gpu-pack` fills it takes
the packages that such a machine lacks, and compiles mmcv's ops where the packed ones do not run on this GPU.

Usage: python run.py OUT [--minutes 15] [--only PART ...] [--device cpu]
Writes OUT/gpu.json, OUT/gpu.md and OUT/gpu.log. The exit status is 0 only if all parts passed. With `--device cpu` the
same parts run on tiny images without a GPU, which tests this script and nothing else.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGES = ROOT / "site"  # in a pack only
LEAST_SECONDS = 15  # a part is not begun with less

# What is tried, in this order, and how many seconds each may take. `parts.py` has a function of each name, or takes the
# name for a training under the settings of that name.
PARTS = {
    "prepare": 60,
    "ops": 45,
    "sweep": 60,
    "steps": 60,
    "passes": 60,
    "fp32": 100,
    "fp16": 70,
    "bf16": 70,
    "bf16_channels_last": 70,
    "predict": 60,
    "iou_aware_atss": 70,
    "iou_aware_fcos": 70,
    "faster_rcnn": 70,
    "nccl": 60,
    "resume": 180,
    "bf16_compiled": 150,
}
NEEDED = "prepare"  # without it nothing else is tried


def main(arguments: list[str] | None = None) -> int:
    """Run the parts and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder for what was measured")
    parser.add_argument("--minutes", type=float, default=15, help="all parts together take no longer (15)")
    parser.add_argument("--only", nargs="+", metavar="PART", choices=PARTS, help=f"of {', '.join(PARTS)}")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: tiny, to test this script")
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(PACKAGES), os.environ.get("PYTHONPATH", "")])
    if options.device == "cuda" and not python("import torch; assert torch.cuda.is_available()"):
        print("No GPU is here, or PyTorch cannot use it (`nvidia-smi` may say why): nothing was tested.")
        return 1
    log = options.out / "gpu.log"
    log.unlink(missing_ok=True)
    results: dict[str, Any] = {"started": datetime.now(UTC).isoformat(timespec="seconds"), "device": options.device}
    results |= {"pack": packed(), "ops": ensure_ops(options.device, log), "parts": {}}
    with tempfile.TemporaryDirectory() as project:
        for name in PARTS:
            if options.only and name not in (NEEDED, *options.only):
                continue
            left = deadline - time.monotonic()
            limit = left if options.device == "cpu" else min(PARTS[name], left)
            results["parts"][name] = part = attempt(name, limit, options.device, Path(project), log)
            write(results, options.out)
            print(f"{name}: {part['status']}, {part['seconds']:.0f} s", flush=True)
            if name == NEEDED and part["status"] != "passed":
                break
    failed = [name for name, part in results["parts"].items() if part["status"] != "passed"]
    print(f"{options.out / 'gpu.md'}:", f"not passed: {', '.join(failed)}" if failed else "all parts passed")
    return 1 if failed else 0


def python(code: str) -> bool:
    """Return whether a piece of Python ends well in a process of its own."""
    return not subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode


def packed() -> dict[str, Any] | None:
    """Return what `make gpu-pack` noted of the pack that this lies in; None outside of one."""
    note = ROOT / "pack.json"
    return json.loads(note.read_text()) if note.is_file() else None


def ensure_ops(device: str, log: Path) -> str:
    """Have mmcv's ops run on this device, and return where they come from."""
    works = f"import torch; from mmcv.ops import nms; b = torch.ones(1, 4, device='{device}'); nms(b, b[:, 0], 0.5)"
    if python(works):
        return "packed" if PACKAGES.is_dir() else "installed"
    if not (PACKAGES / "mmcv/ops/csrc").is_dir():
        return "installed, but they do not run here"
    capability = "import torch; print(*torch.cuda.get_device_capability(), sep='')"
    found = subprocess.run([sys.executable, "-c", capability], capture_output=True, text=True, check=False)
    started = time.monotonic()
    command = [sys.executable, HERE / "ops.py", PACKAGES, PACKAGES / "mmcv", *found.stdout.split()]
    with log.open("a") as said:
        built = subprocess.run(command, stdout=said, stderr=said, check=False).returncode == 0
    took = f"{time.monotonic() - started:.0f} s"
    return f"compiled here, in {took}" if built and python(works) else f"could not be compiled here ({took})"


def attempt(name: str, seconds: float, device: str, project: Path, log: Path) -> dict[str, Any]:
    """Run one part for so many seconds at most, with all that it starts, and return how that went."""
    if seconds < LEAST_SECONDS:
        return {"status": "not begun: no time left", "seconds": 0.0}
    started, before = time.monotonic(), log.stat().st_size if log.is_file() else 0
    with log.open("a") as said:
        options = {"cwd": project, "env": os.environ | {"TRIAL_DEVICE": device}, "stdout": said, "stderr": said}
        process = subprocess.Popen([sys.executable, HERE / "parts.py", name], start_new_session=True, **options)
    try:
        status = "failed" if process.wait(seconds) else "passed"
    except subprocess.TimeoutExpired:
        status = f"stopped after {seconds:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):  # none of its group is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    part: dict[str, Any] = {"status": status, "seconds": round(time.monotonic() - started, 1)}
    figures = project / "figures" / f"{name}.json"
    if figures.is_file():
        part["figures"] = json.loads(figures.read_text())
    if status != "passed":
        part["said"] = log.read_bytes()[before:].decode(errors="replace")[-3000:]
    return part


def write(results: dict[str, Any], out: Path) -> None:
    """Write the results so far as JSON and as Markdown, each file whole or not at all."""
    for name, content in (("gpu.json", json.dumps(results, indent=1) + "\n"), ("gpu.md", page(results))):
        (out / f"{name}.part").write_text(content)
        (out / f"{name}.part").rename(out / name)


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    parts = results["parts"]
    facts = parts[NEEDED].get("figures", {}) | {"mmcv's ops": results["ops"]}
    passed = sum(part["status"] == "passed" for part in parts.values())
    lines = [f"# {passed} of {len(parts)} parts passed", "", f"Begun {results['started']}."]
    if results["device"] == "cpu":
        lines += ["", "**On a CPU, with tiny images: this says nothing but that the script runs.**"]
    if pack := results["pack"]:
        changed = f", {len(pack['uncommitted'])} files not committed" if pack["uncommitted"] else ""
        lines += ["", f"Packed {pack['packed']} from commit {pack['commit']}{changed}."]
    lines += ["", *(f"- {key}: {value}" for key, value in facts.items())]
    lines += ["", "| part | outcome | s | figures |", "|---|---|--:|---|"]
    trainings = {}
    for name, part in parts.items():
        figures = part.get("figures", {})
        if "losses" in figures:
            trainings[name] = figures
            figures = {}
        shown = "" if name == NEEDED else ", ".join(f"{key}: {value}" for key, value in figures.items())
        lines.append(f"| {name} | {part['status']} | {part['seconds']:.0f} | {shown} |")
    if trainings:
        columns = list(dict.fromkeys(key for figures in trainings.values() for key in figures))
        lines += ["", f"| training | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
        for name, figures in trainings.items():
            lines.append(f"| {name} | {' | '.join(cell(figures.get(column)) for column in columns)} |")
    for name, part in parts.items():
        if "said" in part:
            lines += ["", f"## {name}: {part['status']}", "", "```", part["said"].strip(), "```"]
    return "\n".join(lines) + "\n"


def cell(value: Any) -> str:
    """Return a figure as the content of a table's cell."""
    if isinstance(value, list):
        return ", ".join(f"{item:.3f}" for item in value)
    return "" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
