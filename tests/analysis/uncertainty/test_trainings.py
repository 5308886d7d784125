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
@pytest.mark.parametrize(("runs", "backbones"), [(2, 1), (5, 1), (2, 3)])
def test_of_a_difference_95_of_100_intervals_hold_the_truth(runs, backbones, by_seed):
    random, held = np.random.default_rng(1), 0
    for _ in range(TRIALS):
        blocks = drawn(random, runs, backbones, by_seed)
        half = half_widths([scatter(list(blocks), paired=True)], [[1, -1]], 3)
        held += abs(blocks[0, 0].mean() - blocks[0, 1].mean()) <= half[0]
    assert held / TRIALS == pytest.approx(0.95, abs=ERROR)


def test_of_the_mean_of_differences_95_of_100_intervals_hold_the_truth():
    random, held = np.random.default_rng(2), 0
    for _ in range(TRIALS):
        blocks = drawn(random, 2, 3, 2.0)
        half = half_widths([scatter(list(blocks), paired=True)], [[1 / 3, -1 / 3] * 3], 3)
        held += abs((blocks[:, 0] - blocks[:, 1]).mean()) <= half[0]
    assert held / TRIALS == pytest.approx(0.95, abs=ERROR)


@pytest.mark.parametrize("runs", [2, 5])
def test_with_the_noise_of_images_beside_it_no_fewer_hold_the_truth(runs):
    """Half widths of independent causes are added as squares, which for Student's t is on the safe side."""
    random, held = np.random.default_rng(7), 0
    for _ in range(TRIALS):
        (block,) = drawn(random, runs, 1, 2.0)
        half = np.hypot(half_widths([scatter([block], paired=True)], [[1, -1]], 3)[0], stats.norm.ppf(0.975) * 0.8)
        held += abs((block[0] - block[1]).mean() + random.normal(0, 0.8)) <= half
    assert 0.95 - ERROR < held / TRIALS < 0.98


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


def test_the_difference_of_two_runs_alone_is_the_paired_t_test():
    block = np.random.default_rng(5).normal(size=(2, 4))
    expected = stats.ttest_rel(*block).confidence_interval(0.95)
    half = half_widths([scatter([block], paired=True)], [[1, -1]], 4)[0]
    difference = (block[0] - block[1]).mean()
    assert (difference - half, difference + half) == pytest.approx((expected.low, expected.high))


def test_one_run_alone_is_the_t_test_and_trainings_that_are_all_the_same_have_no_noise():
    block = np.random.default_rng(6).normal(size=(1, 3))
    expected = stats.ttest_1samp(block[0], 0).confidence_interval(0.95)
    half = half_widths([scatter([block], paired=False)], [[1]], 3)[0]
    assert (block.mean() - half, block.mean() + half) == pytest.approx((expected.low, expected.high))
    for paired in (True, False):
        same = scatter([np.ones((2, 3))], paired)
        assert same.deviation == 0 and half_widths([same] * 2, [[1, -1]] * 2, 3).tolist() == [0, 0]


def test_the_difference_of_runs_of_two_kinds_is_welchs_t_test():
    random = np.random.default_rng(8)
    calm, wild = random.normal(0, 1, 4), random.normal(0, 9, 4)
    expected = stats.ttest_ind(calm, wild, equal_var=False).confidence_interval(0.95)
    both = summed([scatter([one[np.newaxis]], paired=False) for one in (calm, wild)], [[1], [-1]])
    half = half_widths([both], [[1, -1]], 4)[0]
    difference = calm.mean() - wild.mean()
    assert (difference - half, difference + half) == pytest.approx((expected.low, expected.high))


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
