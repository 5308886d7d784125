"""What another training would change, measured on trainings that differ in their seed only.

Runs of one seed and backbone start from the same weights and see the images in the same order. What that does to all of
them alike cancels out in their difference; a two-way analysis of variance (runs by seeds) parts it from what is each
run's own. Both are pooled over all runs of a dataset and scale, since three seeds alone tell little of a variance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # scipy.stats would take half a second to import

from iou_aware.evaluation.intervals import LEVEL

# With fewer seeds nothing is measured.
FEWEST_SEEDS = 3
_DRAWS = 20_000


@dataclass(frozen=True)
class Scatter:
    """How trainings scatter.

    Attributes:
        residuals: ``(N,)`` what is left of N trainings without the mean of each run.
        freedom: Their degrees of freedom.
    """

    residuals: np.ndarray
    freedom: float

    @property
    def deviation(self) -> float:
        """The standard deviation of one training."""
        return float(np.sqrt((self.residuals**2).sum() / self.freedom))


def scatter(blocks: Sequence[np.ndarray], paired: bool) -> Scatter:
    """Return how trainings scatter about the mean of their run.

    Args:
        blocks: ``(R, S)`` each: R runs that share a backbone, with the same S seeds.
        paired: Whether what a seed does to all runs of a block cancels out, as in the difference of two of them. If
            not, the runs of a seed do not vary independently, and the degrees of freedom are Satterthwaite's (1946).
    """
    deviations = [block - block.mean(1, keepdims=True) for block in blocks]
    own = np.concatenate([(part - part.mean(0)).ravel() for part in deviations])
    both = np.concatenate([part.ravel() for part in deviations])
    own_freedom = sum((block.shape[0] - 1) * (block.shape[1] - 1) for block in blocks)
    if paired:
        return Scatter(own, own_freedom)
    freedom = sum(block.shape[1] - 1 for block in blocks)
    squares = (both**2).sum(), (own**2).sum()
    parts = (squares[0] - squares[1]) ** 2 / freedom + (squares[1] ** 2 / own_freedom if own_freedom else 0.0)
    return Scatter(both, float(squares[0] ** 2 / parts) if parts else freedom + own_freedom)


def summed(scatters: Sequence[Scatter], factors: Sequence[Sequence[float]]) -> Scatter:
    """Return how a sum over trainings of several kinds scatters, as that of a training, see ``half_widths``.

    Each kind has a variance of its own; the degrees of freedom are Welch's (1947).

    Args:
        scatters: Of a training of each kind.
        factors: What the sum multiplies the runs of each kind by.
    """
    if len(scatters) == 1:
        return scatters[0]
    squares = np.array([np.square(mine).sum() for mine in factors])
    weights = squares / squares.sum()
    freedoms = np.array([one.freedom for one in scatters])
    variances = weights * np.array([one.deviation**2 for one in scatters])
    freedom = variances.sum() ** 2 / (variances**2 / freedoms).sum() if variances.any() else freedoms.sum()
    scales = np.sqrt(weights * freedom / freedoms)
    return Scatter(
        np.concatenate([scale * one.residuals for scale, one in zip(scales, scatters, strict=True)]), freedom
    )


def half_widths(scatters: Sequence[Scatter], factors: Sequence[Sequence[float]], seeds: int) -> np.ndarray:
    """Return half of the 95 % interval of each of M sums over runs, which hold at once: ``(M,)``.

    For one sum it is Student's t. Of several, the largest of as many correlated t decides (by drawing them).

    Args:
        scatters: Of a training, as far as it matters to each sum; over the same trainings.
        factors: What each sum multiplies its runs by.
        seeds: How many seeds a run is the mean of.
    """
    freedom = min(one.freedom for one in scatters)
    quantile = stdtrit(freedom, (1 + LEVEL) / 2)
    if len(scatters) > 1:
        random = np.random.default_rng(0)
        longest = max(len(one.residuals) for one in scatters)
        # A run that lacks a rule so far is not among the trainings of every sum.
        residuals = np.stack([np.pad(one.residuals, (0, longest - len(one.residuals))) for one in scatters], 1)
        lengths = np.linalg.norm(residuals, axis=0)
        normal = random.standard_normal((_DRAWS, len(residuals))) @ (residuals / np.where(lengths > 0, lengths, 1))
        largest = abs(normal).max(1) / np.sqrt(random.chisquare(freedom, _DRAWS) / freedom)
        quantile = np.quantile(largest, LEVEL)
    norms = [np.linalg.norm(one) for one in factors]
    return quantile * np.array([one.deviation for one in scatters]) * norms / np.sqrt(seeds)
