"""Models that MMDetection has released: their config, where their weights are, and the AP that they are said to have.

A config in ``configs/detectors/zoo`` names MMDetection's config for each backbone. The rest is in the metafile that
MMDetection ships beside its configs, and is not written down a second time.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from iou_aware.common import assignments
from iou_aware.common.documents import one_of
from iou_aware.common.errors import InputError
from iou_aware.data import published


@dataclass(frozen=True)
class Released:
    """A released model.

    Attributes:
        name: its config as written, ``mmdet::retinanet/retinanet_r50_fpn_1x_coco.py``.
        config: the file that this names.
        address: where its weights are published.
        box_ap: its AP on COCO val2017 in percent, as published: rounded to one decimal.
    """

    name: str
    config: Path
    address: str
    box_ap: float


def origin(detector: Path, backbone: str) -> str:
    """Return the name of the config that a model was released with.

    Args:
        detector: the detector's file in ``configs/detectors/zoo``.
        backbone: a file of ``configs/backbones``, without ``.py``.

    Raises:
        InputError: the file is broken, or knows of no release with this backbone.
    """
    known = assignments.read(detector).get("released", {})
    if backbone not in known:
        raise InputError(f"{detector}, released: no {backbone!r}; expected {one_of(known, backbone)}")
    return known[backbone]


def find(detector: Path, backbone: str) -> Released:
    """Return what is published of a detector with a backbone.

    Raises:
        InputError: as ``origin``; or the metafile is missing or damaged, or does not have the config, its weights or
            its AP.
    """
    name = origin(detector, backbone)
    config = assignments.place(detector, name)
    metafile = config.with_name("metafile.yml")
    try:
        models = yaml.safe_load(metafile.read_text(encoding="utf-8"))["Models"]
        entry = next((model for model in models if Path(model["Config"]).name == config.name), None)
    except (OSError, yaml.YAMLError, KeyError, TypeError) as fault:
        raise InputError(f"{metafile}: expected MMDetection's list of released models ({fault!r})") from fault
    if entry is None:
        raise InputError(f"{metafile}: no model with the Config {config.name}, which {detector} names")
    where = f"{metafile}, {entry.get('Name', config.name)}"
    address = published.checked(str(entry.get("Weights")), f"{where}, Weights")
    return Released(name, config, address, _box_ap(entry, where))


def _box_ap(entry: dict[str, Any], where: str) -> float:
    for result in entry.get("Results") or []:
        if result.get("Task") == "Object Detection" and "box AP" in result.get("Metrics", {}):
            return float(result["Metrics"]["box AP"])
    raise InputError(f"{where}, Results: no box AP, which ours is to be held against")
