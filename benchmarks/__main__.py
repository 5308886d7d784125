"""All benchmarks: `make bench`, or from the project's root as follows.

python -m benchmarks                     everything; writes results/bench/bench.json and bench.md
python -m benchmarks sweep train_step    some of them, shown only
python -m benchmarks --quick             everything once and tiny, shown only: whether it works, not how fast it is
python -m benchmarks --publish           puts the tables of results/bench into docs/performance.md
"""

import argparse
import importlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))  # the benchmarks find each other as scripts do
RESULTS = FOLDER.parent / "results" / "bench"
PAGE = FOLDER.parent / "docs" / "performance.md"
MODULES = ("sweep", "ablation", "train_step", "memory", "conversion", "planning", "stages", "evaluation")


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", metavar="NAME", help=f"which ones: {', '.join(MODULES)} (all)")
    parser.add_argument("--quick", action="store_true", help="once and tiny")
    parser.add_argument("--publish", action="store_true", help="run nothing; update docs/performance.md")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (2)")
    parser.add_argument("--note", default="", help="a remark on the machine, such as what else ran on it")
    options = parser.parse_args()
    if unknown := set(options.modules) - set(MODULES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; expected some of {', '.join(MODULES)}")
    pages = importlib.import_module("pages")
    if options.publish:
        pages.publish(RESULTS / "bench.json", PAGE)
        return
    kept = not options.quick and not options.modules
    entries: list[dict[str, Any]] = []
    for found in run(options.modules or MODULES, options.quick, options.threads):
        entries += found
        if kept:  # after each, as a benchmark that breaks should not cost the others
            pages.write(RESULTS, {"provenance": provenance(options.threads, options.note), "entries": entries})


def run(modules: list[str], quick: bool, threads: int) -> Iterator[list[dict[str, Any]]]:
    """Run the benchmarks in order, showing each entry as it is measured; yield each one's entries."""
    import torch
    from pages import line

    torch.set_num_threads(threads)
    started = time.monotonic()
    for module in modules:
        entries = []
        for entry in importlib.import_module(module).entries(quick):
            print(f"{time.monotonic() - started:6.0f} s  {line(entry)}", flush=True)
            entries.append(entry)
        yield entries


def provenance(threads: int, note: str) -> dict[str, Any]:
    """Return what the figures were measured with, and on."""
    from importlib.metadata import version

    from iou_aware.common.provenance import collect

    made = {"cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)), "cores of the machine": os.cpu_count()}
    made |= {"threads": threads, "load": [round(load, 1) for load in os.getloadavg()]}
    made |= {"date": time.strftime("%Y-%m-%d", time.gmtime()), "note": note}
    return made | collect() | {name: version(name) for name in ("faster-coco-eval", "snakemake")}


def cpu_model() -> str:
    """Return the processor's name, as well as it is known."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(one.split(":", 1)[1].strip() for one in lines if one.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
