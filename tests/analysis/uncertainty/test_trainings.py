"""The noise of trainings against brute force: trainings drawn again and again, and intervals that hold the truth."""

import numpy as np
import pytest
from scipy import stats

from iou_aware.analysis.uncertainty.trainings import half_widths, scatter, summed

TRIALS = 4000
# Three standard errors of a share of 95 % among so many trials are 1.0 points.
ERROR = 3 * np.sqrt(0.95 * 0.05 / TRIALS)


def drawn(random, runs: int, backbones: int, by_seed: float, seeds: int = 3) -> np.ndarray:
    """Return ``(backbones, runs, seeds)`` trainings about zero: what a seed does to all runs, and 1 of a run's own."""
    return random.normal(0, by_seed, (backbones, 1, seeds)) + random.normal(0, 1, (backbones, runs, seeds))


@pytest.mark.parametrize("by_seed", [0.0, 3.0])
@pytest.mark.parametrize(
    ("runs", "backbones", "over", "images"),
    [(2, 1, 1, 0.0), (5, 1, 1, 0.0), (2, 3, 1, 0.0), (2, 3, 3, 0.0), (2, 1, 1, 0.8), (5, 1, 1, 0.8)],
)
def test_of_differences_95_of_100_intervals_hold_the_truth_and_with_the_noise_of_images_no_fewer(
    runs, backbones, over, images, by_seed
):
    """Half widths of independent causes are added as squares, which for Student's t is on the safe side."""
    random, held = np.random.default_rng(1), 0
    for _ in range(TRIALS):
        blocks = drawn(random, runs, backbones, by_seed)
        half = half_widths([scatter(list(blocks), paired=True)], [[1 / over, -1 / over] * over], 3)[0]
        off = (blocks[:over, 0] - blocks[:over, 1]).mean() + random.normal(0, images)
        held += abs(off) <= np.hypot(half, stats.norm.ppf(0.975) * images)
    assert 0.95 - ERROR < held / TRIALS < (0.98 if images else 0.95 + ERROR)


@pytest.mark.parametrize("by_seed", [0.0, 1.0, 3.0])
def test_of_a_single_row_about_95_of_100_intervals_hold_the_truth_however_alike_the_runs_of_a_seed_are(by_seed):
    """Satterthwaite's degrees of freedom are an approximation; as if all trainings were independent, 87 would hold."""
    random, held = np.random.default_rng(3), {"ours": 0, "independent": 0}
    for _ in range(TRIALS):
        (block,) = drawn(random, 5, 1, by_seed)
        of_row = scatter([block], paired=False)
        held["ours"] += abs(block[0].mean()) <= half_widths([of_row], [[1]], 3)[0]
        pooled = np.sqrt(block.var(1, ddof=1).mean() / 3)
        held["independent"] += abs(block[0].mean()) <= stats.t.ppf(0.975, 10) * pooled
    assert held["ours"] / TRIALS == pytest.approx(0.955, abs=0.02)
    assert by_seed < 3 or held["independent"] / TRIALS < 0.9


@pytest.mark.parametrize("alike", [0.0, 0.95])
def test_the_interval_of_the_least_of_several_sums_knows_that_it_was_chosen(alike):
    """Nine sums that are all zero, independent or nearly the same: the least of them is seldom surely below zero."""
    random, surely_below, ignorant, trials = np.random.default_rng(4), 0, 0, 200
    for _ in range(trials):
        common, own = random.normal(size=(4, 3, 1)), random.normal(size=(4, 3, 9))
        values = np.sqrt(alike) * common + np.sqrt(1 - alike) * own
        scatters = [scatter([block[np.newaxis] for block in values[..., sum_]], paired=False) for sum_ in range(9)]
        least = values[0].mean(0)
        surely_below += (least + half_widths(scatters, [[1]] * 9, 3)).min() < 0
        ignorant += (least + [half_widths([one], [[1]], 3)[0] for one in scatters]).min() < 0
    assert surely_below < 0.08 * trials and (alike > 0 or ignorant > 0.12 * trials)


def test_of_one_or_two_runs_alone_intervals_are_those_of_the_t_tests():
    """Student's, the paired one, and, for two kinds of runs, Welch's."""
    one, other = block = np.random.default_rng(5).normal(0, [[1], [9]], (2, 4))
    each = [scatter([run[np.newaxis]], paired=False) for run in block]
    difference = one.mean() - other.mean()
    for test, value, of_sum, factors in [
        (stats.ttest_1samp(one, 0), one.mean(), each[0], [1]),
        (stats.ttest_rel(one, other), difference, scatter([block], paired=True), [1, -1]),
        (stats.ttest_ind(one, other, equal_var=False), difference, summed(each, [[1], [-1]]), [1, -1]),
    ]:
        half = half_widths([of_sum], [factors], 4)[0]
        assert (value - half, value + half) == pytest.approx(tuple(test.confidence_interval(0.95)))


@pytest.mark.parametrize("paired", [True, False])
def test_trainings_that_are_all_the_same_have_no_noise(paired):
    same = scatter([np.ones((2, 3))], paired)
    assert same.deviation == 0 and half_widths([same] * 2, [[1, -1]] * 2, 3).tolist() == [0, 0]


def test_intervals_of_two_sums_over_unequal_trainings_hold_at_once():
    """They are longer than each by itself and, as the two may be alike, no longer than Bonferroni's."""
    random = np.random.default_rng(9)
    scatters = [scatter([random.normal(size=(runs, 3))], paired=False) for runs in (4, 2)]
    freedom = min(one.freedom for one in scatters)
    alone, bonferroni = (
        stats.t.ppf(1 - share / 2, freedom) * np.array([one.deviation for one in scatters]) / np.sqrt(3)
        for share in (0.05, 0.025)
    )
    both = half_widths(scatters, [[1], [1]], 3)
    assert (1.01 * alone < both).all() and (both < 1.02 * bonferroni).all()
