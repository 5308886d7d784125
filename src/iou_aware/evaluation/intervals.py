"""Intervals from the resamples of a number, as far as the images are concerned."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95

# Chooses one number (...) among several (..., M).
Choose = Callable[[np.ndarray], np.ndarray]


def first(values: np.ndarray) -> np.ndarray:
    """Return the first number (...) of (..., M)."""
    return values[..., 0]


@dataclass(frozen=True)
class Interval:
    """Where a quantity lies at 95 % confidence, as far as the images are concerned."""

    low: float
    high: float


def interval(values: float | np.ndarray, drawn: np.ndarray, choose: Choose = first) -> Interval | None:
    """Return the basic bootstrap interval: what the resamples miss a number by, the other way round.

    AP of a sample lies above that of all there is, the more so the fewer objects a class has, and that of a resample
    above that of the sample by as much again. The percentiles themselves would therefore lie too high; mirrored at
    the value they do not.

    The number may be chosen among several, such as the least of them. What is chosen for being extreme looks more
    extreme than it is, the more so the more it was chosen from. So the ends are chosen from a band that holds all
    numbers at once, as often as the basic interval holds a single one: each is as many of its standard deviations wide
    (Westfall and Young's single-step method).

    Args:
        values: One number or ``(M,)`` on the images as they are.
        drawn: ``(B,)`` or ``(B, M)`` on the resamples, NaN where undefined.
        choose: Makes one number (...) of (..., M), and no smaller one where one of them is larger.

    Returns:
        None if fewer than half of the resamples have all values.
    """
    values, drawn = np.atleast_1d(values), drawn.reshape(len(drawn), -1)
    present = drawn[~np.isnan(drawn).any(1)]
    if 2 * len(present) < len(drawn) or not len(present):
        return None
    missed = values - present
    spread = missed.std(0)
    scaled = missed / np.where(spread > 0, spread, 1)
    below, above = np.percentile(scaled.min(1), 50 * (1 - LEVEL)), np.percentile(scaled.max(1), 50 * (1 + LEVEL))
    return Interval(float(choose(values + spread * below)), float(choose(values + spread * above)))
