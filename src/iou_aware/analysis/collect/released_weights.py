"""Whether released weights measure here what was published of them: evidence for everything else that is measured."""

import json
import logging
from dataclasses import asdict, dataclass

import pandas as pd

from iou_aware.common.files import write_json
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import BASELINE_RULE

logger = logging.getLogger(__name__)

# In points of AP. What is published is rounded to one decimal; libraries and GPUs may differ in the last digit.
TOLERANCE = 0.1


@dataclass(frozen=True)
class Check:
    """One run with released weights.

    Attributes:
        run: its name.
        split: the split that the AP is of, the first that its dataset is evaluated on.
        published: the AP in percent that was published with the weights.
        measured: ours; None where it is not measured yet.
    """

    run: str
    split: str
    published: float
    measured: float | None

    @property
    def met(self) -> bool | None:
        """Whether the two agree within ``TOLERANCE``; None where ours is not measured yet."""
        if self.measured is None:
            return None
        # The margin is for binary fractions: 36.6 - 36.5 is a little more than 0.1.
        return abs(self.measured - self.published) <= TOLERANCE + 1e-9

    def __str__(self) -> str:
        if self.measured is None:
            return f"{self.run}, {self.split}: AP {self.published:.1f} published, not measured yet"
        verdict = "met" if self.met else f"FAILED, more than {TOLERANCE:g} apart"
        return f"{self.run}, {self.split}: AP {self.measured:.2f}, {self.published:.1f} published: {verdict}"


def checks(experiment: Experiment, metrics: pd.DataFrame) -> list[Check]:
    """Return a check for each released run that is there and was published at its scale, in the order of the runs.

    Args:
        experiment: The study.
        metrics: Its ``metrics.csv``.
    """
    by_score = metrics[metrics["rule"] == BASELINE_RULE].dropna(subset="AP")
    measured = by_score.set_index(["run", "split"])["AP"].to_dict()
    made = []
    for name, run in experiment.released.items():
        seal, split = experiment.paths.seal(name), experiment.splits_for(run)[0]
        published = json.loads(seal.read_text(encoding="utf-8"))["released"]["AP"] if seal.is_file() else None
        if published is not None:
            made.append(Check(name, split, published, measured.get((name, split))))
    return made


def write_checks(experiment: Experiment, metrics: pd.DataFrame) -> None:
    """Write ``checks.json`` and say each in the log; one that fails stops nothing."""
    made = checks(experiment, metrics)
    for check in made:
        logger.log(logging.INFO if check.met else logging.WARNING, "check: %s", check)
    write_json(experiment.paths.checks, [asdict(check) | {"met": check.met} for check in made])
