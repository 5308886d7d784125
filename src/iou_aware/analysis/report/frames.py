"""What an experiment has measured, as pandas frames to work with in a notebook; and how a notebook draws them."""

import textwrap
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import pandas as pd

from iou_aware.analysis import style
from iou_aware.analysis.bootstrap import resamples
from iou_aware.analysis.premise.measure import TABLES, load_premise
from iou_aware.analysis.report.elements import Html, note, picture
from iou_aware.analysis.uncertainty import intervals
from iou_aware.common.files import text_of_cell
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import BASELINE_RULE, FIELDS, Run, matched_pairs
from iou_aware.method.confidence import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THRESHOLDS = tuple(f"AP{percent}" for percent in range(50, 100, 10))
_TITLE = 36  # letters that fit above a panel
ALONE = "alpha=1.00"  # the classification score alone, of a model that has the IoU head


def models(experiment: Experiment, names: Iterable[str]) -> dict[str, str]:
    """Return a short name for each of these runs: the fields in which they differ."""
    runs = {name: experiment.runs[name] for name in names}
    differing = [field for field in FIELDS if len({getattr(run, field) for run in runs.values()}) > 1]
    return {name: _short(run, differing) for name, run in runs.items()}


def _short(run: Run, differing: list[str]) -> str:
    values = {name: getattr(run, name) for name in differing}
    if values.get("seed") is not None:
        values["seed"] = f"seed {run.seed}"
    values["target_grad"] = "target gradient" if values.get("target_grad") else None
    return ", ".join(str(value) for value in values.values() if value is not None) or run.detector


def long(experiment: Experiment, metrics: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return one line per run, split, rule and metric that has a value.

    Args:
        experiment: The experiment.
        metrics: Its ``metrics.csv``, see ``metrics.load_metrics``.
        columns: The metrics wanted.

    Returns:
        ``run``, ``split``, ``rule``, the run's fields, ``model`` (a short name), ``alpha`` (NaN for other rules),
        ``metric``, ``value`` (percent), and ``gain`` in points over the same model without the IoU head, NaN without.
    """
    shared = ["run", "split", "rule", *FIELDS]
    lines = metrics.melt(id_vars=shared, value_vars=list(columns), var_name="metric", value_name="value")
    lines = lines.dropna(subset="value").reset_index(drop=True)
    baselines = dict(matched_pairs(experiment.runs))
    plain = lines[lines["rule"] == BASELINE_RULE].set_index(["run", "split", "metric"])["value"].to_dict()
    keys = zip(lines["run"].map(baselines.get), lines["split"], lines["metric"], strict=True)
    return named(experiment, lines.assign(gain=lines["value"] - [plain.get(key, float("nan")) for key in keys]))


def named(experiment: Experiment, lines: pd.DataFrame) -> pd.DataFrame:
    """Return lines that have a run and a rule with a short name, ``model``, and ``alpha`` beside them."""
    names = models(experiment, lines["run"].unique())
    return lines.assign(model=lines["run"].map(names), alpha=lines["rule"].map(_alpha).astype(float))


def premise(experiment: Experiment) -> dict[str, pd.DataFrame]:
    """Return the tables of the premise by name, see ``premise.write_premise``; without lines before it has run."""
    tables = load_premise(experiment.paths.premise)
    if tables is None:
        tables = {name: pd.DataFrame(columns=["run", "split", "rule", *columns]) for name, columns in TABLES.items()}
    return {name: named(experiment, lines) for name, lines in tables.items()}


def _alpha(rule: str) -> float | None:
    parsed = Rule(rule)
    return parsed.alpha if parsed.kind == "alpha" else None


def sweep(experiment: Experiment, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of ``long`` that have an alpha, of AP and of five IoU thresholds."""
    lines = long(experiment, metrics, ("AP", *THRESHOLDS))
    swept = named(experiment, lines[lines["alpha"].notna()])
    return swept.sort_values(["model", "metric", "alpha"], kind="stable", ignore_index=True)


def table(experiment: Experiment, name: str) -> pd.DataFrame:
    """Return a table, as the stage ``table`` wrote it, by row and metric.

    Returns:
        ``table`` (its title), ``row``, ``rule``, ``metric``, and in percent or points ``ours``, ``paper``, ``gain`` and
        ``gain_paper`` (over the row's baseline); no lines where the table is not written yet.
    """
    columns = ["row", "rule", "metric", "ours", "paper", "gain", "gain_paper"]
    file = experiment.paths.table(name, "csv")
    lines = pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=["class", *columns])
    lines = lines.loc[lines["class"].isna(), columns]
    return lines.assign(table=experiment.tables[name].title, row=lines["row"].map(text_of_cell))


def alpha_intervals(experiment: Experiment, lines: pd.DataFrame) -> pd.DataFrame:
    """Return lines of ``sweep`` with ``change``, their points over alpha 1, and its bootstrap interval, low and high.

    Both are of the same trained model on the same images, so that only the ranking differs. Without resamples, or
    without alpha 1, a line is left out.
    """
    found = []
    values = {(line.run, line.split, line.rule, line.metric): line.value for line in lines.itertuples()}
    for index, line in zip(lines.index, lines.itertuples(), strict=True):
        path, alone = experiment.paths.bootstrap(line.run, line.split), (line.run, line.split, ALONE, line.metric)
        drawn = resamples.combined([(1, path, line.rule, line.metric), (-1, path, ALONE, line.metric)])
        if drawn is None or alone not in values:
            continue
        change = line.value - values[alone]
        interval = intervals.interval(change, drawn)
        if interval is not None:
            found.append({"index": index, "change": change, "low": interval.low, "high": interval.high})
    columns = pd.DataFrame(found, columns=["index", "change", "low", "high"]).set_index("index")
    return lines.join(columns, how="inner")


def shown(data: pd.DataFrame, draw: Callable[[pd.DataFrame], "Figure"], caption: str) -> Html:
    """Return what ``draw`` makes of the data, in the style of all figures; a sentence where there is no data."""
    if data.empty:
        return note(f"Not to be drawn yet, for want of data: {caption}")
    with style.look():
        drawing = draw(data)
        for ax in drawing.axes:  # a long name would run into the next panel's
            ax.set_title(textwrap.fill(ax.get_title(loc="left"), _TITLE), loc="left")
        content = style.svg(drawing, caption)
    return Html(picture(content, "svg+xml", "", caption))
