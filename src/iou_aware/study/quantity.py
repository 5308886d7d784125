"""A number that decides something: a sum over cells of the experiment's tables, the paper's value and how sure it is.

A gain is the cell of one row less that of another; the gain in AP75 beyond that in AP50 is a sum over four cells. All
of them have, from the same resamples of the images, an interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from iou_aware.errors import InputError
from iou_aware.evaluation.overlaps import MATCHED
from iou_aware.study import bootstrap
from iou_aware.study.bootstrap import CORRELATIONS, Interval
from iou_aware.study.experiment import Experiment
from iou_aware.study.metrics import COUNTS, FURTHER, PAPER, load_metrics
from iou_aware.study.paper import load_paper
from iou_aware.study.table import Row, Table

METRICS = (*PAPER, *FURTHER, *COUNTS, *CORRELATIONS)
# Sums of decimals are not exact in binary.
TINY = 1e-9


@dataclass(frozen=True)
class Term:
    """One cell of a sum: a row of a table, a metric, and what it is multiplied by."""

    factor: float
    row: str
    metric: str


@dataclass(frozen=True)
class Noise:
    """Differences that mean nothing: between two trainings, and between two rules of one run without an interval."""

    runs: float
    rules: float


@dataclass(frozen=True)
class Quantity:
    """A number with all that is known about it.

    Attributes:
        label: What it is, for people.
        value: Ours, the mean over seeds; None when it cannot be computed yet.
        paper: The paper's; None where the paper has none.
        interval: Of ``value`` over resamples of the images; None without them.
        seeds: How many seeds every row of it has (the fewest).
        span: Its lowest and highest value over single seeds, where there is more than one.
        low: Where its uncertainty ends below: the interval and the noise of training together.
        high: Likewise above.
        runs: The runs that it is made of.
        missing: Why there is no value.
    """

    label: str
    value: float | None = None
    paper: float | None = None
    interval: Interval | None = None
    seeds: int = 0
    span: tuple[float, float] | None = None
    low: float | None = None
    high: float | None = None
    runs: tuple[str, ...] = field(default=())
    missing: str | None = None


class Cells:
    """The numbers of an experiment by table, row and metric, ours and the paper's."""

    def __init__(self, experiment: Experiment):
        """Read ``metrics.csv`` and, where they are there, the correlations of the premise.

        Raises:
            InputError: A file is malformed, or ``metrics.csv`` has a run that is not of the experiment.
        """
        self.experiment = experiment
        self._metrics = load_metrics(experiment.paths.metrics)
        unknown = ~self._metrics["run"].isin(list(experiment.runs))
        if unknown.any():
            line = self._metrics.index[unknown][0]
            raise InputError(
                f"{experiment.paths.metrics}, line {line + 2}: unknown run {self._metrics['run'][line]!r}; it is not of"
                f" the experiment {experiment.name}. Run `iou-aware collect` again."
            )
        self._weights = dict(zip(self._metrics["run"], self._metrics["weights_sha256"], strict=True))
        self._correlations = _load_correlations(experiment.paths.premise / "correlations.csv")

    def paper(self, table: str, terms: Sequence[Term]) -> float | None:
        """Return the paper's value of a sum; None if its table lacks a cell."""
        path = self.experiment.paths.paper(table)
        if not path.is_file():
            return None
        rows = load_paper(path).rows
        values = [rows[term.row].values.get(term.metric) if term.row in rows else None for term in terms]
        if any(value is None for value in values):
            return None
        return round(
            sum(term.factor * value for term, value in zip(terms, values, strict=True) if value is not None), 6
        )

    def quantity(self, label: str, table: Table, paper: str, terms: Sequence[Term], noise: Noise) -> Quantity:
        """Return a sum over cells of ``table``; ``paper`` is the paper's table of the same rows.

        Raises:
            InputError: A metric does not exist.
        """
        known = self.paper(paper, terms)
        rows = [table.rows.get(term.row) for term in terms]
        absent = [term.row for term, row in zip(terms, rows, strict=True) if row is None]
        if absent:
            return Quantity(label, paper=known, missing=f"{table.title} has no row {', '.join(dict.fromkeys(absent))}")
        present = [row for row in rows if row is not None]
        values = [self._seeds(table, row, term.metric) for row, term in zip(present, terms, strict=True)]
        runs = tuple(dict.fromkeys(run for row in present for run in row.runs))
        if not all(values):
            empty = next(row for row, cells in zip(present, values, strict=True) if not cells)
            return Quantity(label, paper=known, runs=runs, missing=self._why(table, empty, terms))
        value = math.fsum(t.factor * np.mean(list(v.values())) for t, v in zip(terms, values, strict=True))
        found = self._interval(value, table, present, terms, values)
        seeds = min(len(cells) for cells in values)
        span = self._span(terms, values)
        # Another training moves what stands alone, and the difference between two, but not that of two rules of one.
        trained_anew = len({row.runs for row in present}) > 1 or abs(math.fsum(t.factor for t in terms)) > TINY
        half = noise.runs / math.sqrt(seeds) if trained_anew else 0.0
        if found is None and not half:
            half = noise.rules
        low = value - math.hypot(value - found.low if found else 0.0, half)
        high = value + math.hypot(found.high - value if found else 0.0, half)
        return Quantity(label, value, known, found, seeds, span, low, high, runs)

    def _seeds(self, table: Table, row: Row, metric: str) -> dict[int, float]:
        """Return the values of one cell by seed, those that are there."""
        source = self._metrics
        if metric in CORRELATIONS:
            if self._correlations is None:
                return {}
            source = self._correlations[
                (self._correlations["score"] == "confidence") & (self._correlations["min_iou"] == MATCHED)
            ]
        elif metric not in source:
            raise InputError(
                f"{self.experiment.paths.metrics}: unknown column {metric!r}; expected one of {', '.join(METRICS)}."
            )
        mine = source[source["run"].isin(row.runs) & (source["rule"] == row.rule) & (source["split"] == table.split)]
        pairs = zip(mine["run"], mine[metric], strict=True)
        return {self.experiment.runs[run].seed: float(value) for run, value in pairs if not math.isnan(value)}

    def _interval(
        self, value: float, table: Table, rows: list[Row], terms: Sequence[Term], values: list[dict[int, float]]
    ) -> Interval | None:
        """Return the interval of the sum ``value``, each cell the mean over the seeds that it has."""
        parts: list[tuple[float, Path, str, str]] = []
        for row, term, cells in zip(rows, terms, values, strict=True):
            for run in row.runs:
                if self.experiment.runs[run].seed in cells:
                    path = self._resamples(run, table.split)
                    parts.append((term.factor / len(cells), path, row.rule, term.metric))
        resampled = bootstrap.combined(parts)
        return None if resampled is None else bootstrap.interval(value, resampled)

    def _resamples(self, run: str, split: str) -> Path:
        """Return where a run's resamples are; InputError if they are of other weights than its metrics."""
        path = self.experiment.paths.bootstrap(run, split)
        found = bootstrap.load(path)
        if found is not None and found.about["weights_sha256"] != self._weights.get(run, found.about["weights_sha256"]):
            raise InputError(
                f"{path} is of the weights {found.about['weights_sha256']}, but {self.experiment.paths.metrics} of"
                f" {self._weights[run]}. Run `iou-aware bootstrap` again for {run} on {split}."
            )
        return path

    @staticmethod
    def _span(terms: Sequence[Term], values: list[dict[int, float]]) -> tuple[float, float] | None:
        """Return the lowest and highest sum of single seeds, those that all cells have; None for fewer than two."""
        shared = set.intersection(*(set(cells) for cells in values))
        if len(shared) < 2:
            return None
        sums = [math.fsum(t.factor * v[seed] for t, v in zip(terms, values, strict=True)) for seed in shared]
        return min(sums), max(sums)

    def _why(self, table: Table, row: Row, terms: Sequence[Term]) -> str:
        if self._correlations is None and any(term.metric in CORRELATIONS for term in terms):
            return "`iou-aware premise` has not run"
        run, paths = row.runs[0], self.experiment.paths
        if not paths.seal(run).is_file():
            return f"{run} is not trained"
        if not paths.evaluation(run, table.split).is_file():
            return f"{run} is not evaluated on {table.split}"
        return f"no value of {run} under the rule {row.rule} on {table.split}"


def _load_correlations(path: Path) -> pd.DataFrame | None:
    """Read the premise's correlations; None when they are not measured yet."""
    if not path.is_file():
        return None
    needed = {"run", "split", "rule", "score", "min_iou", *CORRELATIONS}
    try:
        table = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as fault:
        raise InputError(f"{path} is not a CSV file: {str(fault).strip()}. Run `iou-aware premise` again.") from fault
    if not needed <= set(table):
        missing = ", ".join(sorted(needed - set(table)))
        raise InputError(f"{path}: column {missing} missing; found {', '.join(table)}. Run `iou-aware premise` again.")
    return table
