"""The files of resamples, and how they are read."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from pyarrow import ArrowException

from iou_aware.common.errors import InputError

# A part of a sum: a factor, and the file of resamples, rule and metric that it multiplies.
Term = tuple[float, Path, str, str]


def load(path: Path) -> pd.DataFrame | None:
    """Return what ``resample`` wrote to ``path``: a row per rule and resample, a column per metric; None before it has.

    The provenance is in the frame's ``attrs``. A file is read once.

    Raises:
        InputError: It is not such a file.
    """
    if not path.is_file():
        return None
    status = path.stat()
    # The clock of a file system ticks slowly; whatever is renamed to this path is another file at least.
    return _load(path, (status.st_mtime_ns, status.st_ino, status.st_size))


@lru_cache(maxsize=64)
def _load(path: Path, version: tuple[int, ...]) -> pd.DataFrame:
    try:
        table = pq.read_table(path)
        frame = table.to_pandas()
        frame.attrs = json.loads(table.schema.metadata[b"provenance"])
        frame["rule"]
    except (ArrowException, OSError, ValueError, KeyError, TypeError) as fault:
        raise InputError(
            f"{path}: expected a file that `iou-aware bootstrap` wrote ({type(fault).__name__}). Run it again."
        ) from fault
    return frame


def columns(sums: Sequence[Sequence[Term]]) -> np.ndarray | None:
    """Return ``(B, K)``, each of K sums in each resample; None if one of the terms is not resampled.

    Raises:
        InputError: The images were not drawn alike for all terms, so that their differences are not paired.
    """
    frames: dict[Path, pd.DataFrame] = {}
    for path in dict.fromkeys(path for _, path, *_ in chain(*sums)):
        frame = load(path)
        if frame is None:
            return None
        frames[path] = frame
        _check_paired(frames)
    drawn = []
    for factor, path, rule, metric in chain(*sums):
        mine = frames[path]["rule"] == rule
        if metric not in frames[path] or not mine.any():
            return None
        drawn.append(factor * frames[path].loc[mine, metric].to_numpy())
    starts = np.cumsum([0, *map(len, sums)])[:-1]
    return np.add.reduceat(np.stack(drawn, 1), starts, axis=1)


def _check_paired(frames: Mapping[Path, pd.DataFrame]) -> None:
    """Raise InputError unless the images of the last frame were drawn as those of the others.

    Folds of cross-validation are other images, drawn from another seed.
    """
    last = next(reversed(frames))
    for first in frames:
        attributes = [frames[path].attrs for path in (first, last)]
        differ = [
            key for key in ("resamples", "annotations_sha256", "seed") if len({one[key] for one in attributes}) > 1
        ]
        if differ and differ != ["annotations_sha256", "seed"]:
            key, values = differ[0], [one[differ[0]] for one in attributes]
            raise InputError(
                f"{first} and {last} cannot be compared: their {key} are {values[0]} and {values[1]}."
                " Run `iou-aware bootstrap` again for both."
            )
