"""The figures of the premise: how confidence and IoU lie, how they correlate, whether the predicted IoU is true."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
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
from iou_aware.analysis.uncertainty.quantity import Measurements
from iou_aware.evaluation.matching import MATCHED
from iou_aware.experiment.run import BASELINE_RULE, Run, matched_pairs
from iou_aware.experiment.table import Row, Table
from iou_aware.method.confidence import Rule

_SHOWN = ("alpha=1.00", "alpha=0.50")
_COLUMNS = 3
_NARROWEST, _LEGEND = 3.4, 0.4  # inches

# The runs of a model, which differ in their seed only, and those of its baseline.
Pair = tuple[tuple[str, ...], tuple[str, ...]]


def draw_premise(
    folder: Path, runs: Mapping[str, Run], rules: Sequence[str], measurements: Measurements, outer: str
) -> Iterable[tuple[str, Figure]]:
    """Yield ``premise_correlations``, ``premise_density`` and ``premise_reliability``; none without their data.

    Args:
        folder: What the stage ``premise`` wrote.
        runs: The experiment's runs by name.
        rules: Its rules.
        measurements: How sure the correlations are.
        outer: What their outer bands are.
    """
    frames = load_premise(folder)
    measured = set(frames["density"]["run"])  # which have detected something
    models: dict[Run, list[tuple[str, str]]] = {}
    for pair in matched_pairs({name: run for name, run in runs.items() if name in measured}):
        models.setdefault(replace(runs[pair[0]], seed=0), []).append(pair)
    pairs = {model: tuple(zip(*seeds, strict=True)) for model, seeds in models.items()}
    if pairs:
        yield "premise_correlations", _correlations(frames["correlations"], pairs, measurements, outer)
        yield "premise_density", _density(rules, frames["density"], frames["correlations"], pairs)
        yield "premise_reliability", _reliability(rules, frames["reliability"], pairs)


def _grid(models: Iterable[Run]) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with a panel for each model, which its title names."""
    titles = [_title(model) for model in models]
    rows, columns = -(-len(titles) // _COLUMNS), min(len(titles), _COLUMNS)
    size = (max(style.WIDTH * columns / _COLUMNS, _NARROWEST), style.PANEL * rows + _LEGEND * (2 if rows == 1 else 1))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharex=True, sharey=True)
    for ax in axes.flat[len(titles) :]:
        ax.set_visible(False)
    for ax, title in zip(axes.flat, titles, strict=False):
        ax.set_title(title, fontsize=7)
    return figure, axes.flat[: len(titles)]


def _title(model: Run) -> str:
    return model.title("\n").removesuffix(", seed 0")


def _correlations(
    correlations: pd.DataFrame, pairs: Mapping[Run, Pair], measurements: Measurements, outer: str
) -> Figure:
    """Draw Spearman's correlation with IoU against alpha, the baseline's score as a level line."""
    figure, axes = _grid(pairs)
    for ax, (names, baselines) in zip(axes, pairs.values(), strict=True):
        mine = correlations[correlations["run"] == names[0]]
        rules = [rule for rule in map(Rule, mine["rule"].unique()) if rule.kind == "alpha"]
        swept = sorted(rules, key=lambda rule: rule.alpha)
        rows = {rule: Row(rule, names, rule) for rule in swept}
        rows[BASELINE_RULE] = Row(BASELINE_RULE, baselines, BASELINE_RULE)
        table = Table("", "", mine["split"].iloc[0], rows)
        measure = partial(measurements.quantity, "spearman", table=table, paper="", noise=None)
        points = [(rule.alpha, measure([[(1.0, rule, "spearman")]])) for rule in swept]
        style.plot_measured(ax, points, label="IoU-aware", **style.series(0) | style.OURS)
        level = measure([[(1.0, BASELINE_RULE, "spearman")]])
        broken = {"color": style.COLOURS[1], "linestyle": (0, (3, 2))}
        style.plot_measured(ax, [(0.0, level), (1.0, level)], label="baseline, score alone", **broken)
    figure.supxlabel("α", fontsize="medium")
    figure.supylabel("Spearman's ρ with IoU", fontsize="medium")
    style.explain_bands(figure, axes[0], outer)
    return figure


