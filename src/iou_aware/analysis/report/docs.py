"""The command ``docs``: pages of results for the documentation, what a visitor sees before installing anything.

``docs/<experiment>.md`` is one screen: the verdicts, two figures, and links to pages of details in
``docs/<experiment>/``.
"""

import json
import shutil
from pathlib import Path

from iou_aware.analysis.claims.claims import COMPARISONS, anchor
from iou_aware.analysis.figures.captions import figure_caption
from iou_aware.analysis.metrics import load_metrics
from iou_aware.analysis.times import COSTS, cost_rows, costs
from iou_aware.common import markdown, templates
from iou_aware.common.files import write_text
from iou_aware.common.messages import InputError, log
from iou_aware.experiment.experiment import Experiment

# What the first page shows, as far as it is drawn: the gain that the paper is about, and where it comes from.
FIRST_FIGURES = ("alpha_gain", "gain_per_threshold")


def write_docs(experiment: Experiment) -> Path:
    """Write ``docs/<experiment>.md`` and its folder from finished results; return the page.

    Raises:
        InputError: Something that belongs on the pages has not been made yet.
    """
    paths, title = experiment.paths, experiment.title
    page, folder = experiment.root / "docs" / f"{experiment.name}.md", experiment.root / "docs" / experiment.name
    figures = sorted(paths.figures.glob("*.svg"))
    pages = {
        page: [
            templates.load(Path(__file__).with_name("templates") / "docs.md.j2").render(
                title=title,
                name=experiment.name,
                judged=json.loads(_text(paths.claims)),
                comparison=COMPARISONS[experiment.comparison],
                anchor=anchor,
                first=[file for file in figures if file.stem in FIRST_FIGURES] or figures[:2],
                figure=_figure,
                metrics=load_metrics(paths.metrics),
                listed=lambda values: ", ".join(sorted(set(map(str, values)))),
                fetched=[name for name, dataset in experiment.datasets.items() if dataset.fetch],
            )
        ],
        folder / "claims.md": [_text(paths.claims.with_suffix(".md"))],
        folder / "tables.md": [f"# {title}: tables", *(_text(paths.table(name, "md")) for name in experiment.tables)],
        folder / "figures.md": [f"# {title}: figures", *map(_figure, figures)],
        folder / "costs.md": [
            f"# {title}: what it cost",
            "Time is by the clock, while at least one job of a stage ran: other work on the machine lengthens it."
            " CPU-hours are of all jobs and hardly depend on that.",
            markdown.table(["Stage", *COSTS], cost_rows(costs(experiment)["Stage"]), range(1, len(COSTS) + 1)),
        ],
    }
    shutil.rmtree(folder, ignore_errors=True)
    for file, parts in pages.items():
        write_text(file, "\n\n".join(part.strip() for part in parts) + "\n")
    for file in figures:
        write_text(folder / file.name, file.read_text(encoding="utf-8"))
    log.info("Wrote %s, and %d figures below it", page, len(figures))
    return page


def _figure(file: Path, folder: str = "") -> str:
    caption = figure_caption(file.stem)
    return f"![{caption}]({folder}{file.name})\n\n*{caption}*"


def _text(file: Path) -> str:
    if not file.is_file():
        raise InputError(f"{file}: missing; run `snakemake` for this experiment to the end, then `iou-aware docs`")
    return file.read_text(encoding="utf-8")
