"""The files of resamples: which metrics they have, how often images are drawn, and how they are read."""

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from iou_aware.common.errors import InputError
from iou_aware.evaluation.coco import THRESHOLDS

RESAMPLES = 1000
SEED = 0
METRICS = ("AP", *(f"AP{round(100 * threshold)}" for threshold in THRESHOLDS), "APs", "APm", "APl")
# Of confidence with IoU, over the true positives at an IoU of one half.
CORRELATIONS = ("spearman", "pearson")


class Resamples:
    """The metrics of one run on one split in every resample, as ``resample`` wrote them."""

    def __init__(self, path: Path):
        """Read ``path``; InputError if it is not such a file."""
        self.path = path
        table = pq.read_table(path)
        if b"provenance" not in (table.schema.metadata or {}) or "rule" not in table.column_names:
            raise InputError(f"{path}: expected a file that `iou-aware bootstrap` wrote. Run it again.")
        self.about = json.loads(table.schema.metadata[b"provenance"])
        self._frame = table.to_pandas()

    def values(self, rule: str, metric: str) -> np.ndarray | None:
        """Return ``(B,)`` percent, or None for a rule or metric that was not resampled."""
        if metric not in (*METRICS, *CORRELATIONS):
            return None
        values = self._frame.loc[self._frame["rule"] == rule, metric].to_numpy()
        return values if len(values) else None

    def check_paired(self, other: "Resamples") -> None:
        """Raise InputError unless the images of ``other`` were drawn alike, so that differences are paired."""
        for key in ("annotations_sha256", "resamples", "seed", "images"):
            if self.about[key] != other.about[key]:
                raise InputError(
                    f"{self.path} and {other.path} cannot be compared: their {key} are {self.about[key]} and"
                    f" {other.about[key]}. Run `iou-aware bootstrap` again for both."
                )


@lru_cache(maxsize=64)
def _load(path: Path, version: tuple[int, ...]) -> Resamples:
    return Resamples(path)


def load(path: Path) -> Resamples | None:
    """Return the resamples at ``path``, read once; None when there are none yet."""
    if not path.is_file():
        return None
    status = path.stat()
    # The clock of a file system ticks slowly; whatever is renamed to this path is another file at least.
    return _load(path, (status.st_mtime_ns, status.st_ino, status.st_size))


def combined(terms: Iterable[tuple[float, Path, str, str]]) -> np.ndarray | None:
    """Return ``(B,)``, a sum over terms (factor, file of resamples, rule, metric); None if one is not resampled.

    Raises:
        InputError: The terms are about different images.
    """
    drawn = columns(terms)
    return None if drawn is None else drawn.sum(1)


def columns(terms: Iterable[tuple[float, Path, str, str]]) -> np.ndarray | None:
    """Return ``(B, T)``, each of T terms of ``combined`` in each resample; None if one is not resampled."""
    found, first = [], None
    for factor, path, rule, metric in terms:
        resamples = load(path)
        values = None if resamples is None else resamples.values(rule, metric)
        if resamples is None or values is None:
            return None
        first = first or resamples
        first.check_paired(resamples)
        found.append(factor * values)
    return np.stack(found, 1)