def _density(
    rules: Sequence[str], table: pd.DataFrame, correlations: pd.DataFrame, pairs: Mapping[Run, Pair]
) -> Figure:
    """Draw how often each confidence meets each IoU: the baseline, then the IoU-aware run under a few rules.

    Of every dataset the first run of the first model is shown; the others have their numbers in ``density.csv``.
    """
    columns = [None, *([rule for rule in _SHOWN if rule in rules] or rules[:1])]
    first = {model.dataset: model for model in reversed(pairs)}
    shown = [model for model in pairs if model in first.values()]
    size = (style.WIDTH, style.WIDTH / len(columns) * len(shown) + _LEGEND)
    figure, axes = plt.subplots(len(shown), len(columns), figsize=size, squeeze=False, sharex=True, sharey=True)
    norm = LogNorm(1, max(table["detections"].max(), 2))
    for line, model in zip(axes, shown, strict=True):
        for ax, rule in zip(line, columns, strict=True):
            (name, *_), (baseline, *_) = pairs[model]
            run, ranked = (baseline, BASELINE_RULE) if rule is None else (name, rule)
            drawn = _heat(ax, table[(table["run"] == run) & (table["rule"] == ranked)], norm)
            about = correlations[(correlations["run"] == run) & (correlations["rule"] == ranked)]
            spearman = about[(about["score"] == "confidence") & (about["boxes"] == "found")]["spearman"].iloc[0]
            label = model.baseline.model if rule is None else f"IoU-aware, α = {Rule(rule).alpha:g}"
            ax.set_title(f"{label}: ρ = {spearman:.2f}", fontsize=8.5)
        line[0].set_ylabel(f"{_title(model)}\n\nIoU", fontsize=8)
        line[0].set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    figure.colorbar(drawn, ax=axes, label="detections", location="bottom", shrink=0.5, aspect=40)
    for ax in axes[-1]:
        ax.set_xlabel("confidence", fontsize=8)
    return figure


def _heat(ax: Axes, mine: pd.DataFrame, norm: LogNorm) -> AxesImage:
    """Draw the counts, one pixel each, which "none" keeps sharp at any size; without detections the paper shows."""
    counts = np.full((BINS, BINS), np.nan)
    at = [np.rint(mine[axis] * BINS).astype(int) for axis in ("iou", "confidence")]
    counts[at[0], at[1]] = mine["detections"]
    drawn = ax.imshow(counts, norm=norm, cmap="Blues", origin="lower", extent=(0, 1, 0, 1), interpolation="none")
    ax.axhline(MATCHED, color="black", linewidth=0.8)
    ax.grid(visible=False)
    return drawn


def _reliability(rules: Sequence[str], table: pd.DataFrame, pairs: Mapping[Run, Pair]) -> Figure:
    """Draw the true IoU against the predicted one; markers grow with the number of detections."""
    figure, axes = _grid(pairs)
    rule = next((rule for rule in reversed(_SHOWN) if rule in rules), rules[0])
    for ax, (names, _) in zip(axes, pairs.values(), strict=True):
        mine = table[table["run"].isin(names) & (table["rule"] == rule)]
        ax.plot([0, 1], [0, 1], color="#7f7f7f", linewidth=0.8, linestyle=(0, (3, 2)))
        for _, seed in mine.groupby("run"):
            ax.plot(seed["iou_pred"], seed["iou"], color=style.COLOURS[0], linewidth=0.8 / len(names) ** 0.5)
        # All seeds together: sums over their detections.
        sums = mine[["iou_pred", "iou"]].mul(mine["detections"], axis=0).groupby(mine["from"]).sum()
        counts = mine.groupby("from")["detections"].sum()
        means = sums.div(counts, axis=0)
        size = 4 + 150 * counts / max(counts.sum(), 1)
        ax.scatter(means["iou_pred"], means["iou"], s=size, color=style.COLOURS[0], zorder=3)
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    figure.supxlabel(f"predicted IoU ({rule})", fontsize="medium")
    figure.supylabel("true IoU (mean)", fontsize="medium")
    return figure
