"""A table's numbers: the paper's rows in the paper's order, with our values and the paper's."""

from dataclasses import dataclass, field, replace

import pandas as pd

from iou_aware.analysis.metrics import load_metrics, load_per_class
from iou_aware.analysis.paper import PaperRow, PaperTable, load_paper
from iou_aware.common.errors import InputError
from iou_aware.experiment.columns import VOC07
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.table import Row, Table

Values = dict[str, float]


@dataclass(frozen=True)
class Line:
    """One row of a table, with everything known about it.

    Attributes:
        key: The row's key.
        labels: What stands under the label headings.
        kind: ``ours``, ``cited`` (the paper quotes it from elsewhere), ``addition`` (the paper does not have it).
        rule: The rule whose detections are shown; empty without a run.
        runs: The runs that it is the mean of, one per seed; empty without a run.
        measured: Those of them that have values so far.
        values: Our percent by metric; a metric without a value is absent.
        paper: The paper's likewise.
        baseline: Key of the row that gains are measured over, the same model without the IoU head; None: there is none.
        group: What rows must share to be compared with each other: dataset, scale, backbone and recipe.
    """

    key: str
    labels: tuple[str, ...]
    kind: str
    rule: str = ""
    runs: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()
    values: Values = field(default_factory=dict)
    paper: Values = field(default_factory=dict)
    baseline: str | None = None
    group: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """A table with its numbers, before anything is formatted.

    Attributes:
        headings: What stands above the labels.
        metrics: The metrics shown, in order.
        lines: The rows.
        classes: The same rows for each class alone, by its name; empty unless the table asks for them.
    """

    headings: tuple[str, ...]
    metrics: tuple[str, ...]
    lines: list[Line]
    classes: dict[str, list[Line]]


def build(experiment: Experiment, table: Table) -> Content:
    """Return a table's rows with our numbers from ``metrics.csv`` and the paper's.

    Raises:
        InputError: ``metrics.csv`` or the paper's table is malformed, or a row is neither in the paper's
            table nor marked as an addition.
    """
    paper = load_paper(experiment.paths.paper(table.paper)) if table.paper else None
    metrics = tuple(dict.fromkeys([*(paper.metrics if paper else ()), *table.columns]))
    lines = _lines(experiment, table, paper)
    classes = {}
    if table.per_class:
        parts = load_per_class(experiment.paths.per_class)
        parts = parts[parts["run"].isin({run for line in lines for run in line.runs})]
        own = [metric for metric in metrics if metric in parts]
        bare = [replace(line, paper={}) for line in lines if line.runs]
        classes = {name: _filled(bare, own, table.split, part) for name, part in parts.groupby("class", sort=False)}
    filled = _filled(lines, metrics, table.split, load_metrics(experiment.paths.metrics))
    return Content(paper.headings if paper else ("Model",), metrics, filled, classes)


def difference(ours: Values, theirs: Values | None, metric: str, decimals: int = 12) -> float | None:
    """Return ``ours - theirs`` in a metric, None where either has no value.

    It is rounded to what doubles of this size can carry, so that 36.9 - 35.9 is 1.0.
    """
    if theirs is None or metric not in ours or metric not in theirs:
        return None
    return round(ours[metric] - theirs[metric], decimals)


def _lines(experiment: Experiment, table: Table, paper: PaperTable | None) -> list[Line]:
    """Return the rows without our numbers: the paper's in its order, then the additions in the experiment's."""
    lines = []
    for key, printed in (paper.rows if paper else {}).items():
        row = table.rows.get(key)
        labels = printed.labels if row is None or row.label is None else (row.label, *printed.labels[1:])
        kind = "cited" if printed.cited and row is None else "ours"
        lines.append(Line(key, labels, kind, paper=_printed(printed), **_of_runs(experiment, table, row)))
    for key, row in table.rows.items():
        if paper and key in paper.rows:
            continue
        if paper and not row.addition:
            raise InputError(
                f"experiment {experiment.name}, tables.{table.name}.rows.{key}: not a row of the paper's table; "
                f"expected one of {', '.join(paper.rows)}, or `addition: true`."
            )
        labels = (row.label or key, *[""] * (len(paper.headings) - 1 if paper else 0))
        kind = "addition" if paper else "ours"
        lines.append(Line(key, labels, kind, **_of_runs(experiment, table, row)))
    return lines


def _printed(row: PaperRow) -> Values:
    """Return the paper's values by metric, its AP also as VOC07 AP.

    The paper does not say by which of the two protocols it measured VOC, so its value stands beside both.
    """
    return row.values | {f"VOC07_{metric}": v for metric, v in row.values.items() if f"VOC07_{metric}" in VOC07}


def _of_runs(experiment: Experiment, table: Table, row: Row | None) -> dict:
    """Return the fields of ``Line`` that follow from the row's runs."""
    if row is None:
        return {}
    run = experiment.run(row.runs[0])
    group = (run.dataset, run.scale, run.backbone, run.recipe)
    firsts = {key: replace(experiment.run(other.runs[0]), seed=run.seed) for key, other in table.rows.items()}
    baseline = next((key for key, first in firsts.items() if first == run.baseline), None)
    return {"rule": row.rule, "runs": row.runs, "baseline": baseline, "group": group}


def _filled(lines: list[Line], metrics: list[str] | tuple[str, ...], split: str, measured: pd.DataFrame) -> list[Line]:
    """Return the rows with the means over their seeds from ``metrics.csv`` (or one class of ``per_class.csv``)."""
    indexed = measured[measured["split"] == split].set_index(["run", "rule"])[list(metrics)]
    filled = []
    for line in lines:
        wanted = indexed.index.isin([(run, line.rule) for run in line.runs])
        own = indexed[wanted]
        present = set(own.index.get_level_values("run"))
        measured = tuple(run for run in line.runs if run in present)
        filled.append(replace(line, measured=measured, values={m: float(v) for m, v in own.mean().dropna().items()}))
    return filled
