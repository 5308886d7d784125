"""Where the report leads on to: the files of every run, and the notebooks beside it."""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from iou_aware.analysis.report.elements import Html
from iou_aware.analysis.times import clock
from iou_aware.experiment.experiment import Experiment

_SHORT = 12  # characters of a checksum: enough to tell files apart


def runs_page(experiment: Experiment) -> str:
    """Return HTML with one part per run, ``run-<name>``: what made it, and links to its files where there are any."""
    return "".join(_run(experiment, name) for name in experiment.runs)


def _run(experiment: Experiment, name: str) -> str:
    lines = "".join(f"<dt>{escape(term)}</dt><dd>{shown}</dd>" for term, shown in _facts(experiment, name))
    # A link to what is folded away unfolds it; a link to the fold itself does not.
    return f'<details class="run"><summary>{escape(name)}</summary><dl id="run-{escape(name)}">{lines}</dl></details>'


def _facts(experiment: Experiment, name: str) -> Iterator[tuple[str, Html]]:
    """Yield what is known of a run and how it is shown; a released model has no history, an untrained one nothing."""
    paths, seal = experiment.paths, experiment.paths.seal(name)
    record: dict[str, Any] = json.loads(seal.read_text(encoding="utf-8")) if seal.is_file() else {}
    made, stage, done = record.get("provenance", {}), "train", "Trained"
    if experiment.runs[name].is_released:
        stage, done = "release", "Fetched"
    for term, text in {
        done: _when(record),
        "From": record.get("released", {}).get("address"),
        "Training time": clock(record["seconds"]) if record.get("seconds") is not None else None,
        "Device": _device(record),
        "Seed": record.get("run", {}).get("seed"),
        "Commit": made.get("git_commit") and made["git_commit"][:_SHORT] + (" (changed)" * bool(made.get("git_dirty"))),
        "Versions": ", ".join(f"{key} {made[key]}" for key in ("python", "torch", "mmdet", "mmcv") if made.get(key)),
    }.items():
        if text not in (None, ""):
            yield term, Html(escape(str(text)))
    files = {
        "Config": (paths.config(name), record.get("config_sha256")),
        "Weights": (paths.weights(name), record.get("weights_sha256")),
        "History": (paths.history(name), None),
        "Record": (seal, None),
        "Log": (paths.log(stage, name), None),
        **{
            f"Evaluation, {split}": (paths.evaluation(name, split), None)
            for split in experiment.splits_for(experiment.runs[name])
        },
    }
    for term, (file, digest) in files.items():
        if file.is_file():
            yield term, _file(experiment, file, digest)
    if not record:
        yield "State", Html(f"not {done.lower()}")


def _file(experiment: Experiment, file: Path, digest: str | None) -> Html:
    """Return a link from the report to a file, and its checksum."""
    link = Path(os.path.relpath(file, experiment.paths.report.parent)).as_posix()
    sha = f" <span>sha256 <code>{escape(digest[:_SHORT])}</code></span>" if digest else ""
    return Html(f'<a href="{escape(link)}">{escape(file.name)}</a>{sha}')


def _when(record: dict[str, Any]) -> str | None:
    finished = record.get("finished")
    return finished and f"{datetime.fromisoformat(finished):%Y-%m-%d %H:%M} UTC"


def _device(record: dict[str, Any]) -> str | None:
    device, processes = record.get("device"), record.get("processes", 1)
    return device and (f"{processes} x {device}" if processes > 1 else device)


def notebook_link(page: str, source: Path) -> str:
    """Return a list's item: a link to a notebook's page by its title, and its first paragraph."""
    title, about = notebook_title(source)
    return f'<li><a href="{escape(page)}">{escape(title)}</a>: {escape(about)}</li>'


def notebook_title(source: Path) -> tuple[str, str]:
    """Return a notebook's title and first paragraph, of which its first cell of text is made."""
    cells = json.loads(source.read_text(encoding="utf-8"))["cells"]
    text = next(("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"), "")
    title, _, rest = text.partition("\n")
    return title.lstrip("# ") or source.stem, rest.strip().partition("\n\n")[0].replace("\n", " ")
