"""How figures look: one place for colours, markers, lines and sizes, and for SVG that never differs."""

import io
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

# Okabe and Ito's colours: told apart by the colour-blind. In this order their greys alternate, and every series has a
# marker and a dash of its own as well, so that nothing hangs on colour alone.
COLOURS = ("#0072B2", "#E69F00", "#000000", "#CC79A7", "#009E73", "#D55E00", "#56B4E9", "#7F7F7F", "#B8A800")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES = ((), (4, 1.5), (1, 1), (6, 1.5, 1, 1.5), (3, 1, 1, 1, 1, 1), (8, 2), (2, 2), (5, 1, 2, 1), (1, 3))

WIDTH = 7.0  # inches: the text width of a page
PANEL = 1.9  # inches: the height of one panel

# How ours and the paper's are told apart: full lines and markers, and broken lines with hollow markers.
OURS: dict[str, Any] = {"linestyle": "-", "markersize": 4.5}
PAPER: dict[str, Any] = {"linestyle": (0, (3, 2)), "markersize": 4.5, "markerfacecolor": "white", "alpha": 0.85}

# A single seed, beside the mean of several; and what bands and whiskers are: the inner, and the outer by whether seeds
# are folds of cross-validation.
SINGLE: dict[str, Any] = {"linewidth": 0.5, "alpha": 0.6}
IMAGES, TRAININGS = "95 %: images", {False: "and another training", True: "and another fold"}

# What is different for seaborn's grids, which lay themselves out.
GRIDS = {
    "axes.titlesize": 7,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "figure.constrained_layout.use": False,
    "savefig.bbox": "tight",
}


def styled(own: Mapping[str, Any] | None = None) -> AbstractContextManager[None]:
    """Return a context that draws in this style, with changes of one's own."""
    return plt.style.context([Path(__file__).with_suffix(".mplstyle"), own or {}])


def series(index: int) -> dict[str, Any]:
    """Return colour and marker of the ``index``-th series of a panel."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def plot(ax: Axes, points: Iterable[tuple[float | None, float | None]], **look: Any) -> None:
    """Draw the points both of whose numbers are known as one series; nothing where there are none."""
    known = [point for point in points if None not in point]
    if known:
        ax.plot(*zip(*known, strict=True), **look)


def plot_measured(ax: Axes, points: Iterable[tuple[float, Any]], line: bool = True, **look: Any):
    """Draw measured numbers as one series, with their uncertainty: darker that of the images, lighter all of it.

    Args:
        ax: Where.
        points: The place of each, and the number: a ``Quantity``; one without a value is left out.
        line: Whether there is something between the places: then bands and a thin line per seed, else whiskers.
        look: As ``plot`` takes it.
    """
    known = [(place, quantity) for place, quantity in points if quantity.value is not None]
    if not known:
        return
    places, quantities = zip(*known, strict=True)
    ax.plot(places, [quantity.value for quantity in quantities], **look, zorder=3)
    images = [quantity.interval or quantity for quantity in quantities]
    for ends, alpha, width in [(quantities, 0.13, 0.8), (images, 0.22, 2.2)]:
        low, high = [end.low for end in ends], [end.high for end in ends]
        if line:
            ax.fill_between(places, low, high, color=look["color"], alpha=alpha, linewidth=0, zorder=1)
        else:
            ax.vlines(places, low, high, color=look["color"], linewidth=width, alpha=0.7, zorder=2)
    singles = [quantity.by_seed for quantity in quantities]
    for seed in sorted(set.intersection(*map(set, singles))) if line and len(singles[0]) > 1 else ():
        ax.plot(places, [by_seed[seed] for by_seed in singles], color=look["color"], **SINGLE)


def explain_bands(figure: Figure, ax: Axes, outer: str) -> None:
    """Put one legend above all panels: the series of one of them, and what its bands (``outer``) and thin lines are."""
    handles, _ = ax.get_legend_handles_labels()
    grey = {"color": COLOURS[7], "linewidth": 0}
    handles += [Patch(alpha=0.45, label=IMAGES, **grey), Patch(alpha=0.15, label=outer, **grey)]
    if any(line.get_linewidth() == SINGLE["linewidth"] for line in ax.get_lines()):
        handles.append(Line2D([], [], color=COLOURS[7], label="single seeds", **SINGLE))
    figure.legend(handles=handles, loc="outside upper left", ncols=5 if figure.get_figwidth() == WIDTH else 2)


def svg(figure: Figure, title: str) -> bytes:
    """Return a figure as SVG, the same bytes for the same figure, and close it."""
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Title": title, "Date": None, "Creator": None})
    plt.close(figure)
    return content.getvalue()
