"""A number that decides something: made of cells of the experiment's tables, the paper's value and how sure it is.

A gain is the cell of one row less that of another; the gain in AP75 beyond that in AP50 is a sum over four cells. All
of them have, from the same resamples of the images, an interval. Where a number is chosen among several, such as the
least step of a trend, the interval knows that it was chosen for being so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from iou_aware.analysis.bootstrap import resamples
from iou_aware.analysis.bootstrap.resamples import CORRELATIONS
from iou_aware.analysis.metrics import COUNTS, NOT_ASKED_FOR, NOT_FETCHED, NOT_TRAINED, load_metrics, load_missing
from iou_aware.analysis.paper import load_paper
from iou_aware.analysis.uncertainty import intervals
from iou_aware.analysis.uncertainty.intervals import Choose, Interval
from iou_aware.common.errors import InputError
from iou_aware.experiment.columns import FURTHER, PAPER
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.table import Row, Table

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
class Statistic:
    """A number made of K cells: one of M sums over them.

    Attributes:
        sums: ``(K, M)``, what each cell is multiplied by in each sum.
        choose: Chooses among them; see ``intervals.interval_of_choice``.
    """

    sums: np.ndarray
    choose: Choose = lambda values: values[..., 0]

    def of(self, cells: np.ndarray) -> np.ndarray:
        """Return the number (...) of cells (..., K)."""
        return self.choose(cells @ self.sums)


@dataclass(frozen=True)
class Noise:
    """Differences that mean nothing: between two trainings, and in how two rules differ, from training to training."""

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


class Measurements:
    """The numbers of an experiment by table, row and metric, ours and the paper's."""

    def __init__(self, experiment: Experiment, correlations: Path | None = None):
        """Read ``metrics.csv`` and ``missing.csv``.

        Args:
            experiment: The study.
            correlations: The premise's ``correlations.csv``, for cells that are about them.

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
        self._missing = load_missing(experiment.paths.missing)
        self._correlations = None if correlations is None else _load_correlations(correlations)

    def quantity(self, label: str, table: Table | None, paper: str, terms: Sequence[Term], noise: Noise) -> Quantity:
        """Return a sum over cells; see ``derived``."""
        sums = np.array([[term.factor] for term in terms])
        cells = [(term.row, term.metric) for term in terms]
        return self.derived(label, table, paper, cells, Statistic(sums), noise)

    def derived(
        self,
        label: str,
        table: Table | None,
        paper: str,
        cells: Sequence[tuple[str, str]],
        statistic: Statistic,
        noise: Noise,
    ) -> Quantity:
        """Return a number made of cells.

        Args:
            label: What it is, for people.
            table: Where our cells stand; None where the experiment has no such table.
            paper: The paper's table of the same rows.
            cells: Row and metric of each.
            statistic: Makes the number of their values.
            noise: Which differences mean nothing.

        Raises:
            InputError: A metric does not exist.
        """
        known = self._paper(paper, cells, statistic)
        if table is None:
            return Quantity(label, paper=known, missing=f"{paper} is not among this experiment's tables")
        absent = [row for row, _ in cells if row not in table.rows]
        if absent:
            return Quantity(label, paper=known, missing=f"{table.title} has no row {', '.join(dict.fromkeys(absent))}")
        rows = [table.rows[row] for row, _ in cells]
        metrics = [metric for _, metric in cells]
        values = [self._seeds(table, row, metric) for row, metric in zip(rows, metrics, strict=True)]
        runs = tuple(dict.fromkeys(run for row in rows for run in row.runs))
        if not all(values):
            empty = next(row for row, cell in zip(rows, values, strict=True) if not cell)
            return Quantity(label, paper=known, runs=runs, missing=self._why(table, empty, metrics))
        means = np.array([np.mean(list(cell.values())) for cell in values])
        value = float(statistic.of(means))
        found = self._interval(means, table, rows, metrics, values, statistic)
        seeds = min(len(cell) for cell in values)
        span = self._span(values, statistic)
        # Another training moves what stands alone, and the difference between two, but less that of two rules of one.
        alone = bool((abs(statistic.sums.sum(0)) > TINY).any())
        half = (noise.runs if alone or len({row.runs for row in rows}) > 1 else noise.rules) / math.sqrt(seeds)
        low = value - math.hypot(value - found.low if found else 0.0, half)
        high = value + math.hypot(found.high - value if found else 0.0, half)
        return Quantity(label, value, known, found, seeds, span, low, high, runs)

    def _paper(self, table: str, cells: Sequence[tuple[str, str]], statistic: Statistic) -> float | None:
        """Return the paper's value; None if its table lacks a cell."""
        path = self.experiment.paths.paper(table)
        printed = load_paper(path) if path.is_file() else pd.DataFrame()
        values = [
            printed.at[row, metric] if row in printed.index and metric in printed else None for row, metric in cells
        ]
        return None if None in values else round(float(statistic.of(np.array(values))), 6)

    def _seeds(self, table: Table, row: Row, metric: str) -> dict[int, float]:
        """Return the values of one cell by seed, those that are there."""
        source = self._metrics
        if metric in CORRELATIONS:
            if self._correlations is None:
                return {}
            source = self._correlations[
                (self._correlations["score"] == "confidence") & (self._correlations["boxes"] == "found")
            ]
        elif metric not in source:
            raise InputError(
                f"{self.experiment.paths.metrics}: unknown column {metric!r}; expected one of {', '.join(METRICS)}."
            )
        mine = source[source["run"].isin(row.runs) & (source["rule"] == row.rule) & (source["split"] == table.split)]
        pairs = zip(mine["run"], mine[metric], strict=True)
        return {self.experiment.runs[run].seed: float(value) for run, value in pairs if not math.isnan(value)}

    def _interval(
        self,
        means: np.ndarray,
        table: Table,
        rows: list[Row],
        metrics: list[str],
        values: list[dict[int, float]],
        statistic: Statistic,
    ) -> Interval | None:
        """Return the interval of the number, each cell the mean over the seeds that it has."""
        parts: list[tuple[float, Path, str, str]] = []
        starts = []
        for row, metric, cell in zip(rows, metrics, values, strict=True):
            starts.append(len(parts))
            for run in row.runs:
                if self.experiment.runs[run].seed in cell:
                    parts.append((1 / len(cell), self._resamples(run, table.split), row.rule, metric))
        drawn = resamples.columns(parts)
        if drawn is None:
            return None
        cells = np.add.reduceat(drawn, starts, axis=1)
        return intervals.interval_of_choice(means @ statistic.sums, cells @ statistic.sums, statistic.choose)

    def _resamples(self, run: str, split: str) -> Path:
        """Return where a run's resamples are; InputError if they are of other weights than its metrics."""
        path = self.experiment.paths.bootstrap(run, split)
        found = resamples.load(path)
        if found is not None and found.about["weights_sha256"] != self._weights.get(run, found.about["weights_sha256"]):
            raise InputError(
                f"{path} is of the weights {found.about['weights_sha256']}, but {self.experiment.paths.metrics} of"
                f" {self._weights[run]}. Run `iou-aware bootstrap` again for {run} on {split}."
            )
        return path

    @staticmethod
    def _span(values: list[dict[int, float]], statistic: Statistic) -> tuple[float, float] | None:
        """Return the lowest and highest value of single seeds, those that all cells have; None for fewer than two."""
        shared = set.intersection(*(set(cell) for cell in values))
        if len(shared) < 2:
            return None
        single = statistic.of(np.array([[cell[seed] for cell in values] for seed in shared]))
        return float(single.min()), float(single.max())

    def _why(self, table: Table, row: Row, metrics: Sequence[str]) -> str:
        if self._correlations is None and not set(CORRELATIONS).isdisjoint(metrics):
            return "`iou-aware premise` has not run"
        run = row.runs[0]
        why = self._missing.get((run, table.split, row.rule), NOT_ASKED_FOR)
        if why == NOT_ASKED_FOR:
            return f"no value of {run} under the rule {row.rule} on {table.split}"
        return f"{run} is {why}" if why in (NOT_TRAINED, NOT_FETCHED) else f"{run} is {why} on {table.split}"


def _load_correlations(path: Path) -> pd.DataFrame | None:
    """Read the premise's correlations; None when they are not measured yet."""
    if not path.is_file():
        return None
    needed = {"run", "split", "rule", "boxes", "score", *CORRELATIONS}
    try:
        table = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as fault:
        raise InputError(f"{path} is not a CSV file: {str(fault).strip()}. Run `iou-aware premise` again.") from fault
    if not needed <= set(table):
        missing = ", ".join(sorted(needed - set(table)))
        raise InputError(f"{path}: column {missing} missing; found {', '.join(table)}. Run `iou-aware premise` again.")
    return table
