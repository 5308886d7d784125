"""The sentences about a table: what its marks and columns mean, what is missing and why, and a count of verdicts."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from iou_aware.analysis.tables.layout import DAGGER, MISSING
from iou_aware.analysis.tables.numbers import Number, Numbers
from iou_aware.analysis.tables.rows import TableContent, TableRow
from iou_aware.analysis.uncertainty.trainings import FEWEST_SEEDS
from iou_aware.analysis.uncertainty.verdict import MARKS, VERDICTS
from iou_aware.evaluation.resampled import RESAMPLES
from iou_aware.experiment.columns import VOC07

_ENVIRONMENT = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_SENTENCES: Any = _ENVIRONMENT.from_string(
    Path(__file__).with_name("notes.txt.j2").read_text(encoding="utf-8"),
    {"DAGGER": DAGGER, "MISSING": MISSING, "RESAMPLES": f"{RESAMPLES:,}", "VOC07": VOC07},
).module


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
    verdicts = {number["gain_verdict"] for number in _gaining(content, numbers)}
    text = _SENTENCES.below(
        content=content,
        printed=any(row.paper for row in content.rows),
        kinds={row.kind for row in content.rows},
        by_size=by_size,
        bold=bold,
        marks=[f"{mark} {verdict}" for verdict, mark in MARKS.items() if verdict in verdicts],
        missing=_missing(split, content.rows, missing),
    )
    return text.splitlines()


def on_columns(content: TableContent, numbers: Numbers) -> str:
    """Say what the columns about gains are, number by number; empty where there are none."""
    gaining = _gaining(content, numbers)
    if not gaining:
        return ""
    most = max(len(row.measured) for row in content.rows if row.baseline)
    text = _SENTENCES.columns(content=content, gaining=gaining, fewest=FEWEST_SEEDS, most=most)
    return " ".join(text.splitlines())


def verdict_counts(content: TableContent, numbers: Numbers) -> str:
    """Return how many gains and values have which verdict."""
    judged = [numbers["", row.key, metric] for row in content.rows for metric in content.metrics]
    parts = []
    for what, column in (("Gains", "gain_verdict"), ("Values", "verdict")):
        counts = Counter(number[column] for number in judged)
        words = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
        if set(counts) & set(MARKS):
            parts.append(f"{what}: {', '.join(words)}.")
    return " ".join(parts)


def _gaining(content: TableContent, numbers: Numbers) -> list[Number]:
    """Return the numbers of the rows that have a baseline."""
    return [numbers["", row.key, metric] for row in content.rows if row.baseline for metric in content.metrics]


def _missing(split: str, rows: list[TableRow], missing: Mapping[tuple[str, str, str], str]) -> list[str]:
    """Say of every row without values, or with fewer seeds than asked for, what is missing and why."""
    parts = []
    for row in rows:
        if row.kind == "cited" or (row.runs and row.measured == row.runs):
            continue
        why = {missing.get((run, split, row.rule)) for run in row.runs}
        named = ", ".join(sorted(reason for reason in why if reason)) or "not collected"
        parts.append(f"{row.key} ({named if row.runs else 'no run in this experiment'})")
    return parts
