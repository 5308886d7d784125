"""Intervals against SciPy, and of numbers that were chosen for being extreme."""

import numpy as np
import pytest
from scipy import stats

from iou_aware.evaluation import intervals


def test_interval_of_the_least_of_many_knows_that_it_was_chosen():
    """Nine numbers that are all zero, measured with noise: the least of them is seldom surely below zero."""
    random, wrong = np.random.default_rng(0), {"chosen": 0, "ignorant": 0}
    for _ in range(200):
        values = random.normal(size=9)
        drawn = values + random.normal(size=(400, 9))
        wrong["chosen"] += intervals.interval(values, drawn, lambda some: some.min(-1)).high < 0
        wrong["ignorant"] += intervals.interval(values.min(), drawn[:, values.argmin()]).high < 0
    assert wrong["chosen"] < 0.06 * 200 < 0.15 * 200 < wrong["ignorant"]


def test_interval_of_what_is_undefined_or_never_varies():
    drawn = np.random.default_rng(2).normal(size=(500, 1)) ** 2
    some = np.column_stack([drawn, np.full(500, np.nan)])
    assert intervals.interval(np.ones(2), some, lambda two: two.max(-1)) is None
    assert intervals.interval(1.0, np.array([np.nan, np.nan, 1.0])) is None
    steady = intervals.interval(np.array([0.5, 3.0]), np.tile([0.5, 3.0], (9, 1)), lambda two: two.min(-1))
    assert steady == intervals.Interval(0.5, 0.5)


def test_interval_takes_back_what_resampling_adds():
    """A sample's variance lies below that of the whole, and a resample's below it again: as SciPy has it."""
    sample = np.random.default_rng(1).uniform(size=40)
    expected = stats.bootstrap(
        (sample,), lambda values, axis: values.var(axis=axis), n_resamples=2000, method="basic", rng=3
    )
    found = intervals.interval(sample.var(), expected.bootstrap_distribution)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval))
