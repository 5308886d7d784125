"""The paper's own tables, read from ``reports/paper/``."""

from pathlib import Path

import pandas as pd

from iou_aware.analysis.metrics import numbers, read_text, refuse
from iou_aware.common.messages import InputError
from iou_aware.experiment.columns import FURTHER, PAPER


def load_paper(path: Path) -> pd.DataFrame:
    """Read one of the paper's tables, rows and columns in the paper's order.

    Returns:
        By the row's key: ``cited`` (whether the paper quotes it from elsewhere, so that nobody reproduces it here), the
        label columns as the paper heads them, then the metrics in percent, as printed.

    Raises:
        InputError: The file is missing, or a column or value is not as described.
    """
    table = read_text(path, "expected the paper's table there")
    metrics, headings = metrics_of(table), headings_of(table)[1:]
    if list(table) != ["row", "cited", *headings, *metrics] or not headings or not metrics:
        raise InputError(f"{path}, line 1: found {list(table)}, expected row, cited, labels and then metrics.")
    refuse(path, table["row"], table["row"].duplicated(), "a row that does not stand here a second time")
    refuse(path, table["cited"], ~table["cited"].isin(["0", "1"]), "0 or 1")
    for metric in metrics:
        refuse(path, table[metric], table[metric] == "", "a percentage from 0 to 100")
        table[metric] = numbers(path, table[metric], highest=100)
    return table.assign(cited=table["cited"] == "1").set_index("row")


def metrics_of(paper: pd.DataFrame) -> list[str]:
    """Return the metrics of one of the paper's tables."""
    return [name for name in paper if name in PAPER or name in FURTHER]


def headings_of(paper: pd.DataFrame) -> list[str]:
    """Return what stands above the labels of one of the paper's tables."""
    return [name for name in paper if name != "cited" and name not in metrics_of(paper)]
