"""Backbones' ImageNet weights: a config in ``configs/backbones`` names the address that they are published at."""

import logging
from pathlib import Path

from iou_aware.common import assignments
from iou_aware.common.errors import InputError
from iou_aware.common.files import sha256, write_json
from iou_aware.data import released
from iou_aware.experiment.experiment import Experiment

logger = logging.getLogger(__name__)


def address(config: Path) -> str | None:
    """Return where a backbone's weights are published; None for a backbone that is trained from scratch.

    Args:
        config: the backbone's file in ``configs/backbones``.

    Raises:
        InputError: the file is missing or broken, or names an address without a checksum.
    """
    init = assignments.read(config).get("model", {}).get("backbone", {}).get("init_cfg") or {}
    found = init.get("checkpoint")
    return None if found is None else released.checked(found, f"{config}, model.backbone.init_cfg.checkpoint")


def fetch(experiment: Experiment, backbone: str) -> None:
    """Fetch a backbone's weights to where trainings look for them, unless they are there, and write their receipt.

    Args:
        experiment: The study.
        backbone: A file of ``configs/backbones``, without ``.py``.

    Raises:
        InputError: The backbone has none, or they cannot be had.
    """
    config, target = experiment.paths.backbone(backbone), experiment.paths.pretrained(backbone)
    url = address(config)
    if url is None:
        raise InputError(f"{config}: this backbone is trained from scratch; there is nothing to fetch.")
    released.fetch(url, target)
    write_json(experiment.paths.receipt(backbone), {"address": url, "sha256": sha256(target)})
    logger.info("%s: weights of %s", target, backbone)


def require(experiment: Experiment, backbone: str) -> None:
    """Raise InputError unless a backbone's weights are there, or it has none."""
    file = experiment.paths.pretrained(backbone)
    if not file.is_file() and address(experiment.paths.backbone(backbone)):
        raise InputError(
            f"{file}: the ImageNet weights of {backbone} are not there; run `iou-aware backbone EXPERIMENT {backbone}`"
            " where there is a network."
        )
