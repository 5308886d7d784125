"""Weights that others have published: fetched once, on a machine that has a network, for machines that have not.

Both publishers, PyTorch and OpenMMLab, end a file's name with the first digits of its SHA-256, which is held against
what arrives.
"""

import re
from pathlib import Path

from iou_aware.common.errors import InputError
from iou_aware.data.download import Checksum, Patience, download

ADDRESS = re.compile(r"https?://.*-(?P<digits>[0-9a-f]{8,64})\.pth")
# The former is the publisher, the latter has the same files at the same path.
MIRRORS = {"https://download.openmmlab.com/": "https://mmassets.onedl.ai/"}


class Beginning(Checksum):
    """A checksum of which only the first digits are known."""

    def of(self, path: Path) -> str:
        """Return as many digits of a file's checksum as there are to compare."""
        return super().of(path)[: len(self.digits)]


def checked(address: str, where: str) -> str:
    """Return an address, or raise InputError about ``where`` it stands if it has no checksum."""
    if not ADDRESS.fullmatch(address):
        raise InputError(
            f"{where}: found {address!r}, expected an address that ends in -DIGITS.pth, the first digits of the file's "
            "sha256."
        )
    return address


def fetch(address: str, target: Path, patience: Patience | None = None) -> None:
    """Fetch a file of weights from its publisher or a mirror, unless it is there.

    Args:
        address: What ``checked`` has let pass.
        target: Where to store it.
        patience: How long to keep trying.

    Raises:
        InputError: It cannot be had, or what arrives is another file, which is not kept.
    """
    mirrors = [address.replace(start, mirror, 1) for start, mirror in MIRRORS.items() if address.startswith(start)]
    checksum = Beginning("sha256", ADDRESS.fullmatch(address)["digits"])
    download([address, *mirrors], target, checksum, patience=patience)
