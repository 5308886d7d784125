"""The stage ``collect``: every evaluation of an experiment becomes a row of ``metrics.csv``."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iou_aware.analysis.collect.released_weights import write_checks
from iou_aware.analysis.metrics import (
    COUNTS,
    METRICS_CSV,
    MISSING_CSV,
    NOT_ASKED_FOR,
    NOT_EVALUATED,
    NOT_FETCHED,
    NOT_PREDICTED,
    NOT_TRAINED,
    PER_CLASS_CSV,
    PROVENANCE,
    TIMES,
    load_metrics,
)
from iou_aware.common.errors import InputError
from iou_aware.common.files import csv_text, write_text
from iou_aware.common.seal import AGAIN
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Missing:
    """An evaluation that the experiment asks for and that is not there.

    Attributes:
        run: Name of the run.
        split: Split of its dataset.
        rules: The rules without numbers.
        why: What has not happened yet.
    """

    run: str
    split: str
    rules: list[str]
    why: str

    def __str__(self) -> str:
        return f"{self.run}, {self.split}, {', '.join(self.rules)}: {self.why}"


def collect(experiment: Experiment) -> list[Missing]:
    """Write ``metrics.csv``, ``per_class.csv``, ``missing.csv`` and ``checks.json`` of an experiment.

    The rows are in the order of its runs, splits and rules. An unfinished experiment gives the rows that it has.

    Returns:
        What is missing.

    Raises:
        InputError: An evaluation or a ``run.json`` is damaged, or they belong to different weights.
    """
    rows, classes = [], []
    for evaluation, record, run, split in _evaluations(experiment):
        shared = run.as_dict() | {"run": run.name, "split": split} | _provenance(evaluation, record)
        for rule in filter(evaluation["rules"].get, experiment.rules_for(run)):
            result = evaluation["rules"][rule]
            rows.append(shared | {"rule": rule} | result["metrics"])
            classes += [shared | {"rule": rule, "class": name} | part for name, part in result["per_class"].items()]
    write_text(experiment.paths.metrics, _csv(METRICS_CSV, rows))
    write_text(experiment.paths.per_class, _csv(PER_CLASS_CSV, classes))
    write_checks(experiment, load_metrics(experiment.paths.metrics))
    gaps = list(missing(experiment))
    lacking = [{"run": gap.run, "split": gap.split, "rule": rule, "why": gap.why} for gap in gaps for rule in gap.rules]
    write_text(experiment.paths.missing, _csv(MISSING_CSV, lacking))
    for gap in gaps:
        logger.warning("missing: %s", gap)
    logger.info("%d rows in %s", len(rows), experiment.paths.metrics)
    return gaps


def missing(experiment: Experiment) -> Iterator[Missing]:
    """Yield what an experiment asks for and does not have yet, in its own order."""
    for name, split in experiment.evaluations():
        rules = experiment.rules_for(experiment.run(name))
        path = experiment.paths.evaluation(name, split)
        if path.is_file():
            absent = [rule for rule in rules if rule not in _read(path)["rules"]]
            why = NOT_ASKED_FOR
        else:
            absent, why = rules, _lack(experiment, name, split)
        if absent:
            yield Missing(name, split, absent, why)


def _lack(experiment: Experiment, run: str, split: str) -> str:
    """Return what has not happened yet to a run that has no evaluation on a split."""
    paths = experiment.paths
    if not paths.seal(run).is_file():
        return NOT_FETCHED if experiment.run(run).is_released else NOT_TRAINED
    return NOT_EVALUATED if paths.detections(run, split).is_file() else NOT_PREDICTED


def _evaluations(experiment: Experiment) -> Iterator[tuple[dict[str, Any], dict[str, Any], Run, str]]:
    """Yield each evaluation that is there, with its run's seal, the run and the split."""
    for name, split in experiment.evaluations():
        path, seal = experiment.paths.evaluation(name, split), experiment.paths.seal(name)
        if not path.is_file():
            continue
        evaluation, record = _read(path), _read(seal)
        if evaluation["provenance"]["weights_sha256"] != record["weights_sha256"]:
            raise InputError(
                f"{path} is of the weights {evaluation['provenance']['weights_sha256']}, but {seal} says "
                f"{record['weights_sha256']}. Run `iou-aware predict` and `iou-aware evaluate` again."
            )
        yield evaluation, record, experiment.run(name), split


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist, but the run has been evaluated. {AGAIN}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}. Remove it and run its stage.") from error


def _provenance(evaluation: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """Return what made a number; the code and the libraries are those that trained the weights."""
    made = evaluation["provenance"] | record.get("provenance", {})
    made["config_sha256"] = record["config_sha256"]
    made |= _times(record)
    return {key: made.get(key) for key in [*PROVENANCE, *COUNTS]}


def _times(record: dict[str, Any]) -> dict[str, float | None]:
    """Return what a run's training took, by the names of ``TIMES``; None where its record does not say."""
    wall, cpu = record.get("seconds"), record.get("cpu_seconds")
    on_gpus = None if wall is None else wall * record.get("processes", 1)
    return dict(zip(TIMES, (wall, cpu, cpu if record.get("device") == "cpu" else on_gpus), strict=True))


def _csv(columns: list[str], rows: list[dict[str, Any]]) -> str:
    return csv_text(columns, ({column: row.get(column) for column in columns} for row in rows))
