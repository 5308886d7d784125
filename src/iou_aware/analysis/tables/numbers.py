"""Every number of a table beside the paper's, with its gain over the row's baseline, how sure it is, and verdicts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from iou_aware.analysis.tables.rows import TableContent, TableRow, difference
from iou_aware.analysis.uncertainty.quantity import Measurements, Term
from iou_aware.analysis.uncertainty.verdict import NOT_RUN, Finding, judge_number
from iou_aware.experiment.table import Table

# One number of a table, in percent or points, by the columns of its CSV. ``ours``: the mean over the seeds; ``paper``:
# the paper's; ``delta``: ours less the paper's; ``low``, ``high``: the 95 % interval over the images; ``lowest``,
# ``highest``: over the seeds, where there are several; ``verdict``: on ours, judged by its size where values are to be
# compared; ``why``: what decided it, or why there is no number. The same of the ``gain`` over the row's baseline,
# judged by its sign, and by its size where values are to be compared.
Number = dict[str, Any]
_CERTAINTY: Number = {"low": None, "high": None, "lowest": None, "highest": None, "verdict": "", "why": ""}
# What there is not.
NOTHING: Number = {
    **dict.fromkeys(("ours", "paper", "delta")),
    **_CERTAINTY,
    **dict.fromkeys(("gain", "gain_paper")),
    **{f"gain_{name}": value for name, value in _CERTAINTY.items()},
}
# By class (empty for all of them together), row and metric.
Numbers = dict[tuple[str, str, str], Number]


def judge_numbers(
    table: Table, content: TableContent, measurements: Measurements, noise: Mapping[str, float], by_size: bool
) -> Numbers:
    """Return the numbers of a table; those of a class alone have neither a paper's number nor an interval.

    Args:
        table: What the experiment says of it.
        content: Its rows with their values.
        measurements: What says how sure they are.
        noise: Which differences mean nothing.
        by_size: Whether sizes are judged as well as signs.

    Raises:
        InputError: Resamples are of other weights than the metrics.
    """

    def judged(terms: list[Term], paper: float | None) -> Finding:
        """Judge one term by its size, the difference of two also by its sign."""
        label = f"{terms[0][2]}: {' − '.join(row for _, row, _ in terms)}"
        name = table.paper or table.name
        quantity = replace(measurements.quantity(label, [terms], table=table, paper=name, noise=noise), paper=paper)
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
            made |= {"gain": gain.quantity.value, "gain_paper": gain.quantity.paper}
            made |= {f"gain_{name}": value for name, value in _certainty(gain).items()}
        return NOTHING | made

    def number_of_class(row: TableRow, base: TableRow | None, metric: str) -> Number:
        return NOTHING | {"ours": row.ours.get(metric), "gain": base and difference(row.ours, base.ours, metric)}

    parts = [("", content.rows, number), *((name, rows, number_of_class) for name, rows in content.classes.items())]
    numbers = {}
    for name, rows, make in parts:
        by_key = {row.key: row for row in rows}
        for row in rows:
            for metric in content.metrics:
                numbers[name, row.key, metric] = make(row, by_key.get(row.baseline), metric)
    return numbers


def _certainty(finding: Finding) -> dict[str, Any]:
    """Return how sure a number is and the verdict on it, by the names of ``_CERTAINTY``."""
    interval, (lowest, highest) = finding.quantity.interval, finding.quantity.span or (None, None)
    return {
        "low": interval and interval.low,
        "high": interval and interval.high,
        "lowest": lowest,
        "highest": highest,
        "verdict": finding.verdict,
        "why": finding.why,
    }
