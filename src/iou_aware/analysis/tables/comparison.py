"""Every number of a table beside the paper's, with its gain over the row's baseline, how sure it is, and verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from iou_aware.analysis.tables.content import Content, Line, difference
from iou_aware.analysis.uncertainty.quantity import Measurements, Quantity, Term
from iou_aware.analysis.uncertainty.verdict import NOT_RUN, Finding, judge_number, noise_in
from iou_aware.common import documents
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.table import Table


@dataclass(frozen=True)
class Compared:
    """One number of a table.

    Attributes:
        value: Ours and the paper's. They are judged by size where the experiment says that values are to be compared.
        gain: What ours and the paper's are above those of the row's baseline, judged by sign, and where values are to
            be compared by size too; None for a row without a baseline.
    """

    value: Finding
    gain: Finding | None

    @property
    def delta(self) -> float | None:
        """Ours less the paper's; None where either is missing."""
        ours, paper = self.value.quantity.value, self.value.quantity.paper
        return None if ours is None or paper is None else round(ours - paper, 12)


Comparisons = dict[str, dict[str, Compared]]


def compare(experiment: Experiment, table: Table, content: Content) -> Comparisons:
    """Return the numbers of a table's rows by row and metric; rows that the paper cites from others are left out.

    Raises:
        InputError: ``reports/claims.yaml``, which says what differences mean nothing, or ``metrics.csv`` is malformed,
            or resamples are of other weights than the metrics.
    """
    document = documents.read(experiment.paths.statements)
    documents.check(document, "claims")
    printed = table.paper or table.name
    noise = noise_in(document, printed, runs=experiment.noise_in.get(table.name))
    measurements, values = Measurements(experiment), experiment.comparison == "values"

    def judged(terms: list[Term], paper: float | None) -> Finding:
        """Judge one term by its size, the difference of two also by its sign."""
        label = f"{terms[0].metric}: {' − '.join(term.row for term in terms)}"
        quantity = replace(measurements.quantity(label, table, printed, terms, noise), paper=paper)
        if paper is None:  # it says nothing that could be judged
            return Finding(quantity, "", NOT_RUN if quantity.value is None else "", quantity.missing or "")
        sign = ("positive" if paper > 0 else "negative") if len(terms) > 1 and paper else None
        return judge_number(quantity, sign, (paper, paper), values)

    def number(line: Line, base: Line | None, metric: str) -> Compared:
        mine, gain = Term(1.0, line.key, metric), None
        if base is not None:
            gain = judged([mine, Term(-1.0, base.key, metric)], difference(line.paper, base.paper, metric))
        return Compared(judged([mine], line.paper.get(metric)), gain)

    lines = {line.key: line for line in content.lines}
    return {
        line.key: {metric: number(line, lines.get(line.baseline), metric) for metric in content.metrics}
        for line in content.lines
        if line.kind != "cited"
    }


def of_class(line: Line, lines: Mapping[str, Line], metric: str) -> Compared:
    """Return a number of one class alone, which has neither a paper's number beside it nor an interval."""
    base = lines.get(line.baseline)
    seeds = len(line.measured)
    value = Quantity(metric, line.values.get(metric), seeds=seeds, runs=line.runs)
    gain = replace(value, value=difference(line.values, base.values, metric)) if base else None
    return Compared(Finding(value, "", "", ""), gain and Finding(gain, "", "", ""))
