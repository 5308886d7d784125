"""Backbones' ImageNet weights: fetched once, on a machine that has a network, for trainings on machines that have not.

A config in ``configs/backbones`` names the address that they are published at. Both publishers, PyTorch and OpenMMLab,
end a file's name with the first digits of its SHA-256, which is held against what arrives.
"""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from iou_aware import assignments
from iou_aware.data.download import Checksum, Patience, download
from iou_aware.errors import InputError

if TYPE_CHECKING:
    from iou_aware.study.experiment import Experiment

logger = logging.getLogger(__name__)

ADDRESS = re.compile(r"https?://.*-(?P<digits>[0-9a-f]{8,64})\.pth")
# The former is the publisher, the latter has the same files at the same path.
MIRRORS = {"https://download.openmmlab.com/": "https://mmassets.onedl.ai/"}


class Beginning(Checksum):
    """A checksum of which only the first digits are known."""

    def of(self, path: Path) -> str:
        """Return as many digits of a file's checksum as there are to compare."""
        return super().of(path)[: len(self.digits)]


def address(config: Path) -> str | None:
    """Return where a backbone's weights are published; None for a backbone that is trained from scratch.

    Args:
        config: the backbone's file in ``configs/backbones``.

    Raises:
        InputError: the file is missing or broken, or names an address without a checksum.
    """
    init = assignments.read(config).get("model", {}).get("backbone", {}).get("init_cfg") or {}
    found = init.get("checkpoint")
    if found is None:
        return None
    if not ADDRESS.fullmatch(found):
        raise InputError(
            f"{config}, model.backbone.init_cfg.checkpoint: found {found!r}, expected an address that ends in "
            "-DIGITS.pth, the first digits of the file's sha256."
        )
    return found


def fetch(experiment: "Experiment", backbone: str, patience: Patience | None = None) -> None:
    """Fetch a backbone's weights to where trainings look for them, unless they are there.

    Args:
        experiment: The study.
        backbone: A file of ``configs/backbones``, without ``.py``.
        patience: How long to keep trying.

    Raises:
        InputError: The backbone has none, or they cannot be had.
    """
    config = experiment.paths.backbone(backbone)
    url = address(config)
    if url is None:
        raise InputError(f"{config}: this backbone is trained from scratch; there is nothing to fetch.")
    mirrors = [url.replace(start, mirror, 1) for start, mirror in MIRRORS.items() if url.startswith(start)]
    target = experiment.paths.pretrained(backbone)
    download([url, *mirrors], target, Beginning("sha256", ADDRESS.fullmatch(url)["digits"]), patience=patience)
    logger.info("%s: weights of %s", target, backbone)


def require(experiment: "Experiment", backbone: str) -> None:
    """Raise InputError unless a backbone's weights are there, or it has none."""
    file = experiment.paths.pretrained(backbone)
    if not file.is_file() and address(experiment.paths.backbone(backbone)):
        raise InputError(
            f"{file}: the ImageNet weights of {backbone} are not there; run `iou-aware backbone EXPERIMENT {backbone}`"
            " where there is a network."
        )
