"""The resources that the workflow's jobs request: GPUs, cores, memory and time, estimated from their run."""

import math

from iou_aware.experiment.experiment import Experiment
from iou_aware.workflow.costs import AUTO, Estimates
from iou_aware.workflow.jobs import may_lack_memory

# Time limits over the estimate from published measurements. A training that exceeds its limit resumes.
TRAINING_MARGIN = 1.5
# A prediction applies NMS under every rule; the measurements are of one.
TESTING_MARGIN = 4
START_MINUTES = 30
# A retry requests more, up to this many times the first request: what no node or partition has would never start. A
# training fills much of its node already, so its memory doubles at most. After a request to stop, neither training nor
# prediction requests more.
MOST = 3
MOST_OF_TRAINING = 2
# Where nothing is known of a run.
TRAINING_MINUTES = 12 * 60
TESTING_MINUTES = 4 * 60

# Memory in MB. A training process holds the framework and the annotations; each loading process copies the annotations.
PROCESS_MB = 6000
WORKER_MB = 2000
# Without a GPU, the experiment is a small one.
CPU_PROCESS_MB = 1500


class Needs:
    """What the jobs of an experiment request, from a cluster or from the local machine.

    ``settings.gpus`` requests GPUs; without it, jobs request none and run on the CPU, or on a GPU if there is one.

    Args:
        experiment: The study.
    """

    def __init__(self, experiment: Experiment):
        self.experiment, self._estimates = experiment, Estimates(experiment)
        self._asked = experiment.settings.get("gpus") or 0
        self._workers = experiment.settings.get("workers") or 0

    def training_gpus(self, name: str) -> int:
        """GPUs of one training; 0 where none are requested, or under ``auto`` for an unknown run."""
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
        """Memory of one training in MB; more when the last attempt may have run out of it."""
        log = self.experiment.paths.log("train", name)
        lacked = attempt > 1 and may_lack_memory(log)
        return self._processes(name) * self._memory() * (MOST_OF_TRAINING if lacked else 1)

    def testing_memory(self, name: str, split: str, attempt: int) -> int:
        """Memory of one prediction in MB; more when the last attempt may have run out of it."""
        log = self.experiment.paths.log("predict", f"{name}.{split}")
        return self.memory(self._memory(), attempt if may_lack_memory(log) else 1)

    @staticmethod
    def memory(first: int, attempt: int) -> int:
        """Memory of a job in MB whose first attempt requests ``first``."""
        return first * min(attempt, MOST)

    @staticmethod
    def hours(first: int, attempt: int) -> str:
        """Return the time limit of a job that starts over in every attempt, as Snakemake takes it: ``2h``."""
        return f"{first * min(attempt, MOST)}h"

    def training_time(self, name: str) -> str:
        """Return the time limit of one training, as Snakemake takes it: ``1234m``."""
        expected = self._training_minutes(name)
        minutes = TRAINING_MINUTES if math.isnan(expected) else START_MINUTES + math.ceil(expected * TRAINING_MARGIN)
        return f"{minutes}m"

    def training_priority(self, name: str) -> int:
        """Return the minutes that one training is expected to take, so that the longest starts first; 0 if unknown."""
        expected = self._training_minutes(name)
        return 0 if math.isnan(expected) else round(expected)

    def testing_time(self, name: str, split: str, attempt: int) -> str:
        """Return the time limit of one prediction, which starts over in every attempt."""
        hours = self._estimates.testing_hours(self.experiment.run(name), split)
        minutes = TESTING_MINUTES if math.isnan(hours) else START_MINUTES + math.ceil(hours * TESTING_MARGIN * 60)
        return f"{minutes * min(attempt, MOST)}m"

    def _training_minutes(self, name: str) -> float:
        return self._estimates.training_hours(self.experiment.run(name)) * 60 / self._processes(name)

    def _processes(self, name: str) -> int:
        return self.training_gpus(name) or 1

    def _memory(self) -> int:
        return PROCESS_MB + self._workers * WORKER_MB if self._asked else CPU_PROCESS_MB
