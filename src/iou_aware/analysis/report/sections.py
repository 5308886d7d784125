"""The parts of the report, as a notebook shows them: each is one call that returns HTML."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from iou_aware.analysis.collect.released_weights import TOLERANCE, Check, checks
from iou_aware.analysis.figures.captions import figure_caption, figure_section
from iou_aware.analysis.metrics import load_metrics, load_missing
from iou_aware.analysis.report import premise as premise_table
from iou_aware.analysis.report.claims import answer, claims_page
from iou_aware.analysis.report.elements import Html, figure, items, table
from iou_aware.analysis.report.links import notebook_link, runs_page
from iou_aware.analysis.tables.layout import shown
from iou_aware.analysis.times import Cost, clock, hours, run_costs, stage_costs
from iou_aware.common.errors import InputError
from iou_aware.common.files import text_of_cell
from iou_aware.data.manifest import Manifest
from iou_aware.experiment.experiment import Experiment

VERSIONS = ("git_commit", "torch", "mmdet", "mmcv")

# Of more gaps than these, only the number is shown at first.
_FEW = 3


class Results:
    """The results of one experiment, to be shown part by part.

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
        self.metrics = load_metrics(self.experiment.paths.metrics)

    def heading(self) -> Html:
        """The title, how many claims hold, and one paragraph on what was run."""
        experiment = self.experiment
        runs, seeds = experiment.trained, {run.seed for run in experiment.runs.values()}
        sealed, fetched = (
            sum(experiment.paths.seal(name).is_file() for name in some) for some in (runs, experiment.released)
        )
        besides = f", {fetched} of {len(experiment.released)} fetched" if experiment.released else ""
        text = (
            f"{sealed} of {len(runs)} models trained on {_listed(experiment.datasets)} with "
            f"{_counted(len(seeds), 'seed')}{besides}; {_counted(len(self.metrics), 'evaluation')}. Each image passed "
            f"through a model once; the {_counted(len(experiment.rules), 'confidence rule')} of an IoU-aware model "
            "rank what came out."
        )
        failed = [str(check) for check in checks(experiment, self.metrics) if check.met is False]
        warned = f"<p><strong>Checks that failed:</strong></p>{items(failed)}" if failed else ""
        judged = _read(experiment.paths.claims)
        first = f"<h1>{escape(experiment.title)}</h1>{answer(judged) if judged else ''}"
        return Html(f"{first}<p>{escape(text)}</p>{warned}{self.missing() or ''}")

    def missing(self) -> Html | None:
        """What the experiment asks for and has not been measured yet; None where nothing is missing."""
        lacking = load_missing(self.experiment.paths.missing).items()
        gaps = list(dict.fromkeys(f"{run} on {split}: {why}" for (run, split, _), why in lacking))
        if not gaps:
            return None
        summary = f"<strong>Missing:</strong> {_counted(len(gaps), 'evaluation')}"
        return Html(f"<details{' open' * (len(gaps) <= _FEW)}><summary>{summary}</summary>{items(gaps)}</details>")

    def notebooks(self) -> Html:
        """The notebooks that were executed over these results, each with what it is about."""
        paths = self.experiment.paths
        found = [name for name in paths.notebooks if paths.page(name).is_file()]
        lines = [notebook_link(paths.page(name).name, paths.notebook(name)) for name in found]
        return Html(f"<ul>{''.join(lines)}</ul>" if lines else "<p>No notebook has been executed yet.</p>")

    def claims(self) -> Html:
        """What the paper claims: verdicts first, then each claim with the numbers that decide it."""
        judged = _read(self.experiment.paths.claims)
        return Html("<p>The claims are not judged yet.</p>" if judged is None else claims_page(judged))

    def tables(self) -> Html:
        """All tables, as the stage ``table`` wrote them."""
        tables = self.experiment.tables
        links = " · ".join(f'<a href="#{escape(name)}">{escape(table.title)}</a>' for name, table in tables.items())
        return Html(f"<p>{links}</p>" + "".join(self.table(name) for name in tables))

    def table(self, name: str) -> Html:
        """One table."""
        title = escape(self.experiment.tables[name].title)
        file = self.experiment.paths.table(name, "html")
        shown = file.read_text(encoding="utf-8") if file.is_file() else f"<p>{title} is not written yet: {file}</p>"
        return Html(f'<div class="table" id="{escape(name)}">{shown}</div>')

    def figures(self) -> Html:
        """The figures of the tables' numbers."""
        return self._figures("Figures", "<p>No figures were drawn.</p>")

    def _figures(self, section: str, lacking: str) -> Html:
        """The figures of one section."""
        files = sorted(self.experiment.paths.figures.glob("*.svg"))
        wanted = [file for file in files if figure_section(file.stem) == section]
        return Html("".join(figure(file, figure_caption(file.stem)) for file in wanted) or lacking)

    def training(self) -> Html:
        """How the runs trained: curves, length, speed, memory, final losses; and what released weights measure here."""
        rows = []
        for name in self.experiment.trained:
            seal = _read(self.experiment.paths.seal(name))
            if seal:
                losses = ", ".join(f"{key.removeprefix('loss_')} {value:.3f}" for key, value in seal["losses"].items())
                rate, peak = f"{seal['images_per_second']:.0f}", f"{seal['peak_rss_mib']:.0f}"
                rows.append([name, str(seal["epochs"]), clock(seal["seconds"]), rate, peak, losses])
        heads = ["Run", "Epochs", "Time", "Images/s", "Memory, MiB", "Losses at the end"]
        curves = self._figures("Training", "<p>No training curves were drawn.</p>")
        released = _checks(checks(self.experiment, self.metrics))
        return Html(curves + table(heads, rows, [1, 2, 3, 4]) + released)

    def premise(self) -> Html:
        """How confidence goes with localisation."""
        figures = self._figures("Premise", "<p>The premise is not measured yet.</p>")
        return Html(figures + premise_table.html(self.experiment))

    def gallery(self) -> Html:
        """The images on which the rule changed the boxes most, either way."""
        folder = self.experiment.paths.gallery
        if not (folder / "gallery.csv").is_file():
            return Html("<p>The gallery is not drawn yet.</p>")
        shown = pd.read_csv(folder / "gallery.csv").map(text_of_cell)
        return Html(
            "".join(
                figure(folder / line.file, self._changed(line.file_name, line.run, line.change), line.text)
                for line in shown.itertuples()
            )
        )

    def _changed(self, image: str, run: str, change: float) -> str:
        return f"{image}: IoU {shown(change, '+.3f')} ({self.experiment.runs[run].title()})"

    def costs(self) -> Html:
        """Time, memory, and the hours of CPUs and GPUs, by stage and by run, from Snakemake's benchmark files."""
        try:
            stages, runs = stage_costs(self.experiment), run_costs(self.experiment)
        except InputError as fault:
            return Html(f"<p>{escape(str(fault))}</p>")
        return Html(_costs("Stage", stages) + (_costs("Run", runs) if runs else ""))

    def data(self) -> Html:
        """What the datasets hold, and what was wrong with them."""
        rows, faults = [], []
        files = {name: self.experiment.paths.manifest(name) for name in self.experiment.datasets}
        for name in [name for name, file in files.items() if file.is_file()]:
            manifest = Manifest.load(files[name])
            for split, part in manifest.splits.items():
                sizes = part.counts["areas"]
                numbers = [
                    part.counts["images"],
                    part.counts["boxes"],
                    *(sizes[s] for s in ("small", "medium", "large")),
                ]
                rows.append([name, split, *map(str, numbers), part.sha256[:12]])
                faults += [f"{name}: {_fault(invalid)} ({manifest.invalid_boxes})" for invalid in part.invalid]
        heads = ["Dataset", "Split", "Images", "Boxes", "Small", "Medium", "Large", "Annotations, sha256"]
        found = f"<p>Invalid boxes, and what was done with them:</p>{items(faults)}" if faults else ""
        return Html(table(heads, rows, range(2, 7)) + found)

    def provenance(self) -> Html:
        """What made the numbers: versions, and for every run its config, weights, log and when it was trained."""
        versions = [[name.replace("_", " "), _listed(self.metrics[name].dropna().unique())] for name in VERSIONS]
        return Html(table(["Of", "Version"], versions) + runs_page(self.experiment))


def _checks(found: Sequence[Check]) -> str:
    """Return checks as a table for people; nothing where there are none."""
    if not found:
        return ""
    rows = []
    for check in found:
        ours = ["-", "-", "not measured yet"]
        if check.measured is not None:
            difference = f"{check.measured - check.published:+.2f}"
            ours = [f"{check.measured:.2f}", difference, "met" if check.met else "FAILED"]
        rows.append([check.run, check.split, f"{check.published:.1f}", *ours])
    heads = ["Released weights", "Split", "AP published", "AP here", "Difference", f"Within {TOLERANCE:g}"]
    return table(heads, rows, [2, 3, 4])


def _costs(what: str, costs: Mapping[str, Cost]) -> str:
    heads = [what, "Jobs", "Time, h:m:s", "CPU-hours", "GPU-hours", "Longest job", "Memory of one job, MiB"]
    rows = [
        [
            *(name, str(cost.jobs), clock(cost.wall), hours(cost.cpu), hours(cost.gpu) if cost.gpu else "none"),
            *(clock(cost.longest), f"{cost.peak:.0f}"),
        ]
        for name, cost in costs.items()
    ]
    return table(heads, rows, range(1, 7))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values)


def _fault(invalid: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in invalid.items())


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
