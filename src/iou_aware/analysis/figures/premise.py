"""The figures of the premise: how confidence and IoU lie, how they correlate, whether the predicted IoU is true."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from iou_aware.analysis import style
from iou_aware.analysis.premise.measure import BINS, load_premise
from iou_aware.evaluation.overlaps import MATCHED
from iou_aware.experiment.run import BASELINE_RULE, Run, matched_pairs
from iou_aware.method.confidence import Rule

_SHOWN = ("alpha=1.00", "alpha=0.50")
_COLUMNS = 3
_NARROWEST, _LEGEND = 3.4, 0.4  # inches


def draw_premise(folder: Path, runs: Mapping[str, Run], rules: Sequence[str]) -> Iterable[tuple[str, Figure]]:
    """Yield ``premise_correlations``, ``premise_density`` and ``premise_reliability``; none without their data.

    Args:
        folder: What the stage ``premise`` wrote.
        runs: The experiment's runs by name.
        rules: Its rules.
    """
    frames = load_premise(folder)
    measured = set() if frames is None else set(frames["density"]["run"])  # which have detected something
    pairs = matched_pairs({name: run for name, run in runs.items() if name in measured})
    if pairs:
        yield "premise_correlations", _correlations(runs, frames["correlations"], pairs)
        yield "premise_density", _density(runs, rules, frames["density"], frames["correlations"], pairs)
        yield "premise_reliability", _reliability(runs, rules, frames["reliability"], pairs)


def _grid(count: int, height: float) -> tuple[Figure, Sequence[Axes]]:
    rows, columns = -(-count // _COLUMNS), min(count, _COLUMNS)
    size = (max(style.WIDTH * columns / _COLUMNS, _NARROWEST), height * rows + _LEGEND)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharex=True, sharey=True)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return figure, axes.flat[:count]


def _correlations(runs: Mapping[str, Run], table: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> Figure:
    """Draw Spearman's correlation with IoU against alpha, the baseline's score as a level line."""
    figure, axes = _grid(len(pairs), style.PANEL)
    shown = table[(table["score"] == "confidence") & (table["boxes"] == "found")]
    for ax, (name, baseline) in zip(axes, pairs, strict=True):
        mine = shown[shown["run"] == name]
        rules = [Rule(rule) for rule in mine["rule"]]
        points = sorted((r.alpha, s) for r, s in zip(rules, mine["spearman"], strict=True) if r.kind == "alpha")
        style.plot(ax, points, label="IoU-aware", **style.series(0) | style.OURS)
        level = shown[(shown["run"] == baseline) & (shown["rule"] == BASELINE_RULE)]["spearman"]
        ax.axhline(level.iloc[0], color=style.COLOURS[1], linestyle=(0, (3, 2)), label="RetinaNet, score alone")
        ax.set_title(runs[name].title("\n"), fontsize=7)
    figure.supxlabel("α", fontsize="medium")
    figure.supylabel("rank correlation with IoU (Spearman)", fontsize="medium")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _density(
    runs: Mapping[str, Run],
    rules: Sequence[str],
    table: pd.DataFrame,
    correlations: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
) -> Figure:
    """Draw how often each confidence meets each IoU: the baseline, then the IoU-aware run under a few rules.

    Of every dataset its first pair is shown; the others have their numbers in ``density.csv``.
    """
    columns = [None, *([rule for rule in _SHOWN if rule in rules] or rules[:1])]
    first = {runs[name].dataset: (name, baseline) for name, baseline in reversed(pairs)}
    shown = [pair for pair in pairs if pair in first.values()]
    size = (style.WIDTH, 2.1 * len(shown) + _LEGEND)
    figure, axes = plt.subplots(len(shown), len(columns), figsize=size, squeeze=False, sharex=True, sharey=True)
    norm = LogNorm(1, max(table["detections"].max(), 2))
    for line, (name, baseline) in zip(axes, shown, strict=True):
        for ax, rule in zip(line, columns, strict=True):
            run, ranked = (baseline, BASELINE_RULE) if rule is None else (name, rule)
            drawn = _heat(ax, table[(table["run"] == run) & (table["rule"] == ranked)], norm)
            about = correlations[(correlations["run"] == run) & (correlations["rule"] == ranked)]
            spearman = about[(about["score"] == "confidence") & (about["boxes"] == "found")]["spearman"].iloc[0]
            ax.set_title(
                f"{runs[baseline].model if rule is None else f'IoU-aware, {rule}'}: ρ = {spearman:.2f}", fontsize=7
            )
        line[0].set_ylabel(runs[name].title("\n"), fontsize=6)
        line[0].set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    figure.colorbar(drawn, ax=axes, label="detections", shrink=0.8)
    figure.supxlabel("confidence", fontsize="medium")
    figure.supylabel("IoU with the nearest object of the class", fontsize="medium")
    return figure


def _heat(ax: Axes, mine: pd.DataFrame, norm: LogNorm) -> AxesImage:
    """Draw the counts, one pixel each, which "none" keeps sharp at any size; without detections the paper shows."""
    counts = np.full((BINS, BINS), np.nan)
    at = [np.rint(mine[axis] * BINS).astype(int) for axis in ("iou", "confidence")]
    counts[at[0], at[1]] = mine["detections"]
    drawn = ax.imshow(counts, norm=norm, cmap="cividis_r", origin="lower", extent=(0, 1, 0, 1), interpolation="none")
    ax.axhline(MATCHED, color="black", linewidth=0.6)
    ax.grid(visible=False)
    return drawn


def _reliability(
    runs: Mapping[str, Run], rules: Sequence[str], table: pd.DataFrame, pairs: Sequence[tuple[str, str]]
) -> Figure:
    """Draw the true IoU against the predicted one; markers grow with the number of detections."""
    figure, axes = _grid(len(pairs), style.PANEL)
    rule = next((rule for rule in reversed(_SHOWN) if rule in rules), rules[0])
    for ax, (name, _) in zip(axes, pairs, strict=True):
        mine = table[(table["run"] == name) & (table["rule"] == rule)]
        ax.plot([0, 1], [0, 1], color="#7f7f7f", linewidth=0.8, linestyle=(0, (3, 2)))
        ax.plot(mine["iou_pred"], mine["iou"], color=style.COLOURS[0], linewidth=0.8)
        share = mine["detections"] / max(mine["detections"].sum(), 1)
        ax.scatter(mine["iou_pred"], mine["iou"], s=4 + 150 * share, color=style.COLOURS[0], zorder=3)
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        ax.set_title(runs[name].title("\n"), fontsize=7)
    figure.supxlabel(f"predicted IoU ({rule})", fontsize="medium")
    figure.supylabel("true IoU (mean)", fontsize="medium")
    return figure
