"""What the figures draw, gathered from the tables' rows: gains over the baseline, and sweeps over alpha."""

from dataclasses import dataclass, replace

from iou_aware.analysis.metrics import PER_CLASS_CSV, RUN
from iou_aware.analysis.tables.content import Line, Values, build, difference
from iou_aware.experiment.experiment import Experiment
from iou_aware.method.confidence import Rule

THRESHOLDS = tuple(f"AP{percent}" for percent in range(50, 100, 5))
SIZES = ("AP", "APs", "APm", "APl")
_DRAWN = tuple(PER_CLASS_CSV[len(RUN) + 1 :])
_FEWEST_ALPHAS = 3
# Of a sweep, the gain figures show the classification score alone, the paper's choice, and one that favours the IoU.
_SHOWN_ALPHAS = (1.0, 0.5, 0.3)


@dataclass(frozen=True)
class Series:
    """One row of a table, as it is drawn.

    Attributes:
        label: What tells it from the other rows of its panel.
        rule: Its rule.
        ours: Our percent by metric.
        paper: The paper's by metric; empty without the paper.
        our_base: Our baseline's by metric.
        paper_base: The paper's baseline's by metric.
        classes: Ours and our baseline's for each class alone, by its name.
    """

    label: str
    rule: Rule
    ours: Values
    paper: Values
    our_base: Values
    paper_base: Values
    classes: dict[str, tuple[Values, Values]]

    def gains(self, metrics: tuple[str, ...], source: str) -> list[tuple[str, float]]:
        """Return metric and gain in points, of ``ours`` or of the ``paper``, where both values are there."""
        value, base = (self.ours, self.our_base) if source == "ours" else (self.paper, self.paper_base)
        pairs = ((metric, difference(value, base, metric)) for metric in metrics)
        return [(metric, gain) for metric, gain in pairs if gain is not None]


@dataclass(frozen=True)
class Panel:
    """The rows of one table, or of several tables about the same detections.

    Attributes:
        name: The first table's name.
        title: The tables' titles.
        series: The rows that have a baseline and values of ours.
        is_bound: Whether its tables have an upper bound beside the rows, which would flatten their gains.
    """

    name: str
    title: str
    series: list[Series]
    is_bound: bool = False

    def by_alpha(self, kind: str = "alpha") -> list[Series]:
        """Return the rows whose rule is of a kind that has an alpha, ``alpha`` or ``oracle``, in the order of alpha."""
        swept = [series for series in self.series if series.rule.kind == kind]
        return sorted(swept, key=lambda series: series.rule.alpha)

    @property
    def is_sweep(self) -> bool:
        """Whether the rows differ in alpha."""
        return len({series.rule.alpha for series in self.by_alpha()}) >= _FEWEST_ALPHAS

    def thinned(self) -> "Panel":
        """Return the panel with a few alphas of a sweep, or as it is."""
        if not self.is_sweep:
            return self
        return replace(self, series=[series for series in self.series if series.rule.alpha in _SHOWN_ALPHAS])


def panels(experiment: Experiment) -> list[Panel]:
    """Return the experiment's tables as panels; tables of the same detections become one, with the metrics of both."""
    found: dict[frozenset, tuple[list[str], dict[str, Line], dict[str, dict[str, Line]]]] = {}
    for name, table in experiment.tables.items():
        content = build(experiment, replace(table, columns=_DRAWN, per_class=True))
        lines = {line.key: line for line in content.lines}
        about = frozenset((line.runs, line.rule) for line in lines.values() if line.runs)
        names, merged, classes = found.setdefault(about, ([], {}, {}))
        names.append(name)
        for key, line in lines.items():
            known = merged.get(key)
            merged[key] = line if known is None else replace(known, paper=known.paper | line.paper)
        classes |= {label: {line.key: line for line in part} for label, part in content.classes.items()}
    return [_panel(experiment, *parts) for parts in found.values()]


def _panel(
    experiment: Experiment, names: list[str], lines: dict[str, Line], classes: dict[str, dict[str, Line]]
) -> Panel:
    gaining = [line for line in lines.values() if line.baseline and line.values]
    is_bound = any(line.rule.kind == "oracle" for line in lines.values() if line.rule)
    panel = Panel(names[0], _titles([experiment.tables[name].title for name in names]), [], is_bound)
    for line in gaining:
        base = lines[line.baseline]
        parts = {label: (part[line.key].values, part[line.baseline].values) for label, part in classes.items()}
        label = _label(line, gaining)
        panel.series.append(Series(label, line.rule, line.values, line.paper, base.values, base.paper, parts))
    if panel.is_sweep:
        return replace(panel, series=[replace(series, label=_rule_label(series.rule)) for series in panel.series])
    return panel


def _titles(titles: list[str]) -> str:
    """Return ``Table 1``, or ``Table 3 and 4``."""
    first, *rest = titles
    return " and ".join([first, *(title.removeprefix("Table ") for title in rest)])


def _label(line: Line, others: list[Line]) -> str:
    """Return those of a row's labels that differ between the rows."""
    differing = [text for place, text in enumerate(line.labels) if len({other.labels[place] for other in others}) > 1]
    return ", ".join(text for text in differing if text) or line.labels[0]


def _rule_label(rule: Rule) -> str:
    return f"α = {rule.alpha:g}" if rule.kind == "alpha" else rule
