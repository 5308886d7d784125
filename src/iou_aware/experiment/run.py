"""A run: one model to train or to fetch, and the grids of them that an experiment writes down."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from iou_aware.common.documents import Document, one_of
from iou_aware.experiment.layout import Layout
from iou_aware.method.confidence import Rule

BASELINE_RULE = Rule("cls")
# The recipe of runs that are not trained: their weights were released by others and are fetched.
RELEASED = "zoo"
IOU_FIELDS = ("iou_loss", "target_grad")
_IOU_AWARE = "iou_aware_"


@dataclass(frozen=True)
class Run:
    """One model: a detector on a dataset at an image scale, with a seed.

    Attributes:
        dataset: name of a file in ``configs/datasets``.
        detector: name of a file in ``configs/detectors/<recipe>``.
        backbone: name of a file in ``configs/backbones``.
        recipe: how it is trained; name of a file in ``configs/schedules``. The recipe ``zoo`` trains nothing.
        scale: size that images are resized to, ``WIDTHxHEIGHT`` in pixels.
        seed: seed of weights, data order and augmentation.
        iou_loss: loss of the IoU prediction head, ``bce``, ``l2`` or ``l1``; None for a detector without that head.
        target_grad: whether the IoU loss also moves the boxes through its target; None likewise.
    """

    dataset: str
    detector: str
    backbone: str
    recipe: str
    scale: str
    seed: int
    iou_loss: str | None = None
    target_grad: bool | None = None

    @property
    def name(self) -> str:
        """The run's name, which tells it from every other: ``micro-coco.retinanet.micro_r50.micro.96x96.seed0``."""
        head = [] if self.iou_loss is None else [f"{self.iou_loss}-grad" if self.target_grad else self.iou_loss]
        parts = [self.dataset, self.detector, self.backbone, *head, self.recipe, self.scale, f"seed{self.seed}"]
        return ".".join(parts)

    @property
    def is_iou_aware(self) -> bool:
        """Whether the detector predicts IoU, so that there is more than one way to compute confidence."""
        return is_iou_aware(self.detector)

    @property
    def baseline(self) -> "Run | None":
        """The run that differs from an IoU-aware one in nothing but the IoU head; None for one without that head."""
        if not self.is_iou_aware:
            return None
        return replace(self, detector=self.detector.removeprefix(_IOU_AWARE), iou_loss=None, target_grad=None)

    @property
    def is_released(self) -> bool:
        """Whether its weights are fetched and not trained."""
        return self.recipe == RELEASED

    @property
    def width_height(self) -> tuple[int, int]:
        """The scale as numbers: ``(1333, 800)``."""
        width, height = self.scale.split("x")
        return int(width), int(height)

    def title(self, apart: str = ", ") -> str:
        """Return what tells it from others of its kind; ``apart`` stands between the model and how it was trained."""
        loss = f"{self.iou_loss}{' with target gradient' if self.target_grad else ''}, " if self.iou_loss else ""
        return f"{self.dataset}, {self.backbone}{apart}{loss}{self.scale}, seed {self.seed}"

    def as_dict(self) -> dict[str, Any]:
        """Return the run's fields by name."""
        return asdict(self)


FIELDS = tuple(field.name for field in fields(Run))


def is_iou_aware(detector: str) -> bool:
    """Say whether a detector, by its name, predicts IoU."""
    return detector.startswith(_IOU_AWARE)


def matched_pairs(runs: Mapping[str, Run]) -> list[tuple[str, str]]:
    """Return the names of the IoU-aware runs among ``runs``, each with its baseline, where that is among them too."""
    known = [(name, run.baseline.name) for name, run in runs.items() if run.baseline]
    return [(name, baseline) for name, baseline in known if baseline in runs]


def grid(entry: dict[str, Any], defaults: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Multiply out the lists of one entry of ``runs`` over the experiment's defaults.

    The fields of the IoU head are left out for detectors without it when they come from the defaults, and kept when
    the entry itself has them, which is a mistake for the caller to report.

    Yields:
        The fields of one run, in the order of ``FIELDS``; those given nowhere are absent.
    """
    given = defaults | entry
    axes = [[(name, value) for value in _listed(given[name])] for name in FIELDS if name in given]
    for combination in itertools.product(*axes):
        values = dict(combination)
        if not is_iou_aware(values.get("detector", "")):
            values = {name: value for name, value in values.items() if name not in IOU_FIELDS or name in entry}
        yield values


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def read_runs(document: Document, paths: Layout) -> dict[str, Run]:
    """Return the runs of an experiment by name: its grids multiplied out, every value checked, equal runs merged.

    Raises:
        InputError: naming the entry whose value is missing, has no file, or does not fit the detector.
    """
    runs: dict[str, Run] = {}
    checker = _Checker(document, paths)
    for i, entry in enumerate(document.content["runs"]):
        for values in grid(entry, document.content["defaults"]):
            checker.check(i, entry, values)
            run = Run(**values)
            runs[run.name] = run
    return runs


class _Checker:
    """Checks the fields of runs against each other and against the files that exist, looking at each folder once."""

    def __init__(self, document: Document, paths: Layout):
        self.document = document
        self.paths = paths
        self.folders: dict[Path, list[str]] = {}

    def check(self, i: int, entry: dict[str, Any], values: dict[str, Any]) -> None:
        """Raise InputError about entry ``i`` of ``runs`` unless ``values`` make a run."""
        for name in FIELDS:
            if name not in values and name not in IOU_FIELDS:
                raise self.document.error(("runs", i), f"{name} is missing; give it here or in defaults")
        self._check_file(i, entry, "dataset", self.paths.dataset(values["dataset"]), "dataset")
        self._check_file(i, entry, "recipe", self.paths.schedule(values["recipe"]), "recipe")
        detector = self.paths.detector(values["recipe"], values["detector"])
        self._check_file(i, entry, "detector", detector, f"detector under the recipe {values['recipe']}")
        self._check_file(i, entry, "backbone", self.paths.backbone(values["backbone"]), "backbone")
        self._check_head(i, entry, values)

    def _check_file(self, i: int, entry: dict[str, Any], name: str, file: Path, what: str) -> None:
        if file.parent not in self.folders:
            self.folders[file.parent] = sorted(found.stem for found in file.parent.glob(f"*{file.suffix}"))
        known = self.folders[file.parent]
        if file.stem not in known:
            key = ("runs", i, name) if name in entry else ("defaults", name)
            raise self.document.error(
                key, f"unknown {what} {file.stem!r}: there is no {file}; expected {one_of(known, file.stem)}"
            )

    def _check_head(self, i: int, entry: dict[str, Any], values: dict[str, Any]) -> None:
        detector = values["detector"]
        if is_iou_aware(detector):
            for name in IOU_FIELDS:
                if name not in values:
                    raise self.document.error(("runs", i), f"{name} is missing, which the detector {detector} needs")
            return
        for name in (*IOU_FIELDS, "rules"):
            if name in values or name in entry:
                raise self.document.error(
                    ("runs", i, name),
                    f"the detector {detector} has no IoU head; expected {name} only where every detector of the entry"
                    " has one. Split the entry in two",
                )
