"""Training curves: every loss of every run, from the runs' ``history.csv``."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from iou_aware.analysis import style
from iou_aware.common.messages import InputError
from iou_aware.experiment.run import Run, short_names

_COLUMNS = 3
# The order of the panels; what a detector has besides comes after these.
_FIRST = ("loss", "loss_cls", "loss_bbox", "loss_iou")


def draw_training(histories: Mapping[Run, Path]) -> Iterable[tuple[str, Figure]]:
    """Yield a figure for each dataset and image scale, with its name; runs without a history yet are left out.

    Raises:
        InputError: A history lacks its columns or has a value that is no number.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run, history in histories.items():
        if history.is_file():
            groups.setdefault((run.dataset, run.scale), []).append(run)
    for (dataset, scale), runs in groups.items():
        yield f"training_{dataset}_{scale}", _draw([(run, load_history(histories[run])) for run in runs])


def load_history(path: Path) -> pd.DataFrame:
    """Read a ``history.csv``: ``epoch``, ``iteration``, ``lr``, ``loss`` and its parts ``loss_...``.

    Returns:
        The table, with ``epochs``: how far training was, in epochs.

    Raises:
        InputError: The file lacks a column, or has a value that is no number.
    """
    try:
        history = pd.read_csv(path).astype(float)
        epochs = history["iteration"] * (history["epoch"].max() / history["iteration"].max())
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{path}: expected rows of numbers with epoch, iteration and loss ({error}). Run `iou-aware train` again."
        ) from error
    return history.assign(epochs=epochs)


def _draw(runs: list[tuple[Run, pd.DataFrame]]) -> Figure:
    """Draw one panel per loss and one line per run; those of a model, which differ in their seed, look alike."""
    labels = short_names(replace(run, seed=0) for run, _ in runs)
    recorded = {column for _, history in runs for column in history if column.startswith("loss")}
    losses = [loss for loss in _FIRST if loss in recorded] + sorted(recorded - set(_FIRST))
    columns = min(_COLUMNS, len(losses))
    rows = -(-len(losses) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(style.WIDTH, rows * style.PANEL), squeeze=False, sharex=True)
    looks = dict(zip(labels, cycle(zip(style.COLOURS, style.DASHES, strict=True)), strict=False))
    lines: dict[str, Line2D] = {}
    for run, history in runs:
        name = replace(run, seed=0).name
        colour, dashes = looks[name]
        for ax, loss in zip(axes.flat, losses, strict=False):
            if loss in history:
                (lines[name],) = ax.plot(history["epochs"], history[loss], color=colour, dashes=dashes)
    for ax, loss in zip(axes.flat, losses, strict=False):
        ax.set(title=loss, xlabel="epoch")
        ax.set_ylim(bottom=0)
    for ax in axes.flat[len(losses) :]:
        ax.remove()
    figure.legend(lines.values(), [labels[name] for name in lines], loc="outside lower left", ncols=2)
    return figure
