"""The sections of the report, as its notebook shows them: each is one call that returns HTML."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from iou_aware.analysis.claims.page import COMPARISONS, HEADS, NUMERIC, numbers
from iou_aware.analysis.collect.released_weights import TOLERANCE, checks, described
from iou_aware.analysis.figures.captions import figure_caption, figure_section
from iou_aware.analysis.metrics import load_metrics, load_missing
from iou_aware.analysis.report.html import Html, figure, items, note, render, table
from iou_aware.analysis.report.notebook import notebook_title
from iou_aware.analysis.report.runs import runs_page
from iou_aware.analysis.tables.layout import shown
from iou_aware.analysis.times import COSTS, clock, cost_rows, costs
from iou_aware.common.errors import InputError
from iou_aware.common.files import text_of_cell
from iou_aware.data.manifest import Manifest, SplitData
from iou_aware.experiment.experiment import Experiment

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
        """The title, how many claims hold, and one paragraph on what was run."""
        experiment = self.experiment
        trained, fetched = (
            f"{sum(self.paths.seal(name).is_file() for name in runs)} of {len(runs)}"
            for runs in (experiment.trained, experiment.released)
        )
        about = (
            f"{trained} models trained on {', '.join(experiment.datasets)} with "
            f"{_counted(len({run.seed for run in experiment.runs.values()}), 'seed')}"
            f"{f', {fetched} fetched' if experiment.released else ''}; {_counted(len(self.metrics), 'evaluation')}. "
            f"Each image passed through a model once; the {_counted(len(experiment.rules), 'confidence rule')} of an "
            "IoU-aware model rank what came out."
        )
        best = self.metrics.groupby("run")["AP"].max()
        if nothing := int((best == 0).sum()):
            about += (
                f" AP 0, whatever the rule: {_counted(nothing, 'model')}, of which no detection is right. Train longer "
                "(`settings.epochs`), or look at the losses under Training."
            )
        return render(
            "heading",
            title=experiment.title,
            judged=_read(self.paths.claims),
            comparison=COMPARISONS[experiment.comparison],
            about=about,
            failed=[described(check) for check in checks(experiment, self.metrics) if check["met"] is False],
            missing=self.missing(),
        )

    def missing(self) -> Html | None:
        """What the experiment asks for and has not been measured yet; None where nothing is missing."""
        reasons = load_missing(self.paths.missing).items()
        gaps = list(dict.fromkeys(f"{run} on {split}: {why}" for (run, split, _), why in reasons))
        return render("missing", gaps=gaps, counted=_counted(len(gaps), "evaluation")) if gaps else None

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

    def figures(self) -> Html:
        """The figures of the tables' numbers."""
        return self._figures("Figures", "No figures were drawn.")

    def _figures(self, section: str, absent: str) -> Html:
        """The figures of one section; a sentence where there is none."""
        drawn = [
            figure(file.read_bytes(), "svg+xml", figure_caption(file.stem), name=file.stem)
            for file in sorted(self.paths.figures.glob("*.svg"))
            if figure_section(file.stem) == section
        ]
        return Html("".join(drawn) or note(absent))

    def training(self) -> Html:
        """How the runs trained: curves, length, speed, memory, final losses; and what released weights measure here."""
        rows = []
        for name in self.experiment.trained:
            seal = _read(self.paths.seal(name))
            if seal:
                losses = ", ".join(f"{key.removeprefix('loss_')} {value:.3f}" for key, value in seal["losses"].items())
                rate, peak = f"{seal['images_per_second']:.0f}", f"{seal['peak_rss_mib']:.0f}"
                rows.append([name, str(seal["epochs"]), clock(seal["seconds"]), rate, peak, losses])
        heads = ["Run", "Epochs", "Time", "Images/s", "Memory, MiB", "Losses at the end"]
        curves = self._figures("Training", "No training curves were drawn.")
        return Html(curves + table(heads, rows, [1, 2, 3, 4]) + self._released())

    def _released(self) -> Html:
        """The AP of released weights beside the published AP; nothing where there are none."""
        rows = []
        for check in checks(self.experiment, self.metrics):
            ours = ["-", "-", "not measured yet"]
            published, measured = check["published"], check["measured"]
            if measured is not None:
                ours = [f"{measured:.2f}", f"{measured - published:+.2f}", "met" if check["met"] else "FAILED"]
            rows.append([check["run"], check["split"], f"{published:.1f}", *ours])
        heads = ["Released weights", "Split", "AP published", "AP here", "Difference", f"Within {TOLERANCE:g}"]
        return table(heads, rows, [2, 3, 4]) if rows else Html()

    def premise(self) -> Html:
        """How confidence goes with localisation."""
        return self._figures("Premise", "The premise is not measured yet.")

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
        return Html("".join(table([what, *COSTS], cost_rows(some), range(1, 7)) for what, some in measured.items()))

    def data(self) -> Html:
        """What the datasets hold, and what was wrong with them."""
        rows, faults = [], []
        files = {name: self.paths.manifest(name) for name in self.experiment.datasets}
        for name in [name for name, file in files.items() if file.is_file()]:
            manifest = Manifest.load(files[name])
            for split, part in manifest.splits.items():
                counts, sizes = part.counts, part.counts["areas"]
                values = [counts["images"], counts["boxes"], sizes["small"], sizes["medium"], sizes["large"]]
                rows.append([name, split, *map(str, values), part.sha256[:12]])
                faults += [f"{name} {split}: {told}" for told in _noted(part)]
                for box in part.invalid:
                    about = ", ".join(f"{key} {value}" for key, value in box.items())
                    faults.append(f"{name}: {about} ({manifest.invalid_boxes})")
        heads = ["Dataset", "Split", "Images", "Boxes", "Small", "Medium", "Large", "Annotations, sha256"]
        told = note("What was noted, by name in the manifest, and what was done with invalid boxes:")
        return Html(table(heads, rows, range(2, 7)) + (told + items(faults) if faults else ""))

    def provenance(self) -> Html:
        """What made the numbers: versions, and for every run its config, weights, log and when it was trained."""
        versions = [
            [name.replace("_", " "), ", ".join(map(str, self.metrics[name].dropna().unique()))] for name in VERSIONS
        ]
        return Html(table(["Of", "Version"], versions) + runs_page(self.paths, self.experiment.runs))


def _noted(part: SplitData) -> list[str]:
    """Return what was left out of a split or may be wrong with its images, each with its number."""
    images = {
        "left out": part.excluded,
        "too small to be trained on": part.small,
        "turned by EXIF": part.turned,
        "ending in zeros, of which the rest may be missing": part.padded,
    }
    told = [f"{_counted(len(names), 'image')} {what}" for what, names in images.items() if names]
    boxes = [f"{_counted(n, 'box', 'boxes')} of {name}, which is not listed" for name, n in part.unlisted.items()]
    return told + boxes


def _counted(count: int, noun: str, several: str = "") -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {several or noun + 's'}"


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
