"""The stage ``collect``: every evaluation of an experiment becomes a row of ``metrics.csv``.

``checks.json`` says whether released weights measure here what was published of them: evidence for everything else.
"""

import json
from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from iou_aware.analysis import metrics
from iou_aware.common.files import csv_text, write_json, write_text
from iou_aware.common.messages import InputError, log
from iou_aware.common.seal import AGAIN
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.layout import Layout
from iou_aware.experiment.run import BASELINE_RULE, Run

# In points of AP. What is published is rounded to one decimal; libraries and GPUs may differ in the last digit.
TOLERANCE = 0.1


def collect(experiment: Experiment) -> list[dict[str, str]]:
    """Write ``metrics.csv``, ``per_class.csv``, ``missing.csv`` and ``checks.json`` of an experiment.

    The rows are in the order of its runs, splits and rules. An unfinished experiment gives the rows that it has.

    Returns:
        What is missing: the rows of ``missing.csv``.

    Raises:
        InputError: An evaluation or a ``run.json`` is damaged, or they belong to different weights.
    """
    paths = experiment.paths
    rows, classes, missing = [], [], []
    for name, split in experiment.evaluations():
        run, asked = experiment.run(name), experiment.rules_for(experiment.run(name))
        evaluation, why = {}, metrics.NOT_ASKED_FOR
        if paths.evaluation(name, split).is_file():
            evaluation, shared = _read_evaluation(paths.evaluation(name, split), paths.seal(name))
            shared |= run.as_dict() | {"run": name, "split": split}
        else:
            why = _lack(paths, run, split)
        for rule in asked:
            if result := evaluation.get(rule):
                rows.append(shared | {"rule": rule} | result["metrics"])
                classes += [shared | {"rule": rule, "class": one} | part for one, part in result["per_class"].items()]
            else:
                missing.append({"run": name, "split": split, "rule": rule, "why": why})
    for path, columns, lines in (
        (paths.metrics, metrics.METRICS_CSV, rows),
        (paths.per_class, metrics.PER_CLASS_CSV, classes),
        (paths.missing, metrics.MISSING_CSV, missing),
    ):
        write_text(path, csv_text(columns, ({column: line.get(column) for column in columns} for line in lines)))
    _write_checks(experiment, metrics.load_metrics(paths.metrics))
    for (name, split, why), gaps in groupby(missing, itemgetter("run", "split", "why")):
        log.warning("missing: %s, %s, %s: %s", name, split, ", ".join(gap["rule"] for gap in gaps), why)
    log.info("%d rows in %s", len(rows), paths.metrics)
    return missing


def _lack(paths: Layout, run: Run, split: str) -> str:
    """Return what has not happened yet to a run that has no evaluation on a split."""
    if not paths.seal(run.name).is_file():
        return metrics.NOT_FETCHED if run.is_released else metrics.NOT_TRAINED
    return metrics.NOT_EVALUATED if paths.detections(run.name, split).is_file() else metrics.NOT_PREDICTED


def _read_evaluation(path: Path, seal: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an evaluation's results by rule, and what made them: the columns ``PROVENANCE`` and ``COUNTS``.

    The code and the libraries are those that trained the weights.
    """
    evaluation, record = _read(path), _read(seal)
    made = evaluation["provenance"]
    if made["weights_sha256"] != record["weights_sha256"]:
        raise InputError(
            f"{path} is of the weights {made['weights_sha256']}, but {seal} says {record['weights_sha256']}. "
            "Run `iou-aware predict` and `iou-aware evaluate` again."
        )
    made = made | record.get("provenance", {}) | {"config_sha256": record["config_sha256"]} | _times(record)
    return evaluation["rules"], {column: made.get(column) for column in [*metrics.PROVENANCE, *metrics.COUNTS]}


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist, but the run has been evaluated. {AGAIN}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}. Remove it and run its stage.") from error


def _times(record: dict[str, Any]) -> dict[str, float | None]:
    """Return what a run's training took, by the names of ``TIMES``; None where its record does not say."""
    wall, cpu = record.get("seconds"), record.get("cpu_seconds")
    on_gpus = None if wall is None else wall * record.get("processes", 1)
    return dict(zip(metrics.TIMES, (wall, cpu, cpu if record.get("device") == "cpu" else on_gpus), strict=True))


def is_met(published: float, measured: float | None) -> bool | None:
    """Return whether two APs agree within ``TOLERANCE``; None where ours is not measured yet."""
    # The margin is for binary fractions: 36.6 - 36.5 is a little more than 0.1.
    return None if measured is None else bool(abs(measured - published) <= TOLERANCE + 1e-9)


def described(check: Mapping[str, Any]) -> str:
    """Return one check of ``checks.json`` as a sentence."""
    about = f"{check['run']}, {check['split']}: AP"
    if check["measured"] is None:
        return f"{about} {check['published']:.1f} published, not measured yet"
    verdict = "met" if check["met"] else f"FAILED, more than {TOLERANCE:g} apart"
    return f"{about} {check['measured']:.2f}, {check['published']:.1f} published: {verdict}"


def _write_checks(experiment: Experiment, measured: pd.DataFrame) -> None:
    """Write ``checks.json`` and say each check in the log; one that fails stops nothing.

    There is one for each released run that is there and was published at its scale, in the order of the runs: ``run``;
    ``split``, the first that its dataset is evaluated on; ``published`` and ``measured``, AP in percent, None where
    ours is not measured yet; and whether it is ``met``, see ``is_met``.

    Args:
        experiment: The study.
        measured: Its ``metrics.csv``.
    """
    by_split = measured[measured["rule"] == BASELINE_RULE].dropna(subset="AP").set_index(["run", "split"])["AP"]
    checks = []
    for name, run in experiment.released.items():
        seal, split = experiment.paths.seal(name), experiment.splits_for(run)[0]
        published = json.loads(seal.read_text(encoding="utf-8"))["released"]["AP"] if seal.is_file() else None
        if published is not None:
            ours = by_split.get((name, split))
            check = {"run": name, "split": split, "published": published, "measured": ours}
            checks.append(check | {"met": is_met(published, ours)})
            (log.info if checks[-1]["met"] else log.warning)("check: %s", described(checks[-1]))
    write_json(experiment.paths.checks, checks)
