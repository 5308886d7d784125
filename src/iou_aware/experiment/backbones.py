"""What backbones start from: weights published at an address, a pretraining of this project's, or nothing.

A config in ``configs/backbones`` says which, as the ``checkpoint`` of the backbone's ``init_cfg``.
"""

from pathlib import Path
from typing import Any

from iou_aware.common import assignments
from iou_aware.common.files import sha256, write_json
from iou_aware.common.messages import InputError, log
from iou_aware.data import released
from iou_aware.experiment.experiment import Experiment

#: In place of an address: the settings of a pretraining are in the same config, under this name.
PRETRAINING = "pretraining"


def origin(config: Path) -> str | dict[str, Any] | None:
    """Return what a backbone starts from: an address, the settings of a pretraining, or None for random weights.

    Args:
        config: the backbone's file in ``configs/backbones``.

    Raises:
        InputError: the file is missing or broken, or names an address without a checksum.
    """
    content = assignments.read(config)
    named = (content.get("model", {}).get("backbone", {}).get("init_cfg") or {}).get("checkpoint")
    if named is None or (named == PRETRAINING and named in content):
        return named and content[PRETRAINING]
    return released.checked(named, f"{config}, model.backbone.init_cfg.checkpoint")


def is_pretrained_here(config: Path) -> bool:
    """Return whether this project pretrains a backbone rather than fetching it; ``config`` as for ``origin``."""
    return isinstance(origin(config), dict)


def fetch(experiment: Experiment, backbone: str) -> None:
    """Fetch a backbone's weights to where trainings look for them, if they are not there yet, and write their receipt.

    Args:
        experiment: The study.
        backbone: A file of ``configs/backbones``, without ``.py``.

    Raises:
        InputError: None are published, or the download fails.
    """
    config, target = experiment.paths.backbone(backbone), experiment.paths.pretrained(backbone)
    url = origin(config)
    if not isinstance(url, str):
        how = "from scratch" if url is None else "after a pretraining (`iou-aware pretrain`)"
        raise InputError(f"{config}: this backbone is trained {how}; there is nothing to fetch.")
    released.fetch(url, target)
    write_json(experiment.paths.receipt(backbone), {"address": url, "sha256": sha256(target)})
    log.info("%s: weights of %s", target, backbone)


def weights(experiment: Experiment, backbone: str) -> Path | None:
    """Return the file of weights that a backbone starts from; None for one that starts from random weights.

    Raises:
        InputError: The file does not exist.
    """
    config, file = experiment.paths.backbone(backbone), experiment.paths.pretrained(backbone)
    if origin(config) is None:
        return None
    if not file.is_file():
        command, where = ("pretrain", "") if is_pretrained_here(config) else ("backbone", " where there is a network")
        raise InputError(
            f"{file}: missing: the weights that {backbone} starts from; run `iou-aware {command} EXPERIMENT "
            f"{backbone}`{where}."
        )
    return file
