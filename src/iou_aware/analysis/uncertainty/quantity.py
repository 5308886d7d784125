"""A number that decides something: a sum over cells of the experiment's tables, with the paper's and its uncertainty.

A gain is the cell of one row less that of another; the gain in AP75 beyond that in AP50 is a sum over four cells. All
have an interval from the same resamples of the images. Where a number is chosen among several sums, such as the least
step of a trend, the interval accounts for that choice.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from iou_aware.analysis import metrics
from iou_aware.analysis.bootstrap import resamples
from iou_aware.analysis.uncertainty import trainings
from iou_aware.common import documents
from iou_aware.common.messages import InputError
from iou_aware.evaluation.intervals import Choose, Interval, first, interval
from iou_aware.evaluation.resampled import CORRELATIONS
from iou_aware.experiment.columns import FURTHER, PAPER
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import BASELINE_RULE, Run
from iou_aware.experiment.table import Row, Table

METRICS = (*PAPER, *FURTHER, *metrics.COUNTS, *CORRELATIONS)
# Sums of decimals are not exact in binary.
TINY = 1e-9

# A part of a sum: a factor, and the cell that it multiplies, a row of a table and a metric.
Term = tuple[float, str, str]


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
        low: The lower end of its uncertainty: the interval and the noise of training together.
        high: The upper end.
        runs: The runs that it is made of.
        missing: Why there is no value.
        by_seed: Its value for each seed that all of its rows have.
    """

    label: str
    value: float | None = None
    paper: float | None = None
    interval: Interval | None = None
    seeds: int = 0
    span: tuple[float, float] | None = None
    low: float | None = None
    high: float | None = None
    runs: tuple[str, ...] = ()
    missing: str | None = None
    by_seed: dict[int, float] = field(default_factory=dict)


# Measures a number of one table: its label and its sums, see ``Measurements.quantity``.
Measure = Callable[..., Quantity]


