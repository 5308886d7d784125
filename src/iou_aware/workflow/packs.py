"""Packs for an evaluation server: whose detections on which unlabelled split, and what the files are called."""

import re
from dataclasses import dataclass

from iou_aware.common.documents import one_of
from iou_aware.common.errors import InputError
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import Run
from iou_aware.method.confidence import Rule


@dataclass(frozen=True)
class Pack:
    """The detections of one run on one unlabelled split by one rule, as a server takes them.

    Attributes:
        run: the run's name.
        split: the split, as its dataset calls it.
        rule: the rule that ranks them.
        name: what the files are called, without suffix: ``detections_<test set>_<model>_results``.
    """

    run: str
    split: str
    rule: str
    name: str


def requested(experiment: Experiment) -> dict[str, Pack]:
    """Return all packs that an experiment asks for (its ``submissions``), by name."""
    found: dict[str, Pack] = {}
    for table in experiment.submissions:
        for row in experiment.tables[table].rows.values():
            for run in row.runs:
                for split in experiment.datasets[experiment.runs[run].dataset].submit:
                    pack = one(experiment, run, split, row.rule)
                    found[pack.name] = pack
    return found


def one(experiment: Experiment, run_name: str, split: str, rule: str) -> Pack:
    """Return one pack, asked for or not.

    Raises:
        InputError: the run's data have no such split to submit, or the run's detections there are not ranked by the
            rule: it is none of its rules, or an oracle, which needs boxes.
    """
    run = experiment.run(run_name)
    dataset = experiment.datasets[run.dataset]
    if split not in dataset.submit:
        raise InputError(
            f"{dataset.file}: {split!r} is no split to pack for a server; expected, from the key `submit`: "
            f"{one_of(dataset.submit, split)}"
        )
    rule = Rule(rule)
    rules = experiment.rules_for(run, split)
    if rule not in rules:
        raise InputError(
            f"{run_name}: its detections on {split}, which has no boxes, are not ranked by {rule!r}; "
            f"expected {one_of(rules, rule)}"
        )
    model = re.sub(r"[^A-Za-z0-9]+", "-", f"{run_name.removeprefix(f'{run.dataset}.')}-{rule}")
    return Pack(run_name, split, rule, f"detections_{dataset.submit[split]}_{model}_results")


def predictions(experiment: Experiment) -> list[tuple[str, str]]:
    """Return run name and split of every prediction: those to evaluate, then those to pack."""
    packed = [(pack.run, pack.split) for pack in requested(experiment).values()]
    return list(dict.fromkeys([*experiment.evaluations(), *packed]))


def predicted(experiment: Experiment, run: Run) -> list[str]:
    """Return the splits that a run detects on."""
    packed = [pack.split for pack in requested(experiment).values() if pack.run == run.name]
    return list(dict.fromkeys([*experiment.splits_for(run), *packed]))
