"""The stage ``collect``: every evaluation of an experiment becomes a row of ``metrics.csv``."""

import json
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from iou_aware.analysis import metrics
from iou_aware.analysis.collect.released_weights import write_checks
from iou_aware.common.files import csv_text, write_text
from iou_aware.common.messages import InputError, log
from iou_aware.common.seal import AGAIN
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.layout import Layout
from iou_aware.experiment.run import Run


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
    write_checks(experiment, metrics.load_metrics(paths.metrics))
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
