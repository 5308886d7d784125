"""Whether released weights measure here what was published of them: evidence for everything else that is measured."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from iou_aware.common.files import write_json
from iou_aware.common.messages import log
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import BASELINE_RULE

# In points of AP. What is published is rounded to one decimal; libraries and GPUs may differ in the last digit.
TOLERANCE = 0.1


def is_met(published: float, measured: float | None) -> bool | None:
    """Return whether two APs agree within ``TOLERANCE``; None where ours is not measured yet."""
    # The margin is for binary fractions: 36.6 - 36.5 is a little more than 0.1.
    return None if measured is None else abs(measured - published) <= TOLERANCE + 1e-9


def described(check: Mapping[str, Any]) -> str:
    """Return one of ``checks`` as a sentence."""
    about = f"{check['run']}, {check['split']}: AP"
    if check["measured"] is None:
        return f"{about} {check['published']:.1f} published, not measured yet"
    verdict = "met" if check["met"] else f"FAILED, more than {TOLERANCE:g} apart"
    return f"{about} {check['measured']:.2f}, {check['published']:.1f} published: {verdict}"


def write_checks(experiment: Experiment, metrics: pd.DataFrame) -> None:
    """Write ``checks.json`` and say each check in the log; one that fails stops nothing.

    There is one for each released run that is there and was published at its scale, in the order of the runs: ``run``;
    ``split``, the first that its dataset is evaluated on; ``published`` and ``measured``, AP in percent, None where
    ours is not measured yet; and whether it is ``met``, see ``is_met``.

    Args:
        experiment: The study.
        metrics: Its ``metrics.csv``.
    """
    by_score = metrics[metrics["rule"] == BASELINE_RULE].dropna(subset="AP")
    measured = by_score.set_index(["run", "split"])["AP"].to_dict()
    checks = []
    for name, run in experiment.released.items():
        seal, split = experiment.paths.seal(name), experiment.splits_for(run)[0]
        published = json.loads(seal.read_text(encoding="utf-8"))["released"]["AP"] if seal.is_file() else None
        if published is not None:
            ours = measured.get((name, split))
            check = {"run": name, "split": split, "published": published, "measured": ours}
            checks.append(check | {"met": is_met(published, ours)})
            (log.info if checks[-1]["met"] else log.warning)("check: %s", described(checks[-1]))
    write_json(experiment.paths.checks, checks)
