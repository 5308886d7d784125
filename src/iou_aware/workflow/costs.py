"""Estimates of what a run costs: published measurements, scaled to its images, pixels and GPUs."""

import math
from collections import defaultdict
from collections.abc import Mapping
from functools import cache, cached_property, partial
from typing import Any

from iou_aware.common import documents
from iou_aware.common.documents import one_of
from iou_aware.common.messages import InputError
from iou_aware.data.manifest import Manifest
from iou_aware.experiment import recipe
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import Run, width_height

BYTES_PER_PARAMETER = 4
# In a GPU's memory whatever the batch: weights, gradients and SGD's momentum.
COPIES_ON_GPU = 3
# The published memory is what PyTorch allocated; CUDA, cuDNN and fragmentation take more.
USABLE_MEMORY = 0.8
AUTO = "auto"


class Estimates:
    """What the runs of an experiment cost; NaN where no measurement or number of images is known.

    Args:
        experiment: The study.
    """

    def __init__(self, experiment: Experiment):
        self.experiment = experiment
        self._recipe = cache(partial(recipe.read, experiment.paths))
        self.images = cache(self.images)

    @cached_property
    def costs(self) -> Mapping[str, Any]:
        """The published measurements of ``configs/costs.yaml``, of which schemas/costs.schema.yaml gives the meaning.

        Its ``gpu`` is the type to plan for, the experiment's where it names one.

        Raises:
            InputError: The file is missing or does not follow its schema, or it has no such type of GPU.
        """
        file = self.experiment.paths.configs / "costs.yaml"
        content = documents.read(file, "costs").content
        chosen = self.experiment.gpu or content["gpu"]
        if chosen not in content["gpus"]:
            expected = one_of(content["gpus"], chosen)
            raise InputError(f"gpu: found {chosen!r}, expected a type of GPU in {file}: {expected}")
        return content | {"gpu": chosen}

    @property
    def gpu(self) -> Mapping[str, Any]:
        """The GPU planned for: ``memory_gb``, ``speed`` (over that of the measurements), ``source``."""
        return self.costs["gpus"][self.costs["gpu"]]

    def model(self, run: Run) -> Mapping[str, float]:
        """Return the measurements of a run's model; where none were published an empty mapping, with NaN by any key.

        The paper: the IoU head, one convolution, "brings little computation burden".
        """
        detector = (run.baseline or run).detector
        wanted = (self.costs["as"].get(detector, detector), run.backbone)
        models = (model for model in self.costs["models"] if (model["detector"], model["backbone"]) == wanted)
        return next(models, defaultdict(lambda: math.nan))

    def gpus(self, run: Run) -> int:
        """Return how many GPUs the training of a run takes: ``settings.gpus``, or 1.

        For ``auto`` it is the fewest that share the images of a step evenly and whose memory holds their share.

        Raises:
            InputError: Under ``auto`` the model's memory is unknown, or not even one image fits.
        """
        asked = self.experiment.settings.get("gpus") or 1
        return self._fewest(run) if asked == AUTO else asked

    @property
    def most_gpus(self) -> int:
        """The most GPUs that any training takes."""
        return max(map(self.gpus, self.experiment.trained.values()), default=1)

    def _fewest(self, run: Run) -> int:
        settings, measured, model = self.experiment.settings, self.costs["measured"], self.model(run)
        found, named = "settings.gpus: found auto, but", f"{run.detector} with {run.backbone}"
        if settings.get("normaliser") == "process":
            raise InputError(f"{found} under normaliser: process it would decide what comes out; expected a number.")
        if not model:
            missing = "configs/costs.yaml (`models`) does not say how much memory"
            raise InputError(f"{found} {missing} {named} takes; expected a number, or an entry there.")
        images = self.images_per_step(run)
        always = model["parameters"] * 1e6 * BYTES_PER_PARAMETER * COPIES_ON_GPU / 1e9
        share = measured["images_per_step"] / measured["gpus"]
        per_image = (model["memory_gb"] - always) / share * self._relative_pixels(run)
        room = (self.gpu["memory_gb"] * USABLE_MEMORY - always) / per_image
        for gpus in range(1, images + 1):
            if images % gpus == 0 and images / gpus <= room:
                return gpus
        where = f"the memory of a {self.costs['gpu']}, by configs/costs.yaml"
        raise InputError(f"{found} not one image of {run.name} fits into {where}; expected larger GPUs, or a number.")

    def images_per_step(self, run: Run) -> int:
        """Return how many images one step of a run has over all GPUs."""
        return recipe.images_per_step(self._recipe(run), run, self.experiment.settings)

    def epochs(self, run: Run) -> int:
        """Return how many epochs a run trains."""
        return recipe.epochs(self._recipe(run), self.experiment.settings)

    def images(self, dataset: str, split: str) -> float:
        """Return how many images a split has, by its dataset's file or its manifest; NaN if neither says so."""
        expected = self.experiment.datasets[dataset].splits[split]["expected_images"]
        manifest = self.experiment.paths.manifest(dataset)
        if expected is None and manifest.is_file():
            return Manifest.load(manifest).split(split).counts["images"]
        return math.nan if expected is None else expected

    def training_hours(self, run: Run) -> float:
        """Return the GPU-hours of training a run: hours times GPUs; 0 where its weights are fetched."""
        if run.is_released:
            return 0.0
        model, settings, measured = self.model(run), self.experiment.settings, self.costs["measured"]
        if not model:
            return math.nan
        dataset = self.experiment.datasets[run.dataset]
        images = self.images(run.dataset, dataset.train)
        images -= images / dataset.folds if dataset.folds else 0
        passes = self.epochs(run) * min(images, settings.get("images") or images)
        per_image = model["seconds_per_step"] * measured["gpus"] / measured["images_per_step"]
        return passes * per_image * self._relative_pixels(run) / self.gpu["speed"] / 3600

    def testing_hours(self, run: Run, split: str) -> float:
        """Return the GPU-hours of one pass of a run over a split, all rules together."""
        per_second = self.model(run)["images_per_second"] * self.gpu["speed"] / self._relative_pixels(run)
        images = self.images(run.dataset, split) / (self.experiment.datasets[run.dataset].folds or 1)
        return images / per_second / 3600

    def gpu_hours(self, run: Run) -> float:
        """Return the GPU-hours of training a run and of its detections on all its splits."""
        testing = (self.testing_hours(run, split) for split in self.experiment.splits_for(run))
        return self.training_hours(run) + sum(testing)

    def _relative_pixels(self, run: Run) -> float:
        """Return the size of a run's images over that of the measurements."""
        return math.prod(width_height(run.scale)) / math.prod(width_height(self.costs["measured"]["scale"]))
