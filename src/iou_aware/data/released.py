"""Released weights: backbones', and whole models of MMDetection with the AP that they are said to have.

They are fetched once, on a machine that has a network, for machines that have not. Both publishers, PyTorch and
OpenMMLab, end a file's name with the first digits of its SHA-256, which is held against what arrives. A config in
``configs/detectors/zoo`` names MMDetection's config for each backbone; the rest is in the metafile that MMDetection
ships beside its configs, and is not written down a second time.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from iou_aware.common import assignments
from iou_aware.common.documents import one_of
from iou_aware.common.messages import InputError

ADDRESS = re.compile(r"https?://.*-(?P<digits>[0-9a-f]{8,64})\.pth")
# The former is the publisher, the latter has the same files at the same path.
MIRRORS = {"https://download.openmmlab.com/": "https://mmassets.onedl.ai/"}


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


def checked(address: str, where: str) -> str:
    """Return an address, or raise InputError about ``where`` it stands if it has no checksum."""
    if not ADDRESS.fullmatch(address):
        raise InputError(
            f"{where}: found {address!r}, expected an address that ends in -DIGITS.pth, the first digits of the file's "
            "sha256."
        )
    return address


def fetch(address: str, target: Path) -> None:
    """Fetch a file of weights from its publisher or a mirror, unless it is there.

    Args:
        address: What ``checked`` has let pass.
        target: Where to store it.

    Raises:
        InputError: It cannot be had, or what arrives is another file, which is not kept.
    """
    from iou_aware.data.download import download  # whose libraries are slow to import; the workflow fetches nothing

    mirrors = [address.replace(start, mirror, 1) for start, mirror in MIRRORS.items() if address.startswith(start)]
    download([address, *mirrors], target, f"sha256:{ADDRESS.fullmatch(address)['digits']}")


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
    address = checked(str(entry.get("Weights")), f"{where}, Weights")
    return Released(name, config, address, _box_ap(entry, where))


def _box_ap(entry: dict[str, Any], where: str) -> float:
    for result in entry.get("Results") or []:
        if result.get("Task") == "Object Detection" and "box AP" in result.get("Metrics", {}):
            return float(result["Metrics"]["box AP"])
    raise InputError(f"{where}, Results: no box AP, which ours is to be held against")
