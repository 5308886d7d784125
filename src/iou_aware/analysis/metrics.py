"""The files that ``collect`` writes: their columns, and readers that refuse a malformed one."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from iou_aware.common.errors import InputError
from iou_aware.common.files import text_of_cell
from iou_aware.experiment.columns import FURTHER, PAPER
from iou_aware.method.confidence import ALLOWED, Rule

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
# One row of each file is told from the others by these.
_KEYS = {"metrics": ["run", "split", "rule"], "per_class": ["run", "split", "rule", "class"]}


def load_metrics(path: str | Path) -> pd.DataFrame:
    """Read ``metrics.csv``: one row per run, split and rule; metrics in percent, NaN where there is none.

    Raises:
        InputError: The file is missing, or a column, a value or the uniqueness of its rows is not as it should be.
    """
    return _load(Path(path), METRICS_CSV, [*PAPER, *FURTHER], [*COUNTS, "seed"], _KEYS["metrics"])


def load_per_class(path: str | Path) -> pd.DataFrame:
    """Read ``per_class.csv``: one row per run, split, rule and class; see ``load_metrics``."""
    table = _load(Path(path), PER_CLASS_CSV, PER_CLASS_CSV[len(RUN) + 1 :], ["seed"], _KEYS["per_class"])
    return table.assign(**{"class": table["class"].map(text_of_cell)})


def load_missing(path: Path) -> dict[tuple[str, str, str], str]:
    """Read ``missing.csv``: why there is no row of ``metrics.csv``, by run, split and rule.

    Raises:
        InputError: The file is missing or has other columns.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: run `iou-aware collect` first.")
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames != MISSING_CSV:
            raise InputError(
                f"{path}, line 1: found {rows.fieldnames}, expected {MISSING_CSV}. Run `iou-aware collect` again."
            )
        return {(row["run"], row["split"], row["rule"]): row["why"] for row in rows}


def _load(path: Path, columns: list[str], percents: list[str], numbers: list[str], key: list[str]) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path} does not exist: run `iou-aware collect` first.")
    try:
        # As text first: a value that is no number is then named with its line, not turned into something else.
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a CSV file: {str(error).strip()}. Run `iou-aware collect` again.") from error
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(
            f"{path}: column {', '.join(missing)} missing; found {', '.join(table)}. Run `iou-aware collect` again."
        )
    for column in [*percents, *numbers]:
        table[column] = _numbers(path, table[column], highest=100 if column in percents else np.inf)
    for column in key:
        _refuse(path, table[column], table[column] == "", "a value")
    _refuse(path, table["rule"], ~table["rule"].map(_is_rule).astype(bool), ALLOWED)
    twice = table.duplicated(key)
    if twice.any():
        first = table.index[twice][0]
        named = ", ".join(table.loc[first, key])
        raise InputError(f"{path}, line {first + 2}: {named} stands here a second time; expected once.")
    return table


def _numbers(path: Path, text: pd.Series, highest: float) -> pd.Series:
    """Return a column of text as float64 (to the last bit), an empty cell as NaN."""
    parsed = pd.Series([_number(cell) for cell in text], index=text.index, name=text.name, dtype=np.float64)
    wrong = (text != "") & ~((parsed >= 0) & (parsed <= highest))
    _refuse(path, text, wrong, "a number" if highest == np.inf else "a percentage from 0 to 100")
    return parsed


def _is_rule(text: str) -> bool:
    try:
        return Rule(text) == text
    except InputError:
        return False


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _refuse(path: Path, column: pd.Series, wrong: pd.Series, expected: str) -> None:
    if wrong.any():
        first = column.index[wrong][0]
        raise InputError(
            f"{path}, line {first + 2}, column {column.name}: found {column[first]!r}, expected {expected}."
        )
