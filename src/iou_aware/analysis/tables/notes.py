"""The sentences about a table: what its marks and columns mean, what is missing and why, and a count of verdicts."""

from collections import Counter
from collections.abc import Mapping

from iou_aware.analysis.tables.layout import DAGGER, MISSING
from iou_aware.analysis.tables.numbers import Number, Numbers
from iou_aware.analysis.tables.rows import TableContent, TableRow
from iou_aware.analysis.uncertainty.trainings import FEWEST_SEEDS
from iou_aware.analysis.uncertainty.verdict import MARKS, VERDICTS
from iou_aware.evaluation.resampled import RESAMPLES
from iou_aware.experiment.columns import VOC07

_PATTERN = "The paper's values are of other data and larger models, for the pattern only: compare gains and orderings."


def notes_below(
    split: str,
    content: TableContent,
    numbers: Numbers,
    bold: bool,
    by_size: bool,
    missing: Mapping[tuple[str, str, str], str],
) -> list[str]:
    """Return the notes below a table.

    Args:
        split: The split that its numbers are measured on.
        content: Its rows.
        numbers: Its numbers, with their verdicts.
        bold: Whether any of them is bold.
        by_size: Whether sizes are judged as well as signs, see ``Experiment.comparison``.
        missing: Why there is no number, by run, split and rule.
    """
    rows = content.rows
    printed = any(row.paper for row in rows)
    notes = ["All values in percent."]
    if printed:
        notes.append("Ours, then the paper's in parentheses.")
    if any(row.kind == "cited" for row in rows):
        notes.append("Rows with the paper's values alone are those that it cites from others.")
    if printed and not by_size:
        notes.append(_PATTERN)
    if any(metric in VOC07 for metric in content.metrics):
        why = ", as the authors' evaluation script has it; the paper says COCO-style" if printed else ""
        notes.append(f"VOC07: AP over 11 recalls{why}.")
    if bold:
        compared = "the paper's rows" if printed else "rows"
        notes.append(f"Bold: the best of ours per column among {compared} with the same backbone.")
    if any(row.kind == "addition" for row in rows):
        notes.append(f"{DAGGER} An addition, not in the paper.")
    notes += _on_verdicts(_gaining(content, numbers), by_size)
    notes.append("Means over the seeds counted in the last column." if content.has_seeds else "One seed per row.")
    return [*notes, *_on_missing(split, rows, missing)]


def on_columns(content: TableContent, numbers: Numbers) -> str:
    """Say what the columns about gains are, number by number; empty where there are none."""
    gaining = _gaining(content, numbers)
    if not gaining:
        return ""
    parts = ["Gains are over the same model without the IoU head."]
    if any(number["gain_low"] is not None for number in gaining):
        parts.append(
            f"Intervals: paired bootstrap over the images, {RESAMPLES:,} resamples. A verdict allows for what two"
            " trainings differ by as well, so it may be inconclusive where the interval is not."
        )
    if any(number["gain"] is not None and number["gain_low"] is None for number in gaining):
        parts.append("Without one: the images are not resampled, or the metric is none of those that are.")
    if any(row.baseline and len(row.measured) >= FEWEST_SEEDS for row in content.rows):
        parts.append(f"What two trainings differ by is measured over the seeds where there are {FEWEST_SEEDS} or more.")
    elif content.has_seeds:
        parts.append("Over seeds there is a range and no interval.")
    return " ".join(parts)


def verdict_counts(content: TableContent, numbers: Numbers) -> str:
    """Return how many gains and values have which verdict."""
    judged = [numbers["", row.key, metric] for row in content.rows for metric in content.metrics]
    parts = []
    for what, verdicts in (
        ("Gains", [number["gain_verdict"] for number in judged]),
        ("Values", [number["verdict"] for number in judged]),
    ):
        counts = Counter(verdicts)
        words = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
        if set(counts) & set(MARKS):
            parts.append(f"{what}: {', '.join(words)}.")
    return " ".join(parts)


def _gaining(content: TableContent, numbers: Numbers) -> list[Number]:
    """Return the numbers of the rows that have a baseline."""
    return [numbers["", row.key, metric] for row in content.rows if row.baseline for metric in content.metrics]


def _on_verdicts(gaining: list[Number], by_size: bool) -> list[str]:
    """Say what the marks at the gains mean, and what they take into account."""
    there = {number["gain_verdict"] for number in gaining}
    marks = [f"{mark} {verdict}" for verdict, mark in MARKS.items() if verdict in there]
    if not marks:
        return []
    what = "its sign and size" if by_size else "its sign"
    return [
        f"A gain is held against the paper's by {what}: {', '.join(marks)}. Taken into account: a paired bootstrap over"
        f" the images ({RESAMPLES:,} resamples), and what two trainings differ by."
    ]


def _on_missing(split: str, rows: list[TableRow], missing: Mapping[tuple[str, str, str], str]) -> list[str]:
    """Say of every row without values, or with fewer seeds than asked for, what is missing and why."""
    parts = []
    for row in rows:
        if row.kind == "cited" or (row.runs and row.measured == row.runs):
            continue
        why = {missing.get((run, split, row.rule)) for run in row.runs}
        named = ", ".join(sorted(reason for reason in why if reason)) or "not collected"
        parts.append(f"{row.key} ({named if row.runs else 'no run in this experiment'})")
    return [f"{MISSING} Missing: {'; '.join(parts)}."] if parts else []
