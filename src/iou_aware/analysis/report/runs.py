"""What made each run, as the report shows it: facts from its record, and links to its files."""

import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from iou_aware.analysis.report.html import Html, render
from iou_aware.analysis.times import clock
from iou_aware.experiment.layout import Layout
from iou_aware.experiment.run import Run


def runs_page(paths: Layout, runs: Mapping[str, Run]) -> Html:
    """Return HTML with one part per run, ``run-<name>``: what made it, and links to those of its files that exist."""
    described = []
    for name, run in runs.items():
        seal = paths.seal(name)
        record: dict[str, Any] = json.loads(seal.read_text(encoding="utf-8")) if seal.is_file() else {}
        files = [
            {"term": term, "link": _link(paths, file), "sha256": digest}
            for term, file, digest in _files(paths, name, run, record)
            if file.is_file()
        ]
        described.append({"name": name, "facts": _facts(run, record), "files": files})
    return render("runs", runs=described)


def _facts(run: Run, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a run; a released model has no training, a run without a record only its state."""
    done = "Fetched" if run.is_released else "Trained"
    if not record:
        return {"State": f"not {done.lower()}"}
    made = record.get("provenance", {})
    device, processes = record.get("device"), record.get("processes", 1)
    seconds, finished = record.get("seconds"), record.get("finished")
    return {
        done: finished and f"{datetime.fromisoformat(finished):%Y-%m-%d %H:%M} UTC",
        "From": record.get("released", {}).get("address"),
        "Training time": None if seconds is None else clock(seconds),
        "Device": f"{processes} x {device}" if processes > 1 else device,
        "Seed": record.get("run", {}).get("seed"),
        "Commit": made.get("git_commit", "")[:12] + (" (changed)" if made.get("git_dirty") else ""),
        "Versions": ", ".join(f"{key} {made[key]}" for key in ("python", "torch", "mmdet", "mmcv") if made.get(key)),
    }


def _files(paths: Layout, name: str, run: Run, record: Mapping[str, Any]) -> Iterator[tuple[str, Path, str | None]]:
    """Yield the files that a run may have: what each is called on the page, its path, its SHA-256 where it is known."""
    yield "Config", paths.config(name), record.get("config_sha256")
    yield "Weights", paths.weights(name), record.get("weights_sha256")
    yield "History", paths.history(name), None
    yield "Record", paths.seal(name), None
    yield "Log", paths.log("release" if run.is_released else "train", name), None
    for file in sorted(paths.evaluation(name, "any").parent.glob("*.json")):
        yield f"Evaluation, {file.stem}", file, None


def _link(paths: Layout, file: Path) -> str:
    return Path(os.path.relpath(file, paths.report.parent)).as_posix()