class Measurements:
    """The numbers of an experiment by table, row and metric, ours and the paper's."""

    def __init__(self, experiment: Experiment):
        """Read ``metrics.csv`` and ``missing.csv``.

        Raises:
            InputError: A file is malformed, or ``metrics.csv`` has a run that is not of the experiment.
        """
        self._paths, self._runs, self._noise_in = experiment.paths, experiment.runs, experiment.noise_in
        table = metrics.load_metrics(self._paths.metrics)
        known = f"a run of the experiment {experiment.name}; run `iou-aware collect` again"
        metrics.refuse(self._paths.metrics, table["run"], ~table["run"].isin(list(self._runs)), known)
        self._weights = dict(zip(table["run"], table["weights_sha256"], strict=True))
        self._missing = metrics.load_missing(self._paths.missing)
        self._metrics = _by_cell(table)
        self._printed, self._resamples = cache(self._read_printed), cache(self._read_resamples)
        # Every model once; its runs differ in their seed only.
        self._models = list(dict.fromkeys(replace(run, seed=0) for run in self._runs.values()))
        aware = [model for model in self._models if model.is_iou_aware]
        self._compared = {one.detector for model in aware for one in (model, model.baseline)}

    @cached_property
    def _correlations(self) -> dict[tuple[str, str, str], dict[str, float]] | None:
        """The correlations by run, split and rule; None before the stage ``premise`` has run."""
        path = self._paths.premise / "correlations.csv"
        if not path.is_file():
            return None
        table = pd.read_csv(path)
        return _by_cell(table[(table["score"] == "confidence") & (table["boxes"] == "found")])

    def in_table(
        self, table: Table | None, paper: str | None = None, noise: Mapping[str, float] | None = None
    ) -> Measure:
        """Return ``quantity`` for the numbers of one table, with the noise of training there.

        Args:
            table: Where our cells are; None where the experiment has no such table.
            paper: The paper's table of the same rows, ``table5``; by default the one that ``table`` reproduces.
            noise: A claim's own, ``runs``, ``rules`` or both, which takes precedence over the experiment's, as that
                does over the one in ``reports/claims.yaml``.
        """
        paper = paper or table.paper or table.name
        usual = self._statements.get("noise_in", {}).get(paper) or self._statements["noise"]
        runs = self._noise_in.get(table.name) if table else None
        known = usual | ({} if runs is None else {"runs": runs}) | (noise or {})
        return partial(self.quantity, table=table, paper=paper, noise=known)

    @cached_property
    def _statements(self) -> dict[str, Any]:
        """The content of ``reports/claims.yaml``."""
        return documents.read(self._paths.statements, "claims").content

    def quantity(
        self,
        label: str,
        sums: Sequence[Sequence[Term]],
        *,
        table: Table | None,
        paper: str,
        noise: Mapping[str, float] | None,
        choose: Choose = first,
    ) -> Quantity:
        """Return one of several sums over cells, with its uncertainty.

        Args:
            label: What it is, for people.
            sums: The terms of each.
            table: Where our cells are; None where the experiment has no such table.
            paper: The paper's table of the same rows.
            noise: By how much two trainings differ (``runs``), and the difference of two rules from one training to
                another (``rules``); zero where no training could change anything, None where it is not known. It
                counts where there are fewer than three seeds. With three, it is measured, see ``trainings``.
            choose: Chooses among the sums; see ``intervals.interval``.
        """
        cells = list(dict.fromkeys((row, metric) for terms in sums for _, row, metric in terms))
        # (K cells, M sums): what each cell is multiplied by in each sum.
        factors = np.zeros((len(cells), len(sums)))
        for column, terms in enumerate(sums):
            for factor, *cell in terms:
                factors[cells.index(tuple(cell)), column] += factor
        printed = [self._printed(paper).get(row, {}).get(metric) for row, metric in cells]
        known = None if None in printed else round(float(choose(np.array(printed) @ factors)), 6)
        if table is None:
            return Quantity(label, paper=known, missing=f"{paper} is not among this experiment's tables")
        absent = [row for row, _ in cells if row not in table.rows]
        if absent:
            return Quantity(label, paper=known, missing=f"{table.title} has no row {', '.join(dict.fromkeys(absent))}")
        rows = [(table.rows[row], metric) for row, metric in cells]
        values = [self._cell(table.split, row, metric) for row, metric in rows]
        runs = tuple(dict.fromkeys(run for row, _ in rows for run in row.runs))
        if not all(values):
            return Quantity(label, paper=known, runs=runs, missing=self._why(table.split, *rows[values.index({})]))
        ours = np.array([np.mean(list(cell.values())) for cell in values]) @ factors
        value, seeds = float(choose(ours)), min(map(len, values))
        drawn = self._resampled(table.split, rows, values)
        images = None if drawn is None else interval(ours, drawn @ factors, choose)
        # Another training moves a single cell, and a difference of two runs; less so a difference of two rules of one.
        alone = bool((abs(factors.sum(0)) > TINY).any())
        kind = "runs" if alone or len({row.runs for row, _ in rows}) > 1 else "rules"
        below = above = noise[kind] / math.sqrt(seeds) if noise else 0.0
        shared = sorted(set.intersection(*map(set, values)))
        if (below or noise is None) and len(shared) >= trainings.FEWEST_SEEDS:
            scattered = [self._scatter(table.split, rows, column, shared) for column in factors.T]
            halves = trainings.half_widths(*zip(*scattered, strict=True), len(shared))
            below, above = value - float(choose(ours - halves)), float(choose(ours + halves)) - value
        low = value - math.hypot(value - images.low if images else 0.0, below)
        high = value + math.hypot(images.high - value if images else 0.0, above)
        of_seeds = np.array([[cell[seed] for cell in values] for seed in shared]).reshape(-1, len(cells))
        single = choose(of_seeds @ factors)
        span = (float(single.min()), float(single.max())) if len(shared) > 1 else None
        by_seed = dict(zip(shared, single.tolist(), strict=True))
        return Quantity(label, value, known, images, seeds, span, low, high, runs, by_seed=by_seed)

    def _read_printed(self, name: str) -> dict[str, dict[str, Any]]:
        """Return one of the paper's tables, by row and column; empty if it has no such table."""
        path = self._paths.paper(name)
        return metrics.load_paper(path).to_dict("index") if path.is_file() else {}

    def deviations(self, tables: Iterable[Table]) -> list[dict[str, Any]]:
        """Return how AP scatters over the trainings of each dataset and scale that have three seeds.

        Returns:
            ``dataset``, ``scale``, ``recipe``, ``deviation`` (standard, in points) and ``freedom``.
        """
        made: dict[tuple[str, ...], dict[str, Any]] = {}
        for table, row in [(one, row) for one in tables for row in one.rows.values()]:
            model, seeds = self._runs[row.runs[0]], sorted(self._cell(table.split, row, "AP"))
            if model.is_iou_aware and len(seeds) >= trainings.FEWEST_SEEDS and self._kind(model) not in made:
                one, _ = self._scatter(table.split, [(row, "AP")], [1.0], seeds)
                about = {key: getattr(model, key) for key in ("dataset", "scale", "recipe")}
                made[self._kind(model)] = about | {"deviation": one.deviation, "freedom": one.freedom}
        return list(made.values())

    def _cell(self, split: str, row: Row, metric: str) -> dict[int, float]:
        """Return the values of one cell by seed, those that are measured."""
        values = {self._runs[run].seed: self._value(run, split, row.rule, metric) for run in row.runs}
        return {seed: value for seed, value in values.items() if not math.isnan(value)}

    def _value(self, run: str, split: str, rule: str, metric: str) -> float:
        """Return what was measured; NaN where nothing was."""
        measured = (self._correlations or {}) if metric in CORRELATIONS else self._metrics
        return measured.get((run, split, rule), {}).get(metric, math.nan)

    def _scatter(
        self, split: str, cells: Sequence[tuple[Row, str]], factors: Sequence[float], seeds: Sequence[int]
    ) -> tuple[trainings.Scatter, list[float]]:
        """Return how a training scatters, as far as it matters to a sum over cells, and what multiplies each model.

        Args:
            split: What the cells are measured on.
            cells: Row and metric of each.
            factors: What each is multiplied by.
            seeds: Those that all of them have, three at least.
        """
        # By model: the first of its factors, and its cells in proportion to it.
        own: dict[Run, float] = {}
        parts: dict[Run, list[tuple[float, str, str]]] = {}
        for factor, (row, metric) in zip(factors, cells, strict=True):
            if abs(factor) > TINY:
                model = replace(self._runs[row.runs[0]], seed=0)
                scale = own.setdefault(model, factor)
                parts.setdefault(model, []).append((factor / scale, row.rule, metric))
        if not parts:  # the sum cancels out
            return trainings.Scatter(np.zeros(1), 1.0), []
        # All models of a kind tell how much such a number scatters.
        lead = parts[next((model for model in parts if model.is_iou_aware), next(iter(parts)))]
        scatters, multiplied = [], []
        for kind in dict.fromkeys(map(self._kind, own)):
            # By backbone, as runs of one seed and backbone start from the same weights.
            blocks: dict[str, list[list[float]]] = {}
            left: dict[str, float] = {}
            for model in [model for model in self._models if self._kind(model) == kind]:
                left[model.backbone] = left.get(model.backbone, 0.0) + own.get(model, 0.0)
                names, mine = [replace(model, seed=seed).name for seed in seeds], parts.get(model, _alike(model, lead))
                values = [sum(f * self._value(run, split, rule, m) for f, rule, m in mine) for run in names]
                if mine and not any(map(math.isnan, values)):
                    blocks.setdefault(model.backbone, []).append(values)
            # In a difference within a block, what a seed does to all of its runs cancels out.
            paired = all(abs(rest) < TINY for rest in left.values())
            scatters.append(trainings.scatter([np.array(block) for block in blocks.values()], paired))
            multiplied.append([factor for model, factor in own.items() if self._kind(model) == kind])
        return trainings.summed(scatters, multiplied), list(own.values())

    def _kind(self, model: Run) -> tuple[str, ...]:
        """Return what trainings must share to scatter alike.

        Detectors that the IoU head is compared on, with it and without, are of one kind. Any other, such as Faster
        R-CNN, is one of its own: its trainings may scatter ten times as much.
        """
        kind = "" if model.detector in self._compared else model.detector
        return model.dataset, model.scale, model.recipe, kind

    def _resampled(
        self, split: str, cells: Sequence[tuple[Row, str]], values: Sequence[Mapping[int, float]]
    ) -> np.ndarray | None:
        """Return ``(B, K)``, each cell in each resample, the mean over the seeds that it has; None without them."""
        drawn = [
            ([self._resamples(run, split) for run in row.runs if self._runs[run].seed in by_seed], row.rule, metric)
            for (row, metric), by_seed in zip(cells, values, strict=True)
        ]
        return resamples.means(drawn)

    def _read_resamples(self, run: str, split: str) -> pd.DataFrame | None:
        """Return a run's resamples; InputError if they are of other weights than its metrics."""
        path = self._paths.bootstrap(run, split)
        frame = resamples.load(path)
        weights = None if frame is None else frame.attrs["weights_sha256"]
        if weights not in (None, self._weights.get(run, weights)):
            raise InputError(
                f"{path} is of the weights {weights}, but {self._paths.metrics} of {self._weights[run]}."
                f" Run `iou-aware bootstrap` again for {run} on {split}."
            )
        return frame

    def _why(self, split: str, row: Row, metric: str) -> str:
        """Return why a cell has no value."""
        if metric in CORRELATIONS and self._correlations is None:
            return "`iou-aware premise` has not run"
        run = row.runs[0]
        why = self._missing.get((run, split, row.rule), metrics.NOT_ASKED_FOR)
        if why == metrics.NOT_ASKED_FOR:
            return f"no value of {run} under the rule {row.rule} on {split}"
        return f"{run} is {why}" + ("" if why in (metrics.NOT_TRAINED, metrics.NOT_FETCHED) else f" on {split}")


def _by_cell(frame: pd.DataFrame) -> dict[tuple[str, str, str], dict[str, float]]:
    """Return the rows of a frame by run, split and rule."""
    return frame.set_index(["run", "split", "rule"]).to_dict("index")


def _alike(model: Run, parts: Sequence[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Return the cells of a model that are like those of another; none where it has but one rule and they several."""
    if model.is_iou_aware:
        return [*parts]
    alike = [(factor, BASELINE_RULE, metric) for factor, _, metric in parts]
    return alike if len({rule for _, rule, _ in parts}) == 1 else []
