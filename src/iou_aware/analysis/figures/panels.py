"""What the figures draw, gathered from the tables' rows: gains over the baseline, and sweeps over alpha."""

from dataclasses import dataclass, replace

from iou_aware.analysis.metrics import PER_CLASS_CSV, RUN, load_metrics, load_paper, load_per_class
from iou_aware.analysis.tables.rows import TableContent, TableRow, difference, read_content
from iou_aware.analysis.uncertainty.quantity import Measure, Measurements, Quantity
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.table import Table

_DRAWN = tuple(PER_CLASS_CSV[len(RUN) + 1 :])
_FEWEST_ALPHAS = 3
# Of a sweep, the gain figures show the classification score alone, the paper's choice, and one that favours the IoU.
_SHOWN_ALPHAS = (1.0, 0.5, 0.3)


@dataclass(frozen=True)
class Series:
    """One row of a table, as it is drawn.

    Attributes:
        label: What tells it from the other rows of its panel.
        row: The row.
        base: That of its baseline.
        class_gains: Our gain in AP for each class alone, by its name; None where a value is missing.
        measure: What says how sure its numbers are.
    """

    label: str
    row: TableRow
    base: TableRow
    class_gains: dict[str, float | None]
    measure: Measure

    def paper_gain(self, metric: str) -> float | None:
        """Return the paper's gain in points, where both values are there."""
        return difference(self.row.paper, self.base.paper, metric)

    def value(self, metric: str) -> Quantity:
        """Return our value."""
        return self.measure(metric, [[(1.0, self.row.key, metric)]])

    def gain(self, metric: str) -> Quantity:
        """Return our gain in points."""
        return self.measure(metric, [[(1.0, self.row.key, metric), (-1.0, self.base.key, metric)]])


@dataclass(frozen=True)
class Panel:
    """The rows of one table, or of several tables about the same detections.

    Attributes:
        name: The first table's name.
        title: The tables' titles.
        series: The rows that have a baseline and values of ours.
        is_sweep: Whether the rows differ in alpha.
        is_bound: Whether its tables have an upper bound beside the rows, which would flatten their gains.
    """

    name: str
    title: str
    series: list[Series]
    is_sweep: bool
    is_bound: bool

    def by_alpha(self, kind: str = "alpha") -> list[Series]:
        """Return the rows whose rule is of a kind that has an alpha, ``alpha`` or ``oracle``, in the order of alpha."""
        swept = [series for series in self.series if series.row.rule.kind == kind]
        return sorted(swept, key=lambda series: series.row.rule.alpha)

    def thinned(self) -> "Panel":
        """Return the panel with a few alphas of a sweep, or as it is."""
        if not self.is_sweep:
            return self
        return replace(self, series=[series for series in self.series if series.row.rule.alpha in _SHOWN_ALPHAS])


def read_panels(experiment: Experiment, measurements: Measurements) -> list[Panel]:
    """Return an experiment's tables as they are drawn.

    Tables of the same detections become one panel, with the paper's metrics of both.

    Args:
        experiment: The experiment.
        measurements: What says how sure its numbers are.

    Raises:
        InputError: ``claims.yaml``, ``metrics.csv``, ``per_class.csv`` or a table of the paper is malformed.
    """
    paths = experiment.paths
    metrics, per_class = load_metrics(paths.metrics), load_per_class(paths.per_class)
    alike: dict[frozenset, list[tuple[Table, TableContent, Measure]]] = {}
    for table in experiment.tables.values():
        paper = load_paper(paths.paper(table.paper)) if table.paper else None
        content = read_content(replace(table, columns=_DRAWN), experiment.runs, paper, metrics, per_class)
        about = frozenset((row.runs, row.rule) for row in content.rows if row.runs)
        alike.setdefault(about, []).append((table, content, measurements.in_table(table)))
    return [_panel(*first, others) for first, *others in alike.values()]


def _panel(
    table: Table, content: TableContent, measure: Measure, others: list[tuple[Table, TableContent, Measure]]
) -> Panel:
    """Return a table as a panel; ``others`` are of the same detections."""
    title = " and ".join([table.title, *(other.title.removeprefix("Table ") for other, *_ in others)])
    printed = {(row.runs, row.rule): row.paper for _, other, _ in others for row in other.rows if row.runs}
    rows = {row.key: replace(row, paper=row.paper | printed.get((row.runs, row.rule), {})) for row in content.rows}
    classes = {label: {row.key: row.ours for row in part} for label, part in content.classes.items()}
    gaining = [row for row in rows.values() if row.baseline and row.ours]
    is_sweep = len({row.rule.alpha for row in gaining if row.rule.kind == "alpha"}) >= _FEWEST_ALPHAS
    series = []
    for row in gaining:
        of_rule = f"α = {row.rule.alpha:g}" if row.rule.kind == "alpha" else row.rule
        label = of_rule if is_sweep else _label(row, gaining)
        gains = {name: difference(part[row.key], part[row.baseline], "AP") for name, part in classes.items()}
        series.append(Series(label, row, rows[row.baseline], gains, measure))
    is_bound = any(row.rule.kind == "oracle" for row in content.rows if row.rule)
    return Panel(table.name, title, series, is_sweep, is_bound)


def _label(row: TableRow, others: list[TableRow]) -> str:
    """Return those of a row's labels that differ between the rows."""
    differing = [text for place, text in enumerate(row.labels) if len({other.labels[place] for other in others}) > 1]
    return ", ".join(text for text in differing if text) or row.labels[0]
