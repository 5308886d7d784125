"""What made each run, as the report shows it: facts from its record, and links to its files."""

import json
import os
from collections.abc import Mapping
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
        record = json.loads(seal.read_text(encoding="utf-8")) if seal.is_file() else {}
        files = [paths.config(name), paths.weights(name), paths.history(name), seal]
        files += [paths.log("release" if run.is_released else "train", name)]
        files += sorted(paths.evaluation(name, "any").parent.glob("*.json"))
        links = [Path(os.path.relpath(file, paths.report.parent)).as_posix() for file in files if file.is_file()]
        described.append({"name": name, "facts": _facts(run, record), "links": links})
    return render("runs", runs=described)


def _facts(run: Run, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a run; a released model has no training, a run without a record only its state."""
    done = "Fetched" if run.is_released else "Trained"
    if not record:
        return {"State": f"not {done.lower()}"}
    made, losses = record.get("provenance", {}), record.get("losses", {})
    device, processes = record.get("device"), record.get("processes", 1)
    seconds, finished, rate = record.get("seconds"), record.get("finished"), record.get("images_per_second")
    return {
        done: finished and f"{datetime.fromisoformat(finished):%Y-%m-%d %H:%M} UTC",
        "From": record.get("released", {}).get("address"),
        "Training time": None if seconds is None else clock(seconds),
        "Epochs": record.get("epochs"),
        "Images per second": rate and f"{rate:.0f}",
        "Losses at the end": ", ".join(f"{name.removeprefix('loss_')} {loss:.3f}" for name, loss in losses.items()),
        "Device": f"{processes} x {device}" if processes > 1 else device,
        "Seed": record.get("run", {}).get("seed"),
        "Commit": made.get("git_commit", "")[:12] + (" (changed)" if made.get("git_dirty") else ""),
        "Versions": ", ".join(f"{key} {made[key]}" for key in ("python", "torch", "mmdet", "mmcv") if made.get(key)),
        "Weights, SHA-256": record.get("weights_sha256"),
    }
