"""The sentences about a table: what its marks and columns mean, what is missing and why, and a count of verdicts."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iou_aware.analysis.tables.layout import DAGGER, MISSING, best_of
from iou_aware.analysis.tables.rows import TableContent, TableRow
from iou_aware.analysis.uncertainty.trainings import FEWEST_SEEDS
from iou_aware.analysis.uncertainty.verdict import MARKS, VERDICTS
from iou_aware.common import templates
from iou_aware.evaluation.resampled import RESAMPLES
from iou_aware.experiment.columns import VOC07


def notes_below(
    split: str, content: TableContent, by_size: bool, missing: Mapping[tuple[str, str, str], str]
) -> list[str]:
    """Return the notes below a table.

    Args:
        split: The split that its numbers are measured on.
        content: Its rows with their numbers.
        by_size: Whether sizes are judged as well as signs, see ``Experiment.comparison``.
        missing: Why there is no number, by run, split and rule.
    """
    verdicts = {number["gain_verdict"] for number in content.gains}
    return _sentences(
        "below",
        content=content,
        printed=any(row.paper for row in content.rows),
        kinds={row.kind for row in content.rows},
        by_size=by_size,
        bold=any(best_of(content).values()),
        marks=[f"{mark} {verdict}" for verdict, mark in MARKS.items() if verdict in verdicts],
        missing=_missing(split, content.rows, missing),
    )


def on_columns(content: TableContent) -> str:
    """Say what the columns about gains are, number by number; empty where there are none."""
    if not content.gains:
        return ""
    most = max(len(row.measured) for row in content.rows if row.baseline)
    return " ".join(_sentences("columns", content=content, fewest=FEWEST_SEEDS, most=most))


def verdict_counts(content: TableContent) -> str:
    """Return how many gains and values have which verdict."""
    parts = []
    for what, column in (("Gains", "gain_verdict"), ("Values", "verdict")):
        counts = Counter(number[column] for row in content.rows for number in row.numbers.values())
        words = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
        if set(counts) & set(MARKS):
            parts.append(f"{what}: {', '.join(words)}.")
    return " ".join(parts)


def _sentences(template: str, **values: Any) -> list[str]:
    """Return the lines of one of the templates beside this file."""
    constants = {"DAGGER": DAGGER, "MISSING": MISSING, "RESAMPLES": f"{RESAMPLES:,}", "VOC07": VOC07}
    return templates.load(Path(__file__).with_name(f"{template}.txt.j2")).render(constants | values).splitlines()


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
