"""Every number of a table beside the paper's, with its gain over the row's baseline, how sure it is, and verdicts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from iou_aware.analysis.tables.rows import Number, TableContent, TableRow, difference
from iou_aware.analysis.uncertainty.quantity import Measure, Term
from iou_aware.analysis.uncertainty.verdict import NOT_RUN, Finding, judge_number

_CERTAINTY: Number = {"low": None, "high": None, "lowest": None, "highest": None, "verdict": "", "why": ""}
# What there is not.
NOTHING: Number = {
    **dict.fromkeys(("ours", "paper", "delta")),
    **_CERTAINTY,
    **dict.fromkeys(("gain", "gain_paper")),
    **{f"gain_{name}": value for name, value in _CERTAINTY.items()},
}


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
            made |= {"gain": gain.quantity.value, "gain_paper": gain.quantity.paper}
            made |= {f"gain_{name}": value for name, value in _certainty(gain).items()}
        return NOTHING | made

    def number_of_class(row: TableRow, base: TableRow | None, metric: str) -> Number:
        return NOTHING | {"ours": row.ours.get(metric), "gain": base and difference(row.ours, base.ours, metric)}

    def filled(rows: list[TableRow], make: Callable[[TableRow, TableRow | None, str], Number]) -> list[TableRow]:
        by_key = {row.key: row for row in rows}
        of_row = {row.key: {m: make(row, by_key.get(row.baseline), m) for m in content.metrics} for row in rows}
        return [replace(row, numbers=of_row[row.key]) for row in rows]

    classes = {name: filled(rows, number_of_class) for name, rows in content.classes.items()}
    return replace(content, rows=filled(content.rows, number), classes=classes)


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
