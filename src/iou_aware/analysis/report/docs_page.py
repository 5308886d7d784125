"""A page of results for the documentation: what a visitor sees before installing anything."""

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

from iou_aware.analysis import markdown
from iou_aware.analysis.figures.captions import figure_caption
from iou_aware.analysis.metrics import load_metrics
from iou_aware.analysis.report import premise as premise_table
from iou_aware.analysis.times import clock, hours, stage_costs
from iou_aware.common.errors import InputError
from iou_aware.common.files import write_text, writing
from iou_aware.data import dataset
from iou_aware.experiment.experiment import Experiment

logger = logging.getLogger(__name__)


def publish(experiment: Experiment) -> Path:
    """Write ``docs/<experiment>.md`` from finished results, its figures to ``docs/<experiment>/``; return the page.

    Raises:
        InputError: Something that belongs on the page has not been made yet.
    """
    paths = experiment.paths
    page, folder = experiment.root / "docs" / f"{experiment.name}.md", experiment.root / "docs" / experiment.name
    figures = sorted(paths.figures.glob("*.svg"))
    parts = [
        _heading(experiment),
        "## The paper's claims",
        _below(_text(paths.claims.with_suffix(".md")), levels=2),
        "## Tables",
        *(_text(paths.table(name, "md")) for name in experiment.tables),
        "## Figures",
        *(f"![{figure_caption(file.stem)}]({experiment.name}/{file.name})" for file in figures),
        *_premise(experiment),
        "## What it cost",
        _costs(experiment),
    ]
    shutil.rmtree(folder, ignore_errors=True)
    for file in figures:
        with writing(folder / file.name) as beside:
            shutil.copyfile(file, beside)
    write_text(page, "\n\n".join(part.strip() for part in parts) + "\n")
    logger.info("Wrote %s with %d figures", page, len(figures))
    return page


def _heading(experiment: Experiment) -> str:
    metrics = load_metrics(experiment.paths.metrics)
    versions = ", ".join(f"{name} {_listed(metrics[name])}" for name in ("torch", "mmdet", "mmcv"))
    commits = _listed(commit[:12] for commit in metrics["git_commit"].dropna())
    config = f"configs/experiments/{experiment.name}.yaml"
    datasets = (dataset.load(experiment.root, name) for name in experiment.datasets)
    fetched = "".join(f"iou-aware fetch {found.name}\n" for found in datasets if found.fetch)
    return (
        f"# {experiment.title}\n\n"
        f"{metrics['run'].nunique()} runs, {len(metrics)} evaluations, seeds {_listed(metrics['seed'])}; {versions}; "
        f"trained at commit {commits}.\n\n"
        "Made by these commands; nothing on this page is written by hand:\n\n"
        f"```\n{fetched}make reproduce EXPERIMENT={experiment.name}\niou-aware publish {config}\n```"
    )


def _premise(experiment: Experiment) -> list[str]:
    shown = premise_table.markdown(experiment)
    return ["## The premise", shown] if shown else []


def _costs(experiment: Experiment) -> str:
    rows = [
        [
            stage,
            str(cost.jobs),
            clock(cost.wall),
            hours(cost.cpu),
            hours(cost.gpu),
            clock(cost.longest),
            f"{cost.peak:.0f}",
        ]
        for stage, cost in stage_costs(experiment).items()
    ]
    heads = ["stage", "jobs", "time", "CPU-hours", "GPU-hours", "longest job", "memory of one job, MiB"]
    return "\n".join(markdown.table(heads, rows, range(1, len(heads))))


def _text(file: Path) -> str:
    if not file.is_file():
        raise InputError(f"{file}: missing; run `snakemake` for this experiment to the end, then publish")
    return file.read_text(encoding="utf-8")


def _below(text: str, levels: int) -> str:
    """Return a page as a section of another: without its title, its headings that many levels lower."""
    lines = text.splitlines()[1:]
    return "\n".join("#" * (levels - 1) + line if line.startswith("#") else line for line in lines)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(sorted({f"{value:g}" if isinstance(value, float) else str(value) for value in values}))
