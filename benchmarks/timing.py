"""Ours against a peer, fairly: the same machine, the same minute, turn by turn."""

import statistics
import time
from collections.abc import Callable
from typing import Any

Work = Callable[[], Any]
Side = tuple[str, Work]


def versus(
    name: str,
    ours: Side,
    peer: Side,
    turns: int,
    unit: str = "s",
    per: float = 1.0,
    peer_per: float | None = None,
    goal: float | None = None,
    warm: bool = True,
) -> dict[str, Any]:
    """Time two pieces of work in turns, after one untimed turn each.

    Args:
        name: What the entry is about.
        ours: What our side does, in words, and the work.
        peer: The same of the peer.
        turns: How many turns each.
        unit: What the figures are in.
        per: Seconds are divided by this, such as the number of images for a figure per image.
        peer_per: The same for the peer, where it is given another number of them.
        goal: What the ratio should be at most.
        warm: Whether an untimed turn comes first; work of many seconds can do without.

    Returns:
        ``name``, ``unit``, ``turns``, ``ours`` and ``peer`` (what it did, median, min and max), ``goal`` and ``ratio``:
        the median over the turns of ours divided by the peer's of the same turn. Below 1, ours is faster.
    """
    (what, mine), (their_what, theirs) = ours, peer
    if warm:
        mine(), theirs()
    peer_per = peer_per or per
    pairs = [(seconds(mine) / per, seconds(theirs) / peer_per) for _ in range(turns)]
    of_mine, of_theirs = zip(*pairs, strict=True)
    entry = given(name, what, of_mine, unit, goal)
    entry["peer"] = {"what": their_what, **spread(of_theirs)}
    entry["ratio"] = statistics.median(a / b for a, b in pairs)
    return entry


def alone(name: str, ours: Side, turns: int, unit: str = "s", per: float = 1.0) -> dict[str, Any]:
    """Time work that has no peer; arguments and result as for ``versus``, ``peer`` and ``ratio`` None."""
    what, work = ours
    return given(name, what, [seconds(work) / per for _ in range(turns)], unit)


def given(name: str, what: str, values: list[float], unit: str, goal: float | None = None) -> dict[str, Any]:
    """Return the entry of measured values without a peer; ``goal`` is what the median should be at most."""
    ours = {"what": what, **spread(values)}
    entry = {"name": name, "unit": unit, "turns": len(values), "ours": ours}
    return entry | {"peer": None, "ratio": None, "goal": goal}


def absent(name: str, why: str) -> dict[str, Any]:
    """Return the entry of something that could not be measured."""
    return {
        "name": name,
        "unit": "",
        "turns": 0,
        "ours": None,
        "peer": None,
        "ratio": None,
        "goal": None,
        "absent": why,
    }


def seconds(work: Work) -> float:
    """Return how long ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def spread(values: list[float]) -> dict[str, float]:
    """Return the median, the smallest and the largest of the values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
