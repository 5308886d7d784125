"""The parts of the report, as a notebook shows them: each is one call that returns HTML."""

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from iou_aware.data.manifest import Manifest
from iou_aware.errors import InputError
from iou_aware.study.collect import missing
from iou_aware.study.experiment import Experiment
from iou_aware.study.metrics import load_metrics
from iou_aware.study.summary import findings
from iou_aware.study.times import clock, stage_costs

VERDICTS = {True: "as in the paper", False: "not as in the paper", None: ""}
VERSIONS = ("git_commit", "torch", "mmdet", "mmcv")


# By the beginning of a figure's file name, the longer before the shorter.
CAPTIONS = {
    "alpha_gain": "What alpha gains over the baseline, by IoU threshold; ours beside the paper's.",
    "alpha": "AP by alpha and IoU threshold; ours beside the paper's.",
    "gain_per_threshold": "Gain over the same model without the IoU head, by IoU threshold.",
    "gain_per_size": "Gain over the same model without the IoU head, by size of objects.",
    "gain_per_class": "Gain over the same model without the IoU head, by class.",
    "training": "Losses while training, by step.",
}


def figure_caption(name: str) -> str:
    """Return what a figure shows, by its file name without suffix."""
    for beginning, caption in CAPTIONS.items():
        if name.startswith(beginning):
            rest = name.removeprefix(beginning).strip("_").replace("_", ", ")
            return f"{caption} ({rest})" if rest else caption
    return name.replace("_", " ")


class Html(str):
    """HTML that a notebook shows as such."""

    def _repr_html_(self) -> str:
        return str(self)


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
        """The title and one paragraph on what was run."""
        experiment = self.experiment
        runs, seeds = list(experiment.runs.values()), {run.seed for run in experiment.runs.values()}
        sealed = sum(experiment.paths.seal(name).is_file() for name in experiment.runs)
        text = (
            f"{sealed} of {len(runs)} models trained on {_listed(experiment.datasets)} with "
            f"{_counted(len(seeds), 'seed')}; {_counted(len(self.metrics), 'evaluation')}. Each image passed through a "
            f"model once: the {_counted(len(experiment.rules), 'confidence rule')} of an IoU-aware model rank it."
        )
        gaps = [f"{gap.run} on {gap.split}: {gap.why}" for gap in missing(experiment)]
        lacking = f"<p><strong>Missing:</strong></p>{_items(gaps)}" if gaps else ""
        return Html(f"<h1>{escape(experiment.title)}</h1><p>{escape(text)}</p>{lacking}")

    def summary(self) -> Html:
        """What the paper reports, ours beside the paper's."""
        rows = [
            [found.place, found.statement, found.ours, found.paper, VERDICTS[found.agrees]]
            for found in findings(self.experiment)
        ]
        if not rows:
            return Html("<p>No table has values to compare yet.</p>")
        compared = [row for row in rows if row[-1]]
        agreeing = sum(row[-1] == VERDICTS[True] for row in compared)
        words = f"<p>{agreeing} of {len(compared)} comparisons point where the paper's do.</p>" if compared else ""
        heads = ["Table", "What is compared (AP in percent)", "Ours", "Paper", "Direction"]
        paper = any(row[3] for row in rows)
        return Html(words + _table(heads if paper else heads[:3], rows if paper else [row[:3] for row in rows]))

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
        return Html(f'<section id="{escape(name)}" aria-label="{title}">{shown}</section>')

    def figures(self, training: bool = False) -> Html:
        """The figures: those of training, or all others."""
        files = sorted(self.experiment.paths.figures.glob("*.svg"))
        shown = [_figure(file) for file in files if file.stem.startswith("training") == training]
        return Html("".join(shown) or "<p>No figures were drawn.</p>")

    def training(self) -> Html:
        """How the runs trained: length, speed, memory and final losses."""
        rows = []
        for name in self.experiment.runs:
            seal = _read(self.experiment.paths.seal(name))
            if seal:
                losses = ", ".join(f"{key.removeprefix('loss_')} {value:.3f}" for key, value in seal["losses"].items())
                rate, peak = f"{seal['images_per_second']:.0f}", f"{seal['peak_rss_mib']:.0f}"
                rows.append([name, str(seal["epochs"]), clock(seal["seconds"]), rate, peak, losses])
        return Html(
            _table(["Run", "Epochs", "Time", "Images/s", "Memory, MiB", "Losses at the end"], rows, [1, 2, 3, 4])
        )

    def costs(self) -> Html:
        """Time and memory by stage, from Snakemake's benchmark files."""
        try:
            costs = stage_costs(self.experiment)
        except InputError as fault:
            return Html(f"<p>{escape(str(fault))}</p>")
        rows = [
            [stage, str(cost.jobs), clock(cost.wall), clock(cost.cpu), clock(cost.longest), f"{cost.peak:.0f}"]
            for stage, cost in costs.items()
        ]
        heads = ["Stage", "Jobs", "Time", "CPU time", "Longest job", "Memory of one job, MiB"]
        return Html(_table(heads, rows, range(1, 6)))

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
        found = f"<p>Invalid boxes, and what was done with them:</p>{_items(faults)}" if faults else ""
        return Html(_table(heads, rows, range(2, 7)) + found)

    def provenance(self) -> Html:
        """What made the numbers: code, versions, configs and weights."""
        versions = [[name, _listed(self.metrics[name].dropna().unique())] for name in VERSIONS]
        runs = self.metrics.drop_duplicates("run")
        rows = [
            [row.run, str(row.config_sha256)[:12], str(row.weights_sha256)[:12], str(row.git_commit)[:12]]
            for row in runs.itertuples()
        ]
        by_run = _table(["Run", "Config, sha256", "Weights, sha256", "Commit"], rows)
        return Html(_table(["", "Version"], versions) + by_run)


def _figure(file: Path) -> str:
    source = f"data:image/svg+xml;base64,{base64.b64encode(file.read_bytes()).decode()}"
    caption = escape(figure_caption(file.stem))
    return (
        f'<figure id="{escape(file.stem)}"><figcaption>{caption}</figcaption>'
        f'<img src="{source}" alt="{caption}"></figure>'
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = ()) -> str:
    numeric = set(numeric)

    def cells(tag: str, row: Sequence[str]) -> str:
        shown = [(' class="number"' if i in numeric else "", escape(cell)) for i, cell in enumerate(row)]
        return "".join(f"<{tag}{style}>{cell}</{tag}>" for style, cell in shown)

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', heads)}</tr></thead>"
    return f'<div class="scroll"><table class="plain">{head}<tbody>{body}</tbody></table></div>'


def _items(texts: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values)


def _fault(invalid: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in invalid.items())


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
