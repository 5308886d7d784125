"""A run: one model to train or to fetch, and the grids of them that an experiment writes down."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from iou_aware.common.documents import Document, Key, names_beside, require
from iou_aware.common.messages import InputError
from iou_aware.experiment.layout import Layout
from iou_aware.method.confidence import Rule

BASELINE_RULE = Rule("cls")
# Among a run's own rules: an oracle with every alpha of the experiment.
EVERY_ORACLE = "oracle=*"
# The recipe of runs that are not trained: their weights were released by others and are fetched.
RELEASED = "zoo"
IOU_FIELDS = ("iou_loss", "target_grad")
# The names of detectors that predict IoUs begin so, and go on with that of their baseline.
IOU_AWARE = "iou_aware_"


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
        return self.detector.startswith(IOU_AWARE)

    @property
    def baseline(self) -> "Run | None":
        """The run that differs from an IoU-aware one in nothing but the IoU head; None for one without that head."""
        if not self.is_iou_aware:
            return None
        return replace(self, detector=self.detector.removeprefix(IOU_AWARE), iou_loss=None, target_grad=None)

    @property
    def model(self) -> str:
        """The detector as a picture names it."""
        return "RetinaNet" if self.detector == "retinanet" else _word("detector", self.detector)

    @property
    def is_released(self) -> bool:
        """Whether its weights are fetched and not trained."""
        return self.recipe == RELEASED

    def title(self, apart: str = ", ") -> str:
        """Return its description for people; ``apart`` separates the model from how it was trained."""
        loss = f"{self.iou_loss}{' with target gradient' if self.target_grad else ''}, " if self.iou_loss else ""
        return f"{self.dataset}, {self.backbone}{apart}{loss}{self.scale}, seed {self.seed}"

    def as_dict(self) -> dict[str, Any]:
        """Return the run's fields by name."""
        return asdict(self)


FIELDS = tuple(field.name for field in fields(Run))


def width_height(scale: str) -> tuple[int, int]:
    """Return the numbers of a scale, such as ``1333x800``, in pixels."""
    width, height = scale.split("x")
    return int(width), int(height)


def matched_pairs(runs: Mapping[str, Run]) -> list[tuple[str, str]]:
    """Return the names of the IoU-aware runs among ``runs``, each with its baseline, where that is among them too."""
    known = [(name, run.baseline.name) for name, run in runs.items() if run.baseline]
    return [(name, baseline) for name, baseline in known if baseline in runs]


def short_names(runs: Iterable[Run]) -> dict[str, str]:
    """Return for each run, by its name, the fields in which it differs from the others, in words."""
    fields = {run.name: {name: _word(name, value) for name, value in run.as_dict().items()} for run in runs}
    values = {name: {one[name] for one in fields.values()} - {""} for name in FIELDS}
    differing = [name for name in FIELDS if len(values[name]) > (name != "target_grad")]
    return {run: ", ".join(filter(None, map(one.get, differing))) or one["detector"] for run, one in fields.items()}


def _word(name: str, value: str | int | bool | None) -> str:
    """Return a field as a legend has it; empty for a value that is None or False."""
    if value is None or value is False:
        return ""
    return {"target_grad": "target gradient", "seed": f"seed {value}"}.get(name, str(value).replace("_", " "))


def read_runs(
    document: Document, paths: Layout, rules: Sequence[Rule]
) -> tuple[dict[str, Run], dict[str, tuple[Rule, ...]]]:
    """Return an experiment's runs, and the rules of each, by name; grids multiplied out, equal runs merged.

    Args:
        document: the experiment's YAML, which follows its schema.
        paths: where files lie.
        rules: the experiment's rules.

    Raises:
        InputError: naming the entry whose value is missing, has no file, or does not fit the detector.
    """
    runs: dict[str, Run] = {}
    rules_by_run: dict[str, dict[Rule, None]] = {}
    for i, entry in enumerate(document.content["runs"]):
        further = read_rules(document, ("runs", i, "rules"), entry.get("rules", ()), rules)
        for values in _grid(entry, document.content["defaults"]):
            _check(document, paths, i, values)
            run = Run(**values)
            runs[run.name] = run
            mine = (*rules, *further) if run.is_iou_aware else (BASELINE_RULE,)
            rules_by_run.setdefault(run.name, {}).update(dict.fromkeys(mine))
    return runs, {name: tuple(mine) for name, mine in rules_by_run.items()}


def read_rules(document: Document, key: Key, texts: Iterable[str], known: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """Return the rules at ``key``, each valid; equal ones merged.

    ``oracle=*`` means an oracle for every alpha among the ``known`` rules.
    """
    oracles = [f"oracle={rule.alpha}" for rule in known if rule.kind == "alpha"]
    places = [((*key, i), one) for i, text in enumerate(texts) for one in (oracles if text == EVERY_ORACLE else [text])]
    return tuple(dict.fromkeys(read_rule(document, place, one) for place, one in places))


def read_rule(document: Document, key: Key, text: str) -> Rule:
    """Return the rule at a key, or raise InputError about the key."""
    try:
        return Rule(text)
    except InputError as fault:
        raise document.error(key, str(fault)) from fault


def _grid(entry: dict[str, Any], defaults: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Multiply out the lists of one entry of ``runs`` over the experiment's defaults.

    The fields of the IoU head are left out for detectors without it when they come from the defaults, and kept when
    the entry itself has them, which is an error that the caller reports.

    Yields:
        The fields of one run, in the order of ``FIELDS``; those given nowhere are absent.
    """
    given = {name: value if isinstance(value, list) else [value] for name, value in (defaults | entry).items()}
    names = [name for name in FIELDS if name in given]
    for combination in itertools.product(*(given[name] for name in names)):
        values = dict(zip(names, combination, strict=True))
        if not values.get("detector", "").startswith(IOU_AWARE):
            values = {name: value for name, value in values.items() if name not in IOU_FIELDS or name in entry}
        yield values


def _check(document: Document, paths: Layout, i: int, values: Mapping[str, Any]) -> None:
    """Raise InputError about entry ``i`` of ``runs`` unless ``values`` make a run, of files that exist."""
    entry = document.content["runs"][i]
    aware = values.get("detector", "").startswith(IOU_AWARE)
    for name in FIELDS:
        if name not in values and (aware or name not in IOU_FIELDS):
            raise document.error(("runs", i), f"{name} is missing; give it here or in defaults")
    files = {
        "dataset": paths.dataset(values["dataset"]),
        "recipe": paths.schedule(values["recipe"]),
        "detector": paths.detector(values["recipe"], values["detector"]),
        "backbone": paths.backbone(values["backbone"]),
    }
    for name, file in files.items():
        key = ("runs", i, name) if name in entry else ("defaults", name)
        require(document, key, file.stem, names_beside(file), f"{name}, the name of a file in {file.parent},")
    for name in () if aware else (*IOU_FIELDS, "rules"):
        if name in values or name in entry:
            told = f"{values['detector']} has no IoU head; expected {name} only where all detectors have one"
            raise document.error(("runs", i, name), told)
