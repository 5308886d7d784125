"""What an experiment has measured, as pandas frames to work with in a notebook; and how a notebook draws them."""

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from iou_aware.analysis import style
from iou_aware.analysis.premise.measure import load_premise
from iou_aware.analysis.report.html import Html, figure, note
from iou_aware.common.files import text_of_cell
from iou_aware.experiment.run import FIELDS, Run, short_names

THRESHOLDS = tuple(f"AP{percent}" for percent in range(50, 100, 10))
_TITLE = 36  # letters that fit above a panel


def long(runs: Mapping[str, Run], metrics: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return one line per run, split, rule and metric that has a value.

    Args:
        runs: The experiment's runs by name.
        metrics: Its ``metrics.csv``, see ``metrics.load_metrics``.
        columns: The metrics wanted.

    Returns:
        ``run``, ``split``, ``rule``, the run's fields, ``model`` (a short name), ``alpha`` (NaN for other rules),
        ``metric`` and ``value`` (percent).
    """
    shared = ["run", "split", "rule", *FIELDS]
    lines = metrics.melt(id_vars=shared, value_vars=list(columns), var_name="metric", value_name="value")
    return named(runs, lines.dropna(subset="value").reset_index(drop=True))


def named(runs: Mapping[str, Run], lines: pd.DataFrame) -> pd.DataFrame:
    """Return lines that have a run and a rule with a short name, ``model``, and ``alpha`` beside them."""
    names = short_names(runs[name] for name in lines["run"].unique())
    alphas = lines["rule"].str.extract(r"^alpha=(.+)", expand=False).astype(float)
    return lines.assign(model=lines["run"].map(names), alpha=alphas)


def premise(folder: Path, runs: Mapping[str, Run]) -> dict[str, pd.DataFrame]:
    """Return the tables of the premise by name, see ``premise.write_premise``; without lines before it has run."""
    return {name: named(runs, lines) for name, lines in load_premise(folder).items()}


def sweep(runs: Mapping[str, Run], metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of ``long`` that have an alpha, of AP and of five IoU thresholds."""
    lines = long(runs, metrics, ("AP", *THRESHOLDS))
    swept = named(runs, lines[lines["alpha"].notna()])
    return swept.sort_values(["model", "metric", "alpha"], kind="stable", ignore_index=True)


def table(file: Path) -> pd.DataFrame:
    """Return a table's CSV, as the stage ``table`` wrote it, by row and metric.

    Returns:
        ``row``, ``rule``, ``metric``, and in percent or points ``ours``, ``paper``, ``gain`` and
        ``gain_paper`` (over the row's baseline); no lines where the table is not written yet.
    """
    columns = ["row", "rule", "metric", "ours", "paper", "gain", "gain_paper"]
    lines = pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=["class", *columns])
    lines = lines.loc[lines["class"].isna(), columns]
    return lines.assign(row=lines["row"].map(text_of_cell))


def shown(data: pd.DataFrame, draw: Callable[[pd.DataFrame], Figure], caption: str) -> Html:
    """Return what ``draw`` makes of the data, in the style of all figures; a sentence where it can make nothing."""
    if data.empty:
        return note(f"Not to be drawn yet, for want of data: {caption}")
    with style.styled(style.GRIDS):
        try:
            drawing = draw(data)
        except Exception as fault:  # of whatever seaborn meets in numbers that are all the same, or none
            return note(f"Cannot be drawn ({type(fault).__name__}: {fault}): {caption}")
        for ax in drawing.axes:  # a long name would run into the next panel's
            ax.set_title(textwrap.fill(ax.get_title(loc="left"), _TITLE), loc="left")
        content = style.svg(drawing, caption)
    return figure(content, "svg+xml", caption)
