"""What the tables' rows gain: alpha, the bound by the true IoU, gains by IoU threshold, by size and by class."""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from iou_aware.analysis import style
from iou_aware.analysis.figures.panels import Panel

_ALPHA_METRICS = ("AP", "AP50", "AP60", "AP70", "AP80", "AP90")
# By metric, what stands below its place on the axis.
_THRESHOLDS = {f"AP{percent}": f".{percent}" for percent in range(50, 100, 5)}
_SIZES = {"AP": "all", "APs": "small", "APm": "medium", "APl": "large"}
_MOST_CLASSES = 30
# Below, the gains of low alphas would flatten everything else; the figure of the values shows them in full.
_LOWEST_GAIN = -4.0
_ASIDE = 0.12  # how far markers of one place stand apart, in places
_GAIN, _ALPHA = "gain over the baseline (points)", "α (0: predicted IoU alone, 1: classification score alone)"


def draw_gains(panels: list[Panel], outer: str) -> Iterable[tuple[str, Figure]]:
    """Yield the figures that the tables' rows allow, each with its name; ``outer`` says what their outer bands are."""
    drawn = [panel for panel in panels if panel.series]
    bounds = [panel for panel in drawn if panel.is_bound and panel.by_alpha("oracle")]
    for bound in bounds:
        yield f"oracle{_suffix(bound, bounds)}", _oracle(bound, outer)
    gaining = [panel for panel in drawn if not panel.is_bound]
    sweeps = [panel for panel in gaining if panel.is_sweep]
    for sweep in sweeps:
        yield f"alpha{_suffix(sweep, sweeps)}", _alpha(sweep)
        yield f"alpha_gain{_suffix(sweep, sweeps)}", _alpha_gain(sweep, outer)
    few = [panel.thinned() for panel in gaining]
    if few:
        yield "gain_per_threshold", _gains(few, outer, _THRESHOLDS, "IoU threshold")
        yield "gain_per_size", _gains(few, outer, _SIZES, "objects", ordered=False)
    if any(_classes(panel) for panel in few):
        yield "gain_per_class", _class_gains([panel for panel in few if _classes(panel)])


def _suffix(panel: Panel, alike: list[Panel]) -> str:
    """Return what tells a panel's figure from those of the others of its kind."""
    return "" if panel is alike[0] else f"_{panel.name}"


def _alpha(sweep: Panel) -> Figure:
    """Draw AP at each IoU threshold against alpha: ours, and the paper's beside it on the same axes."""
    swept = sweep.by_alpha()
    titles = ["Ours", *(["Paper"] if any(series.row.paper for series in swept) else [])]
    figure, axes = plt.subplots(1, len(titles), figsize=(style.WIDTH, 3.1), sharey=True, squeeze=False)
    for ax, title in zip(axes[0], titles, strict=True):
        for index, metric in enumerate(_ALPHA_METRICS):
            look = style.series(index) | {"label": _name(metric)}
            if title == "Ours":
                points = [(series.row.rule.alpha, series.value(metric)) for series in swept]
                style.plot_measured(ax, points, **look | style.OURS)
            else:
                printed = [(series.row.rule.alpha, series.row.paper.get(metric)) for series in swept]
                style.plot(ax, printed, **look | style.PAPER)
        ax.set_title(title)
    axes[0][0].set_ylim(bottom=0)
    axes[0][0].set_ylabel("AP (%)")
    figure.supxlabel(_ALPHA, fontsize="medium")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", title="IoU\nthreshold")
    return figure


def _alpha_gain(sweep: Panel, outer: str) -> Figure:
    """Draw the gain over the baseline against alpha, one panel per IoU threshold, the paper's curve beside ours."""
    swept, ends = sweep.by_alpha(), [0.0]
    figure, axes = _by_metric(_ALPHA, _GAIN)
    for metric, ax in axes.items():
        ax.axhline(0, color="black", linewidth=0.8)
        ours = [(series.row.rule.alpha, series.gain(metric)) for series in swept]
        style.plot_measured(ax, ours, label="ours", **style.series(0) | style.OURS)
        printed = [(series.row.rule.alpha, series.paper_gain(metric)) for series in swept]
        style.plot(ax, printed, label="paper", **style.series(1) | style.PAPER)
        ends += [end for _, quantity in ours if quantity.value is not None for end in (quantity.low, quantity.high)]
        ends += [gain for _, gain in printed if gain is not None]
    ax.set_ylim(max(min(ends) - 0.3, _LOWEST_GAIN), max(ends) + 0.3)
    style.explain_bands(figure, axes["AP"], outer)
    return figure


