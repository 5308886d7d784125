"""The paper's own tables, read from ``reports/paper/``."""

import csv
from dataclasses import dataclass
from pathlib import Path

from iou_aware.common.errors import InputError
from iou_aware.experiment.columns import FURTHER, PAPER


@dataclass(frozen=True)
class PaperRow:
    """One printed row.

    Attributes:
        cited: Whether the paper quotes it from elsewhere, so that nobody reproduces it here.
        labels: What stands under the label headings.
        values: Percent by metric, as printed.
    """

    cited: bool
    labels: tuple[str, ...]
    values: dict[str, float]


@dataclass(frozen=True)
class PaperTable:
    """One printed table: label headings, metrics and rows (by key), all in the paper's order."""

    headings: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: dict[str, PaperRow]


def load_paper(path: Path) -> PaperTable:
    """Read one of the paper's tables.

    The columns are ``row`` (its key), ``cited`` (0 or 1), the label columns as the paper heads them, then the metrics.

    Raises:
        InputError: The file is missing, or a column or value is not as described.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected the paper's table there.")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or [])
        metrics = [name for name in names if name in PAPER or name in FURTHER]
        headings = names[2 : len(names) - len(metrics)]
        if names != ["row", "cited", *headings, *metrics] or not headings or not metrics:
            raise InputError(f"{path}, line 1: found {names}, expected row, cited, labels and then metrics.")
        rows: dict[str, PaperRow] = {}
        for content in reader:
            where = f"{path}, line {reader.line_num}"
            if content["row"] in rows:
                raise InputError(f"{where}: the row {content['row']!r} stands here a second time.")
            if content["cited"] not in ("0", "1"):
                raise InputError(f"{where}, column cited: found {content['cited']!r}, expected 0 or 1.")
            values = {metric: _percent(where, metric, content[metric]) for metric in metrics}
            labels = tuple(content[heading] or "" for heading in headings)
            rows[content["row"]] = PaperRow(content["cited"] == "1", labels, values)
    return PaperTable(tuple(headings), tuple(metrics), rows)


def _percent(where: str, metric: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise InputError(f"{where}, column {metric}: found {text!r}, expected a percentage from 0 to 100.")
    return value
