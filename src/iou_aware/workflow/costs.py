"""What a run costs before it has run: published measurements, scaled to its images, pixels and GPUs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from iou_aware.common import documents
from iou_aware.data.manifest import Manifest
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.recipe import Recipe
from iou_aware.experiment.run import Run
from iou_aware.workflow import packs

SECONDS_PER_HOUR = 3600
BYTES_PER_PARAMETER = 4
# A checkpoint has the weights and SGD's momentum; one stays beside the weights of a finished run.
COPIES_KEPT = 3
# Released weights are kept as they were fetched, for other experiments.
COPIES_FETCHED = 2
# One row of the detections: image, rule, class, box, confidence and its two factors, as Parquet packs them.
BYTES_PER_DETECTION = 24
DETECTIONS_PER_IMAGE = 100


@dataclass(frozen=True)
class Costs:
    """The published measurements, from ``configs/costs.yaml``.

    Attributes:
        source: where they were published.
        gpu: the GPU that they were measured on.
        speed: how many times as fast as that GPU those at hand are.
        measured: the conditions: ``images_per_step``, ``gpus``, ``scale``.
        models: a model's measurements by detector and backbone.
        alike: detectors that cost what another does.
        datasets: GB on disk by dataset.
    """

    source: str
    gpu: str
    speed: float
    measured: Mapping[str, Any]
    models: Mapping[tuple[str, str], Mapping[str, float]]
    alike: Mapping[str, str]
    datasets: Mapping[str, float]

    @staticmethod
    def load(configs: Path) -> "Costs":
        """Read ``costs.yaml`` in the folder ``configs``.

        Raises:
            InputError: it is missing, or does not follow its schema.
        """
        content = documents.load(configs / "costs.yaml", "costs")
        return Costs(
            source=content["source"],
            gpu=content["gpu"],
            speed=content["speed"],
            measured=content["measured"],
            models={(model["detector"], model["backbone"]): model for model in content["models"]},
            alike=content["as"],
            datasets=content["datasets"],
        )

    def model(self, run: Run) -> Mapping[str, float] | None:
        """Return the measurements of a run's model; None where none were published."""
        return self.models.get((self.alike.get(run.detector, run.detector), run.backbone))

    def relative_pixels(self, run: Run) -> float:
        """Return the size of a run's images over that of the measurements."""
        return _pixels(run.scale) / _pixels(self.measured["scale"])


class Estimates:
    """What the runs of an experiment cost; None where nothing is known to reckon from.

    Args:
        experiment: The study.
        costs: The published measurements; by default those of ``configs/costs.yaml``.
    """

    def __init__(self, experiment: Experiment, costs: Costs | None = None):
        self.experiment = experiment
        self.costs = costs or Costs.load(experiment.paths.configs)
        self._recipes: dict[str, Recipe] = {}
        self._images: dict[tuple[str, str], int | None] = {}

    @cached_property
    def gpus(self) -> int:
        """GPUs that one training has; 1 where the experiment does not say."""
        return self.experiment.settings.get("gpus") or 1

    def recipe(self, run: Run) -> Recipe:
        """Return a run's recipe."""
        if run.recipe not in self._recipes:
            self._recipes[run.recipe] = Recipe.load(self.experiment.paths.schedule(run.recipe))
        return self._recipes[run.recipe]

    def images(self, dataset: str, split: str) -> int | None:
        """Return how many images a split has: those that its dataset's file promises, or that were prepared."""
        if (dataset, split) not in self._images:
            expected = self.experiment.datasets[dataset].splits[split].expected_images
            manifest = self.experiment.paths.manifest(dataset)
            if expected is None and manifest.is_file():
                expected = Manifest.load(manifest).split(split).counts["images"]
            self._images[dataset, split] = expected
        return self._images[dataset, split]

    def training_hours(self, run: Run) -> float | None:
        """Return the GPU-hours of training a run: hours times GPUs; none where its weights are fetched."""
        if run.is_released:
            return 0.0
        model = self.costs.model(run)
        images = self.images(run.dataset, self.experiment.datasets[run.dataset].train)
        if model is None or images is None:
            return None
        settings, measured = self.experiment.settings, self.costs.measured
        passes = self.recipe(run).passes(settings) * min(images, settings.get("images") or images)
        per_image = model["seconds_per_step"] * measured["gpus"] / measured["images_per_step"]
        return passes * per_image * self.costs.relative_pixels(run) / self.costs.speed / SECONDS_PER_HOUR

    def testing_hours(self, run: Run, split: str) -> float | None:
        """Return the GPU-hours of one pass of a run over a split, all rules together."""
        model, images = self.costs.model(run), self.images(run.dataset, split)
        if model is None or images is None:
            return None
        per_second = model["images_per_second"] * self.costs.speed / self.costs.relative_pixels(run)
        return images / per_second / SECONDS_PER_HOUR

    def gpu_hours(self, run: Run) -> float | None:
        """Return the GPU-hours of training a run and of its detections on all its splits."""
        splits = packs.predicted(self.experiment, run)
        parts = [self.training_hours(run), *(self.testing_hours(run, split) for split in splits)]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    def gigabytes(self, run: Run) -> float | None:
        """Return the disk that a finished run takes: weights, one checkpoint, detections under every rule."""
        model = self.costs.model(run)
        counts = [self.images(run.dataset, split) for split in packs.predicted(self.experiment, run)]
        if model is None or None in counts:
            return None
        copies = COPIES_FETCHED if run.is_released else COPIES_KEPT
        weights = model["parameters"] * 1e6 * BYTES_PER_PARAMETER * copies
        rows = sum(filter(None, counts)) * DETECTIONS_PER_IMAGE * len(self.experiment.rules_for(run))
        return (weights + rows * BYTES_PER_DETECTION) / 1e9


def _pixels(scale: str) -> int:
    width, height = scale.split("x")
    return int(width) * int(height)
