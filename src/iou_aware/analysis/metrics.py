"""The files of metrics: what ``collect`` writes, and the paper's own tables; a malformed one is refused."""

from pathlib import Path

import numpy as np
import pandas as pd

from iou_aware.common.files import text_of_cell
from iou_aware.common.messages import InputError
from iou_aware.experiment.columns import FURTHER, PAPER

RUN = ["run", "dataset", "split", "detector", "backbone", "iou_loss", "target_grad", "recipe", "scale", "seed", "rule"]
PROVENANCE = ["git_commit", "config_sha256", "weights_sha256", "torch", "mmdet", "mmcv"]
# Seconds of training: by the clock, of all CPUs, and of the device: those of the CPUs where it ran on them, which other
# work on the machine does not lengthen as it does the clock's, and the clock's times the number of GPUs where on those.
TIMES = ["train_seconds", "train_cpu_seconds", "train_device_seconds"]
COUNTS = ["images", "boxes", *TIMES]

METRICS_CSV = [*RUN, *PAPER, *FURTHER, *PROVENANCE, *COUNTS]
PER_CLASS_CSV = [*RUN, "class", *PAPER, "AP55", "AP65", "AP85", "AP95"]
MISSING_CSV = ["run", "split", "rule", "why"]
# Why a number is missing, in the order of what has to happen.
NOT_FETCHED, NOT_TRAINED, NOT_PREDICTED, NOT_EVALUATED = "not fetched", "not trained", "not predicted", "not evaluated"
NOT_ASKED_FOR = "evaluated before this rule was asked for"
_REMEDY = "run `iou-aware collect`"


def load_metrics(path: str | Path) -> pd.DataFrame:
    """Read ``metrics.csv``: one row per run, split and rule; metrics in percent, NaN where there is none.

    Raises:
        InputError: The file is missing, or a column or a value is not as it should be.
    """
    return _load(Path(path), METRICS_CSV)


def load_per_class(path: str | Path) -> pd.DataFrame:
    """Read ``per_class.csv``: one row per run, split, rule and class; see ``load_metrics``."""
    table = _load(Path(path), PER_CLASS_CSV)
    return table.assign(**{"class": table["class"].map(text_of_cell)})


def load_missing(path: Path) -> dict[tuple[str, str, str], str]:
    """Read ``missing.csv``: why there is no row of ``metrics.csv``, by run, split and rule.

    Raises:
        InputError: The file is missing or lacks a column.
    """
    rows = _load(path, MISSING_CSV)[MISSING_CSV].itertuples(index=False)
    return {(run, split, rule): why for run, split, rule, why in rows}


def load_paper(path: Path) -> pd.DataFrame:
    """Read one of the paper's tables, rows and columns in the paper's order.

    Returns:
        By the row's key: ``cited`` (whether the paper quotes it from elsewhere, so that nobody reproduces it here), the
        label columns as the paper heads them, then the metrics in percent, as printed.

    Raises:
        InputError: The file is missing, or a column or value is not as described.
    """
    table = _read_text(path, "expected the paper's table there")
    metrics, headings = metrics_of(table), headings_of(table)[1:]
    if list(table) != ["row", "cited", *headings, *metrics] or not headings or not metrics:
        raise InputError(f"{path}, line 1: found {list(table)}, expected row, cited, labels and then metrics.")
    refuse(path, table["row"], table["row"].duplicated(), "a row that does not stand here a second time")
    refuse(path, table["cited"], ~table["cited"].isin(["0", "1"]), "0 or 1")
    for metric in metrics:
        refuse(path, table[metric], table[metric] == "", "a percentage from 0 to 100")
        table[metric] = _numbers(path, table[metric], highest=100)
    return table.assign(cited=table["cited"] == "1").set_index("row")


def metrics_of(paper: pd.DataFrame) -> list[str]:
    """Return the metrics of one of the paper's tables."""
    return [name for name in paper if name in PAPER or name in FURTHER]


def headings_of(paper: pd.DataFrame) -> list[str]:
    """Return what stands above the labels of one of the paper's tables."""
    return [name for name in paper if name != "cited" and name not in metrics_of(paper)]


def _read_text(path: Path, remedy: str) -> pd.DataFrame:
    """Read a CSV file as text: a value that is no number can then be named with its line.

    Raises:
        InputError: The file is missing or no CSV file; ``remedy`` says what to do.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: {remedy}.")
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise InputError(f"{path} is not a CSV file ({str(error).strip()}): {remedy}.") from error


def _numbers(path: Path, column: pd.Series, highest: float = np.inf) -> pd.Series:
    """Return a column of text as float64 (to the last bit), an empty cell as NaN.

    Raises:
        InputError: A value is no number from 0 to ``highest``; with its line.
    """
    parsed = pd.to_numeric(column, errors="coerce").astype(np.float64)
    wrong = (column != "") & ~((parsed >= 0) & (parsed <= highest))
    refuse(path, column, wrong, "a number" if highest == np.inf else f"a percentage from 0 to {highest:g}")
    return parsed


def refuse(path: Path, column: pd.Series, wrong: pd.Series, expected: str) -> None:
    """Raise InputError about the first value of a column that is ``wrong``, if there is one."""
    if wrong.any():
        first = column.index[wrong][0]
        raise InputError(
            f"{path}, line {first + 2}, column {column.name}: found {column[first]!r}, expected {expected}."
        )


def _load(path: Path, columns: list[str]) -> pd.DataFrame:
    table = _read_text(path, _REMEDY)
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(f"{path}: column {', '.join(missing)} missing; found {', '.join(table)}: {_REMEDY}.")
    for column in columns:
        if column in (*PAPER, *FURTHER):
            table[column] = _numbers(path, table[column], highest=100)
        elif column in (*COUNTS, "seed"):
            table[column] = _numbers(path, table[column])
    return table
