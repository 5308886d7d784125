"""The command ``docs``: pages of results for the documentation, what a visitor sees before installing anything.

``docs/<experiment>.md`` is one screen: the verdicts, two figures, and links to pages of details in
``docs/<experiment>/``.
"""

import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from iou_aware.analysis.claims.page import COMPARISONS, anchor
from iou_aware.analysis.figures.captions import figure_caption
from iou_aware.analysis.metrics import load_metrics
from iou_aware.analysis.times import COSTS, cost_rows, costs
from iou_aware.common import markdown
from iou_aware.common.errors import InputError
from iou_aware.common.files import write_text
from iou_aware.data import dataset
from iou_aware.experiment.experiment import Experiment

logger = logging.getLogger(__name__)

# What the first page shows, as far as it is drawn: the gain that the paper is about, and where it comes from.
FIRST_FIGURES = ("alpha_gain", "gain_per_threshold")
# The pages of details, with what each has.
DETAILS = {
    "claims": "every claim with the numbers that decide it, their intervals and how it was read",
    "tables": "the paper's tables with ours beside them, and number by number with gains and intervals",
    "figures": "all figures",
    "costs": "time and memory, stage by stage",
}


def write_docs(experiment: Experiment) -> Path:
    """Write ``docs/<experiment>.md`` and its folder from finished results; return the page.

    Raises:
        InputError: Something that belongs on the pages has not been made yet.
    """
    paths, title = experiment.paths, experiment.title
    page, folder = experiment.root / "docs" / f"{experiment.name}.md", experiment.root / "docs" / experiment.name
    figures = sorted(paths.figures.glob("*.svg"))
    details = {
        "claims": [_text(paths.claims.with_suffix(".md"))],
        "tables": [f"# {title}: tables", *(_text(paths.table(name, "md")) for name in experiment.tables)],
        "figures": [f"# {title}: figures", *(_figure(file, file.name) for file in figures)],
        "costs": [
            f"# {title}: what it cost",
            "Time is by the clock, while at least one job of a stage ran: other work on the machine lengthens it."
            " CPU-hours are of all jobs and hardly depend on that.",
            markdown.table(["Stage", *COSTS], cost_rows(costs(experiment)["Stage"]), range(1, len(COSTS) + 1)),
        ],
    }
    first = [file for file in figures if file.stem in FIRST_FIGURES] or figures[:2]
    parts = [
        f"# {title}",
        _verdicts(json.loads(_text(paths.claims)), f"{folder.name}/claims.md"),
        *(_figure(file, f"{folder.name}/{file.name}") for file in first),
        "## Details",
        "\n".join(f"- [{name}]({folder.name}/{name}.md): {about}" for name, about in DETAILS.items()),
        "## How it was made",
        _made(experiment),
    ]
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in details.items():
        _write(folder / f"{name}.md", content)
    for file in figures:
        write_text(folder / file.name, file.read_text(encoding="utf-8"))
    _write(page, parts)
    logger.info("Wrote %s, and %d figures below it", page, len(figures))
    return page


def _verdicts(judged: Mapping[str, Any], page: str) -> str:
    """Return how many claims have which verdict, and a table of which they are; ``page`` has each with its numbers."""
    rows = []
    for verdict, count in judged["verdicts"].items():
        mine = [claim for claim in judged["claims"] if claim["verdict"] == verdict]
        rows.append([f"{count} {verdict}", ", ".join(f"[{claim['id']}]({page}#{anchor(claim)})" for claim in mine)])
    comparison = COMPARISONS[judged["comparison"]]
    return (
        f"Does the paper reproduce? Of its {len(judged['claims'])} claims, here; a link leads to a claim's statement,"
        f" numbers and intervals. {comparison}\n\n{markdown.table(['verdict', 'claims'], rows)}"
    )


def _made(experiment: Experiment) -> str:
    """Return runs, versions and commands."""
    metrics = load_metrics(experiment.paths.metrics)
    versions = ", ".join(f"{name} {_listed(metrics[name])}" for name in ("torch", "mmdet", "mmcv"))
    commits = _listed(commit[:12] for commit in metrics["git_commit"].dropna())
    datasets = (dataset.load(experiment.root, name) for name in experiment.datasets)
    fetched = "".join(f"iou-aware fetch {one.name}\n" for one in datasets if one.fetch)
    return (
        f"{metrics['run'].nunique()} runs, {len(metrics)} evaluations, seeds {_listed(metrics['seed'])}; {versions}; "
        f"trained at commit {commits}. Nothing here is written by hand:\n\n"
        f"```\n{fetched}make reproduce EXPERIMENT={experiment.name}\n"
        f"iou-aware docs configs/experiments/{experiment.name}.yaml\n```"
    )


def _figure(file: Path, link: str) -> str:
    caption = figure_caption(file.stem)
    return f"![{caption}]({link})\n\n*{caption}*"


def _text(file: Path) -> str:
    if not file.is_file():
        raise InputError(f"{file}: missing; run `snakemake` for this experiment to the end, then `iou-aware docs`")
    return file.read_text(encoding="utf-8")


def _write(page: Path, parts: Iterable[str]) -> None:
    write_text(page, "\n\n".join(part.strip() for part in parts) + "\n")


def _listed(values: Iterable[object]) -> str:
    return ", ".join(sorted({f"{value:g}" if isinstance(value, float) else str(value) for value in values}))
