"""What each job of the workflow needs of a machine: GPUs, cores, memory, time, reckoned from its run."""

import math
from functools import cached_property

from iou_aware.experiment.experiment import Experiment
from iou_aware.workflow import attempts
from iou_aware.workflow.costs import AUTO, Estimates

# Time limits: published seconds are no promise. A training that is cut off goes on from where it was.
TRAINING_MARGIN = 1.5
# Every rule is suppressed and measured on the same pass, which takes longer than the one rule of the measurements.
TESTING_MARGIN = 4
START_MINUTES = 30
# A job is tried again for many reasons, and what it asks for grows no further than to so many times what it asked for
# first: more than any node has, or a partition allows, would never start. A training has a good part of its node, and
# asks for twice as much memory at most. Neither it nor a prediction asks for more after it was asked to stop.
MOST = 3
MOST_OF_TRAINING = 2
# Where nothing is known of a run.
TRAINING_MINUTES = 12 * 60
TESTING_MINUTES = 4 * 60

# Memory in MB. A training process holds the framework and the annotations, each loading process a copy of the latter.
PROCESS_MB = 6000
WORKER_MB = 2000
# Beside a GPU the model is on the GPU; without one, the experiment is a small one.
CPU_PROCESS_MB = 1500


class Needs:
    """What the jobs of an experiment ask of a cluster, or of the machine at hand.

    An experiment asks for GPUs by ``settings.gpus``; one that does not runs on the CPU, or on the GPU that is there.

    Args:
        experiment: The study.
    """

    def __init__(self, experiment: Experiment):
        self.experiment = experiment
        self._asked = experiment.settings.get("gpus") or 0
        self._workers = experiment.settings.get("workers") or 0

    @cached_property
    def _estimates(self) -> Estimates:
        return Estimates(self.experiment)

    def training_gpus(self, name: str) -> int:
        """GPUs of the training of one run; 0 where it asks for none, or where it is to be reckoned of no run."""
        if self._asked != AUTO:
            return self._asked
        return self._estimates.gpus(self.experiment.runs[name]) if name in self.experiment.runs else 0

    def testing_gpus(self, _name: str) -> int:
        """GPUs of a run's prediction on one split."""
        return 1 if self._asked else 0

    def training_cores(self, name: str) -> int:
        """Cores of one training: one for each process and for each that loads its images."""
        return self._processes(name) * (1 + self._workers)

    @property
    def testing_cores(self) -> int:
        """Cores of one prediction."""
        return 1 + self._workers

    def training_memory(self, name: str, attempt: int) -> int:
        """Memory of one training in MB; more when the last attempt may have ended for the lack of it."""
        log = self.experiment.paths.log("train", name)
        lacked = attempt > 1 and attempts.may_lack_memory(log)
        return self._processes(name) * self._memory() * (MOST_OF_TRAINING if lacked else 1)

    def testing_memory(self, name: str, split: str, attempt: int) -> int:
        """Memory of one prediction in MB; more when the last attempt may have ended for the lack of it."""
        log = self.experiment.paths.log("predict", f"{name}.{split}")
        return self.memory(self._memory(), attempt if attempts.may_lack_memory(log) else 1)

    @staticmethod
    def memory(first: int, attempt: int) -> int:
        """Memory of a job in MB that asks for ``first`` at first."""
        return first * min(attempt, MOST)

    @staticmethod
    def hours(first: int, attempt: int) -> str:
        """Return the time limit of a job that starts over when it is tried again, as Snakemake takes it: ``2h``."""
        return f"{first * min(attempt, MOST)}h"

    def training_time(self, name: str) -> str:
        """Return the time limit of one training, as Snakemake takes it: ``1234m``."""
        hours = self._estimates.training_hours(self.experiment.run(name))
        if hours is None:
            return f"{TRAINING_MINUTES}m"
        return f"{START_MINUTES + math.ceil(hours / self._processes(name) * TRAINING_MARGIN * 60)}m"

    def training_priority(self, name: str) -> int:
        """Return the minutes that one training is expected to take, so that the longest starts first; 0 if unknown."""
        hours = self._estimates.training_hours(self.experiment.run(name)) or 0
        return round(hours / self._processes(name) * 60)

    def testing_time(self, name: str, split: str, attempt: int) -> str:
        """Return the time limit of one prediction, which starts over when it is tried again."""
        hours = self._estimates.testing_hours(self.experiment.run(name), split)
        minutes = TESTING_MINUTES if hours is None else START_MINUTES + math.ceil(hours * TESTING_MARGIN * 60)
        return f"{minutes * min(attempt, MOST)}m"

    def _processes(self, name: str) -> int:
        return self.training_gpus(name) or 1

    def _memory(self) -> int:
        return PROCESS_MB + self._workers * WORKER_MB if self._asked else CPU_PROCESS_MB
