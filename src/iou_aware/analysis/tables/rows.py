"""The rows of a table, the paper's in its order and then our own: values, gains, how sure they are, and verdicts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from iou_aware.analysis.metrics import headings_of, metrics_of
from iou_aware.analysis.uncertainty.quantity import Measure, Term
from iou_aware.analysis.uncertainty.verdict import NOT_RUN, Finding, judge_number
from iou_aware.experiment.columns import VOC07
from iou_aware.experiment.run import Run
from iou_aware.experiment.table import Table

Values = dict[str, float]
# One number of a table, in percent or points, by the columns of its CSV. ``ours``: the mean over the seeds; ``paper``:
# the paper's; ``delta``: ours less the paper's; ``low``, ``high``: the 95 % interval over the images; ``lowest``,
# ``highest``: over the seeds, where there are several; ``verdict``: on ours, judged by its size where values are to be
# compared; ``why``: what decided it, or why there is no number. The same of the ``gain`` over the row's baseline,
# judged by its sign, and by its size where values are to be compared.
Number = dict[str, Any]
_CERTAINTY = ("low", "high", "lowest", "highest", "verdict", "why")
_GAIN = ("gain", "gain_paper", *(f"gain_{name}" for name in _CERTAINTY))
# What there is not.
NOTHING: Number = dict.fromkeys(("ours", "paper", "delta", *_CERTAINTY, *_GAIN))


@dataclass(frozen=True)
class TableRow:
    """One row of a table, with everything known about it.

    Attributes:
        key: The row's key.
        labels: What stands under the label headings.
        kind: ``ours``, ``cited`` (the paper quotes it from elsewhere), ``addition`` (the paper does not have it).
        rule: The rule whose detections are shown; empty without a run.
        runs: The runs that it is the mean of, one per seed; empty without a run.
        measured: Those of them that have values so far.
        ours: Our percent by metric; a metric without a value is absent.
        paper: The paper's likewise.
        baseline: Key of the row that gains are measured over, the same model without the IoU head; None: there is none.
        group: What rows must share to be compared with each other: dataset, scale, backbone and recipe.
        numbers: Its numbers by metric, once they are judged.
    """

    key: str
    labels: tuple[str, ...]
    kind: str
    rule: str = ""
    runs: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()
    ours: Values = field(default_factory=dict)
    paper: Values = field(default_factory=dict)
    baseline: str | None = None
    group: tuple[str, ...] = ()
    numbers: dict[str, Number] = field(default_factory=dict)


@dataclass(frozen=True)
class TableContent:
    """A table with its values, before anything is formatted.

    Attributes:
        headings: What stands above the labels.
        metrics: The metrics shown, in order.
        rows: The rows.
        classes: The same rows for each class alone, by its name; empty unless the table asks for them.
    """

    headings: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: list[TableRow]
    classes: dict[str, list[TableRow]]

    @property
    def has_seeds(self) -> bool:
        """Whether a row is the mean over several seeds."""
        return any(len(row.runs) > 1 for row in self.rows)

    @property
    def gains(self) -> list[Number]:
        """The numbers of the rows that have a baseline."""
        return [number for row in self.rows if row.baseline for number in row.numbers.values()]


def read_content(
    table: Table,
    runs: Mapping[str, Run],
    paper: pd.DataFrame | None,
    metrics: pd.DataFrame,
    per_class: pd.DataFrame | None = None,
) -> TableContent:
    """Return a table's rows with our values and the paper's.

    Args:
        table: What the experiment says of it.
        runs: The experiment's runs by name.
        paper: The paper's table of the same rows, see ``load_paper``; None for a table of our own.
        metrics: ``metrics.csv``.
        per_class: ``per_class.csv``, for a table that shows every class.
    """
    paper = pd.DataFrame() if paper is None else paper
    names = tuple(dict.fromkeys([*metrics_of(paper), *table.columns]))
    headings = tuple(headings_of(paper)) or ("Model",)
    keys = dict.fromkeys([*paper.index, *table.rows])
    rows = [_row(key, len(headings), table, runs, paper) for key in keys]
    classes = {}
    if per_class is not None:
        alone = [replace(row, paper={}) for row in rows if row.runs]
        shown = per_class[per_class["run"].isin({run for row in alone for run in row.runs})]
        own = [name for name in names if name in shown]
        by_class = shown.groupby("class", sort=False)
        classes = {name: _with_means(alone, own, table.split, part) for name, part in by_class}
    return TableContent(headings, names, _with_means(rows, names, table.split, metrics), classes)


def difference(ours: Values, theirs: Values | None, metric: str) -> float | None:
    """Return ``ours - theirs`` in a metric, None where either has no value.

    It is rounded to what doubles of this size can carry, so that 36.9 - 35.9 is 1.0.
    """
    if theirs is None or metric not in ours or metric not in theirs:
        return None
    return round(ours[metric] - theirs[metric], 12)


def _row(key: str, labels: int, table: Table, runs: Mapping[str, Run], paper: pd.DataFrame) -> TableRow:
    """Return a row without our values; ``labels`` is how many it has."""
    row, printed, kind = table.rows.get(key), {}, "addition" if table.paper else "ours"
    words = [key, *[""] * (labels - 1)]
    if key in paper.index:
        words = list(paper.loc[key, headings_of(paper)])
        printed = {name: float(paper.at[key, name]) for name in metrics_of(paper)}
        # The paper does not say by which of the two protocols it measured VOC, so its value stands beside both.
        printed |= {f"VOC07_{name}": value for name, value in printed.items() if f"VOC07_{name}" in VOC07}
        kind = "cited" if row is None and paper.at[key, "cited"] else "ours"
    if row is None:
        return TableRow(key, tuple(words), kind, paper=printed)
    run = runs[row.runs[0]]
    alike = {other: replace(runs[one.runs[0]], seed=run.seed) for other, one in table.rows.items()}
    return TableRow(
        key=key,
        labels=(row.label or words[0], *words[1:]),
        kind=kind,
        rule=row.rule,
        runs=row.runs,
        paper=printed,
        baseline=next((other for other, one in alike.items() if one == run.baseline), None),
        group=(run.dataset, run.scale, run.backbone, run.recipe),
    )


def _with_means(rows: Iterable[TableRow], metrics: Sequence[str], split: str, measured: pd.DataFrame) -> list[TableRow]:
    """Return the rows with the means over their seeds of ``metrics.csv`` (or of one class of ``per_class.csv``)."""
    indexed = measured[measured["split"] == split].set_index(["run", "rule"])[list(metrics)]
    filled = []
    for row in rows:
        own = indexed[indexed.index.isin([(run, row.rule) for run in row.runs])]
        present = set(own.index.get_level_values("run"))
        means = {metric: float(mean) for metric, mean in own.mean().dropna().items()}
        filled.append(replace(row, measured=tuple(run for run in row.runs if run in present), ours=means))
    return filled


def with_numbers(content: TableContent, measure: Measure, by_size: bool) -> TableContent:
    """Return a table with its numbers; those of a class alone have neither a paper's number nor an interval.

    Args:
        content: Its rows with their values.
        measure: What says how sure they are.
        by_size: Whether sizes are judged as well as signs.

    Raises:
        InputError: Resamples are of other weights than the metrics.
    """

    def judged(terms: list[Term], paper: float | None) -> Finding:
        """Judge one term by its size, the difference of two also by its sign."""
        label = f"{terms[0][2]}: {' − '.join(row for _, row, _ in terms)}"
        quantity = replace(measure(label, [terms]), paper=paper)
        if paper is None:  # it says nothing that could be judged
            return Finding(quantity, "", NOT_RUN if quantity.value is None else "", quantity.missing or "")
        sign = ("positive" if paper > 0 else "negative") if len(terms) > 1 and paper else None
        return judge_number(quantity, sign, (paper, paper), by_size)

    def number(row: TableRow, base: TableRow | None, metric: str) -> Number:
        paper = row.paper.get(metric)
        if row.kind == "cited":
            return NOTHING | {"paper": paper}
        mine = (1.0, row.key, metric)
        made = {"ours": row.ours.get(metric), "paper": paper, "delta": difference(row.ours, row.paper, metric)}
        made |= _certainty(judged([mine], paper))
        if base:
            gain = judged([mine, (-1.0, base.key, metric)], difference(row.paper, base.paper, metric))
            made |= {"gain": gain.quantity.value, "gain_paper": gain.quantity.paper} | _certainty(gain, "gain_")
        return NOTHING | made

    def number_of_class(row: TableRow, base: TableRow | None, metric: str) -> Number:
        return NOTHING | {"ours": row.ours.get(metric), "gain": base and difference(row.ours, base.ours, metric)}

    def filled(rows: list[TableRow], make: Callable[[TableRow, TableRow | None, str], Number]) -> list[TableRow]:
        by_key = {row.key: row for row in rows}
        of_row = {row.key: {m: make(row, by_key.get(row.baseline), m) for m in content.metrics} for row in rows}
        return [replace(row, numbers=of_row[row.key]) for row in rows]

    classes = {name: filled(rows, number_of_class) for name, rows in content.classes.items()}
    return replace(content, rows=filled(content.rows, number), classes=classes)


def _certainty(finding: Finding, prefix: str = "") -> Number:
    """Return how sure a number is and the verdict on it, by the names of ``_CERTAINTY``."""
    interval, span = finding.quantity.interval, finding.quantity.span or (None, None)
    ends = (interval.low, interval.high) if interval else (None, None)
    values = (*ends, *span, finding.verdict, finding.why)
    return {prefix + name: value for name, value in zip(_CERTAINTY, values, strict=True)}
