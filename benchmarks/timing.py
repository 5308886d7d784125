"""Ours against a peer, fairly: the same machine, the same minute, turn by turn."""

import statistics
import time
from collections.abc import Callable
from typing import Any

Work = Callable[[], Any]


def versus(name: str, ours: Work, peer: Work, repeats: int, unit: str = "s", per: float = 1.0) -> dict[str, Any]:
    """Time two pieces of work in turns, after one untimed turn each.

    Args:
        name: What the entry is about.
        ours: Our work.
        peer: The peer's work.
        repeats: How many turns each.
        unit: What the figures are in.
        per: Seconds are divided by this, such as the number of images for a figure per image.

    Returns:
        ``name``, ``unit``, ``ours`` and ``peer`` (median, min and max) and ``ratio``: the median over the turns of ours
        divided by the peer's of the same turn. Below 1, ours is faster.
    """
    ours(), peer()
    turns = [(seconds(ours) / per, seconds(peer) / per) for _ in range(repeats)]
    mine, theirs = zip(*turns, strict=True)
    ratio = statistics.median(a / b for a, b in turns)
    return {"name": name, "unit": unit, "ours": spread(mine), "peer": spread(theirs), "ratio": ratio}


def seconds(work: Work) -> float:
    """Return how long ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def spread(values: tuple[float, ...]) -> dict[str, float]:
    """Return the median, the smallest and the largest of the values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def show(entry: dict[str, Any]) -> None:
    """Print an entry on one line."""
    ours, peer = (f"{entry[side]['median']:.4g} ({entry[side]['min']:.4g}-{entry[side]['max']:.4g})" for side in SIDES)
    print(f"{entry['name']}: ours {ours}, peer {peer} {entry['unit']}, ratio {entry['ratio']:.3f}", flush=True)


SIDES = ("ours", "peer")
