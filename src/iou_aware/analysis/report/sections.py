"""The sections of the report, as its notebook shows them: each is one call that returns HTML."""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from iou_aware.analysis.claims.claims import COMPARISONS, HEADS, NUMERIC, numbers
from iou_aware.analysis.collect.collect import described
from iou_aware.analysis.figures.captions import figure_caption, figure_section
from iou_aware.analysis.metrics import load_metrics, load_missing
from iou_aware.analysis.report.html import Html, figure, note, render, table
from iou_aware.analysis.report.notebook import notebook_title
from iou_aware.analysis.tables.layout import shown
from iou_aware.analysis.times import COSTS, clock, cost_rows, costs
from iou_aware.common.files import text_of_cell
from iou_aware.common.messages import InputError
from iou_aware.data.manifest import Manifest, SplitData
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.layout import Layout
from iou_aware.experiment.run import Run

VERSIONS = ("git_commit", "torch", "mmdet", "mmcv")


class Results:
    """The results of one experiment, to be shown section by section.

    Args:
        folder: ``results/<experiment>``.

    Raises:
        InputError: the folder holds no experiment, or its ``metrics.csv`` is missing or malformed.
    """

    def __init__(self, folder: str | Path):
        resolved = Path(folder) / "experiment.yaml"
        if not resolved.is_file():
            raise InputError(f"{resolved}: missing; expected a folder of results that `snakemake` has written to")
        self.experiment = Experiment.load(resolved)
        self.paths = self.experiment.paths
        self.metrics = load_metrics(self.paths.metrics)

    def heading(self) -> Html:
        """The title, how many claims hold, what was run, and whether released weights have the published AP."""
        experiment = self.experiment
        return render(
            "heading",
            experiment=experiment,
            judged=_read(self.paths.claims),
            comparison=COMPARISONS[experiment.comparison],
            finished={name for name in experiment.runs if self.paths.seal(name).is_file()},
            seeds=len({run.seed for run in experiment.runs.values()}),
            evaluations=len(self.metrics),
            wrong=int((self.metrics.groupby("run")["AP"].max() == 0).sum()),
            released=[described(check) for check in _read(self.paths.checks) or ()],
            missing=self.missing(),
        )

    def missing(self) -> Html | None:
        """What the experiment asks for and has not been measured yet; None where nothing is missing."""
        reasons = load_missing(self.paths.missing).items()
        gaps = list(dict.fromkeys(f"{run} on {split}: {why}" for (run, split, _), why in reasons))
        return render("missing", gaps=gaps) if gaps else None

    def notebooks(self) -> Html:
        """The notebooks that were executed over these results, each with what it is about."""
        pages = {self.paths.page(name): self.paths.notebook(name) for name in self.paths.notebooks}
        executed = [(page.name, notebook_title(source)) for page, source in pages.items() if page.is_file()]
        return render("notebooks", notebooks=executed)

    def claims(self) -> Html:
        """What the paper claims: verdicts first, then each claim with the numbers that decide it."""
        judged = _read(self.paths.claims)
        if judged is None:
            return note("The claims are not judged yet.")
        return render("claims", claims=judged["claims"], heads=HEADS, numeric=NUMERIC, numbers=numbers)

    def tables(self) -> Html:
        """All tables, as the stage ``table`` wrote them."""
        tables = []
        for name, one in self.experiment.tables.items():
            file = self.paths.table(name, "html")
            html = Html(file.read_text(encoding="utf-8")) if file.is_file() else None
            tables.append({"name": name, "title": one.title, "html": html})
        return render("tables", tables=tables)

    def figures(self, section: str = "Figures") -> Html:
        """The figures of one section, see ``captions.FIGURES``; a sentence where there is none."""
        drawn = [
            figure(file.read_bytes(), "svg+xml", figure_caption(file.stem), name=file.stem)
            for file in sorted(self.paths.figures.glob("*.svg"))
            if figure_section(file.stem) == section
        ]
        return Html("".join(drawn) or note("None of these figures is drawn yet."))

    def gallery(self) -> Html:
        """The images on which the rule changed the boxes most, either way."""
        file = self.paths.gallery / "gallery.csv"
        if not file.is_file():
            return note("The gallery is not drawn yet.")
        pictures = []
        for line in pd.read_csv(file).map(text_of_cell).itertuples():
            title = self.experiment.runs[line.run].title()
            caption = f"{line.file_name}: IoU {shown(line.change, '+.3f')} ({title})"
            picture = file.parent / line.file
            pictures.append(figure(picture.read_bytes(), "jpeg", caption, line.text, picture.stem))
        return Html("".join(pictures))

    def costs(self) -> Html:
        """Time, memory, and the hours of CPUs and GPUs, by stage and by run, from Snakemake's benchmark files."""
        try:
            measured = costs(self.experiment)
        except InputError as fault:
            return note(str(fault))
        tables = [table([what, *COSTS], cost_rows(some), range(1, 7)) for what, some in measured.items() if len(some)]
        return Html("".join(tables))

    def data(self) -> Html:
        """What the datasets hold, and how much of them was left out or may be wrong."""
        rows = []
        for name in self.experiment.datasets:
            file = self.paths.manifest(name)
            splits = Manifest.load(file).splits if file.is_file() else {}
            rows += [{"Dataset": name, "Split": split} | _counts(part) for split, part in splits.items()]
        if not rows:
            return note("No dataset is prepared yet.")
        held = table(list(rows[0]), [list(map(str, row.values())) for row in rows], range(2, len(rows[0])))
        return Html(held + note("Names and reasons: results/datasets/*/manifest.json."))

    def provenance(self) -> Html:
        """What made the numbers: versions, and for every run its config, weights, log and when it was trained."""
        versions = [
            [name.replace("_", " "), ", ".join(map(str, self.metrics[name].dropna().unique()))] for name in VERSIONS
        ]
        return Html(table(["Of", "Version"], versions) + runs_page(self.paths, self.experiment.runs))


def _counts(part: SplitData) -> dict[str, int]:
    """Return what a split holds, and what was left out of it or may be wrong with its images, by heading."""
    return {
        "Images": part.counts["images"],
        "Boxes": part.counts["boxes"],
        **{f"{size.capitalize()} boxes": part.counts["areas"][size] for size in ("small", "medium", "large")},
        "Invalid boxes": len(part.invalid),
        "Boxes of unlisted classes": sum(part.unlisted.values()),
        "Images left out": len(part.excluded),
        "Images too small to train on": len(part.small),
        "Images turned by EXIF": len(part.turned),
        "Images ending in zeros": len(part.padded),
    }


def runs_page(paths: Layout, runs: Mapping[str, Run]) -> Html:
    """Return HTML with one part per run, ``run-<name>``: what made it, and links to those of its files that exist."""
    parts = []
    for name, run in runs.items():
        files = [paths.config(name), paths.weights(name), paths.history(name), paths.seal(name)]
        files += [paths.log("release" if run.is_released else "train", name)]
        files += sorted(paths.evaluation(name, "any").parent.glob("*.json"))
        links = [Path(os.path.relpath(file, paths.report.parent)).as_posix() for file in files if file.is_file()]
        parts.append({"name": name, "facts": _facts(run, _read(paths.seal(name)) or {}), "links": links})
    return render("runs", runs=parts)


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


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