def _oracle(bound: Panel, outer: str) -> Figure:
    """Draw AP against alpha with the predicted and with the true IoU, one panel per IoU threshold."""
    figure, axes = _by_metric("α (0: IoU alone, 1: classification score alone)", "AP (%)")
    for metric, ax in axes.items():
        for index, (kind, label) in enumerate([("oracle", "true IoU (oracle)"), ("alpha", "predicted IoU")]):
            points = [(series.row.rule.alpha, series.value(metric)) for series in bound.by_alpha(kind)]
            style.plot_measured(ax, points, label=label, **style.series(index) | style.OURS)
        base = bound.series[0].base.ours.get(metric)
        if base is not None:
            ax.axhline(base, color="black", linewidth=0.8, linestyle=style.PAPER["linestyle"], label="baseline")
    ax.set_ylim(bottom=0)
    style.explain_bands(figure, axes["AP"], outer)
    return figure


def _gains(panels: list[Panel], outer: str, metrics: dict[str, str], xlabel: str, ordered: bool = True) -> Figure:
    """Draw the gain over the baseline against a family of metrics, one panel per table, one line per row.

    Metrics that are not ``ordered`` have nothing between them: markers beside each other, without a line.
    """
    figure, axes = _grid(panels, (1.25 if ordered else 1.0) * style.PANEL)
    for ax, panel in zip(axes, panels, strict=True):
        ax.axhline(0, color="black", linewidth=0.8)
        for index, series in enumerate(panel.series):
            places = np.arange(len(metrics)) + _ASIDE * (index - (len(panel.series) - 1) / 2)
            look = style.series(index) | ({} if ordered else {"linestyle": ""})
            ours = zip(places, map(series.gain, metrics), strict=True)
            style.plot_measured(ax, ours, line=False, label=series.label, **style.OURS | look)
            style.plot(ax, zip(places, map(series.paper_gain, metrics), strict=True), **style.PAPER | look)
        ax.set_xticks(range(len(metrics)), list(metrics.values()))
        ax.set(title=panel.title, xlabel=xlabel, ylabel="gain over the\nbaseline (points)")
        _legend_beside(ax)
    if any(series.row.paper for panel in panels for series in panel.series):
        looks = [("ours", style.OURS), ("paper", style.PAPER)]
        handles = [Line2D([], [], color="black", marker="o", label=label, **look) for label, look in looks]
        whiskers = [(style.IMAGES, 2.2), (outer, 0.8)]
        handles += [Line2D([], [], color=style.COLOURS[7], label=label, linewidth=width) for label, width in whiskers]
        figure.legend(handles=handles, loc="outside upper left", ncols=4)
    return figure


def _class_gains(panels: list[Panel]) -> Figure:
    """Draw the gain in AP of each class, one panel per table, one kind of marker per row."""
    figure, axes = _grid(panels, 0.7 + 0.25 * max(len(_classes(panel)) for panel in panels))
    for ax, panel in zip(axes, panels, strict=True):
        names = _classes(panel)
        ax.axvline(0, color="black", linewidth=0.8)
        for index, series in enumerate(panel.series):
            gains = [(series.class_gains[name], place) for place, name in enumerate(names)]
            style.plot(ax, gains, linestyle="", label=series.label, **style.series(index))
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set(title=panel.title, xlabel="gain in AP over the baseline (points)")
        _legend_beside(ax)
    return figure


def _by_metric(xlabel: str, ylabel: str) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with a panel for each of ``_ALPHA_METRICS``; their axes are shared."""
    figure, axes = plt.subplots(2, 3, figsize=(style.WIDTH, 2.5 * style.PANEL), sharex=True, sharey=True)
    by_metric = dict(zip(_ALPHA_METRICS, axes.flat, strict=True))
    for metric, ax in by_metric.items():
        ax.set_title(_name(metric))
    figure.supxlabel(xlabel, fontsize="medium")
    figure.supylabel(ylabel, fontsize="medium")
    return figure, by_metric


def _grid(panels: list[Panel], height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with one pair of axes per panel, below each other."""
    figure, axes = plt.subplots(len(panels), 1, figsize=(style.WIDTH, len(panels) * height), squeeze=False)
    return figure, list(axes[:, 0])


def _legend_beside(ax: Axes) -> None:
    """Put the legend where it hides nothing; a panel without any values gets none."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _classes(panel: Panel) -> list[str]:
    """Return the classes of a panel, or none where they are too many to be drawn."""
    names = list(dict.fromkeys(name for series in panel.series for name in series.class_gains))
    return names if len(names) <= _MOST_CLASSES else []


def _name(metric: str) -> str:
    """Return a metric's name with its threshold as a subscript."""
    part = metric.removeprefix("AP")
    return f"AP$_{{{part}}}$" if part else "AP (mean)"
