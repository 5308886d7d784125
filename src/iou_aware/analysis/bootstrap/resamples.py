"""The files of resamples, and how they are read."""

import json
from collections.abc import Sequence
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from pyarrow import ArrowException

from iou_aware.common.messages import InputError

# A part of a sum: a factor, and what it multiplies: resamples as ``load`` returns them, rule and metric.
Term = tuple[float, pd.DataFrame | None, str, str]


def load(path: Path) -> pd.DataFrame | None:
    """Return what ``resample`` wrote to ``path``: a row per rule and resample, a column per metric; None before it has.

    The provenance is in the frame's ``attrs``, and the ``path``.

    Raises:
        InputError: It is not such a file.
    """
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
        frame = table.to_pandas()
        frame.attrs = json.loads(table.schema.metadata[b"provenance"]) | {"path": str(path)}
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
    frames = [frame for _, frame, *_ in chain(*sums)]
    if any(frame is None for frame in frames):
        return None
    files = {frame.attrs["path"]: frame.attrs for frame in frames}
    for first, second in combinations(files.values(), 2):
        differ = [key for key in ("resamples", "annotations_sha256", "seed") if first[key] != second[key]]
        # Folds of cross-validation are other images, drawn from another seed.
        if differ and differ != ["annotations_sha256", "seed"]:
            key = differ[0]
            raise InputError(
                f"{first['path']} and {second['path']} cannot be compared: their {key} are {first[key]} and"
                f" {second[key]}. Run `iou-aware bootstrap` again for both."
            )
    drawn = []
    for factor, frame, rule, metric in chain(*sums):
        mine = frame["rule"] == rule
        if metric not in frame or not mine.any():
            return None
        drawn.append(factor * frame.loc[mine, metric].to_numpy())
    starts = np.cumsum([0, *map(len, sums)])[:-1]
    return np.add.reduceat(np.stack(drawn, 1), starts, axis=1)
