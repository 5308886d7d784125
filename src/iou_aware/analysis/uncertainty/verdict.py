"""The verdict on a number, for claims and tables: on its sign and its size, given its uncertainty.

``reproduced``, ``contradicted``, ``inconclusive`` (either is within the uncertainty, or a part has not been run) or
``not run``.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from iou_aware.analysis.uncertainty.quantity import TINY, Quantity

REPRODUCED, CONTRADICTED, INCONCLUSIVE, NOT_RUN = "reproduced", "contradicted", "inconclusive", "not run"
VERDICTS = (REPRODUCED, CONTRADICTED, INCONCLUSIVE, NOT_RUN)
# Where there is room for one character only.
MARKS = {REPRODUCED: "✓", CONTRADICTED: "✗", INCONCLUSIVE: "?"}
# Of a single number that decides nothing: its size would, where sizes are not compared, or the mean of several does.
NOT_COMPARED = "not compared"
UNMET = "sizes are not compared here"
OPEN_ALONE = "within the uncertainty by itself; the mean decides"
# At most so many of the numbers that decide a verdict are listed with it.
_LISTED = 3
# The paper prints one decimal, so that a difference of two of its numbers is exact to a tenth.
ROUNDING = 0.05


@dataclass(frozen=True)
class Finding:
    """One quantity of a claim, what was expected of it, and whether it is so: a verdict, or ``not compared``."""

    quantity: Quantity
    expected: str
    verdict: str
    why: str


def judge_number(quantity: Quantity, sign: str | None, span: Sequence[float] | None, values: bool) -> Finding:
    """Judge a quantity by its sign and, where ``values`` are compared with the paper's, by its range."""
    compared = span is not None and values
    parts = [f"{sign}"] if sign else []
    if span is not None:
        low, high = span
        between = f"{low:+.1f}" if low == high else f"{low:+.1f} … {high:+.1f}"
        parts.append(f"{between}{'' if compared else ' (for the pattern only)'}")
    expected = ", ".join(parts)
    if quantity.value is None:
        return _not_run(quantity, expected)
    verdict, why = _by_sign(quantity, sign) if sign else (REPRODUCED, "")
    if compared and verdict == REPRODUCED:
        verdict, why = _by_range(quantity, span)
    elif span is not None and verdict == REPRODUCED and sign:
        why += "; its size is not compared here"
    elif not sign and not compared:
        return Finding(quantity, expected, NOT_COMPARED, UNMET)
    return Finding(quantity, expected, verdict, why)


def _not_run(quantity: Quantity, expected: str) -> Finding:
    return Finding(quantity, expected, NOT_RUN, quantity.missing or "")


def _by_sign(quantity: Quantity, sign: str) -> tuple[str, str]:
    if quantity.span and quantity.span[0] < 0 < quantity.span[1]:
        return INCONCLUSIVE, "the sign differs between seeds"
    low, high = (quantity.low, quantity.high) if sign == "positive" else (-quantity.high, -quantity.low)
    if low > TINY:
        return REPRODUCED, "the sign is as claimed"
    if high < -TINY:
        return CONTRADICTED, "the sign is the opposite"
    return INCONCLUSIVE, "either sign is within the uncertainty"


def _by_range(quantity: Quantity, span: Sequence[float]) -> tuple[str, str]:
    known = "what is expected" if quantity.paper is None else "what the paper says"
    slack = TINY + (0.0 if quantity.paper is None else ROUNDING)
    low, high = span[0] - slack, span[1] + slack
    if low <= quantity.value <= high:
        return REPRODUCED, f"within {known}"
    if quantity.low <= high and quantity.high >= low:
        return INCONCLUSIVE, f"outside of {known}, but within the uncertainty of it"
    return CONTRADICTED, f"surely {'below' if quantity.value < low else 'above'} {known}"


def judge_best(lead: Quantity, expected: str, best: str) -> Finding:
    """Judge whether rows are the best, by the best of them less the best of the others, up to the paper's rounding.

    Args:
        lead: That difference.
        expected: What is claimed.
        best: Which row is the best, and its value.
    """
    if lead.value is None:
        return _not_run(lead, expected)
    bar, differs = -ROUNDING - TINY, lead.span is not None and lead.span[0] < -ROUNDING <= lead.span[1]
    if differs or lead.low < bar <= lead.high:
        return Finding(lead, expected, INCONCLUSIVE, f"{best}, but another may be, within the uncertainty")
    return Finding(lead, expected, REPRODUCED if lead.low >= bar else CONTRADICTED, best)


def judge_step(quantity: Quantity, rises: bool, expected: str) -> Finding:
    """Judge the step of a trend that goes furthest against it: it may be level, but must not surely go back."""
    if quantity.value is None:
        return _not_run(quantity, expected)
    value, high = (quantity.value, quantity.high) if rises else (-quantity.value, -quantity.low)
    if value >= -ROUNDING - TINY:
        return Finding(quantity, expected, REPRODUCED, "none goes the other way")
    if high < -ROUNDING - TINY:
        return Finding(quantity, expected, CONTRADICTED, "it surely goes the other way")
    return Finding(quantity, expected, INCONCLUSIVE, "it goes the other way, but not surely")


def together(findings: Sequence[Finding]) -> tuple[str, str, tuple[str, ...]]:
    """Return the verdict on a claim all of whose findings must hold, why, and the numbers that decide it."""
    run = [finding for finding in findings if finding.quantity.value is not None]
    judged = [finding for finding in run if finding.verdict != NOT_COMPARED]
    absent = len(findings) - len(run)
    if not run:
        return NOT_RUN, findings[0].why, ()
    if not judged:
        return INCONCLUSIVE, run[0].why, ()
    counts = Counter(finding.verdict for finding in judged)
    for verdict in (CONTRADICTED, INCONCLUSIVE):
        if counts[verdict]:
            worst = next(finding for finding in judged if finding.verdict == verdict)
            return verdict, worst.why, _listed([f for f in judged if (f.verdict, f.why) == (verdict, worst.why)])
    if absent:
        why = f"{len(judged)} of {len(judged) + absent} parts are reproduced, the others not run"
        return INCONCLUSIVE, why, _listed(judged)
    return REPRODUCED, f"all {len(judged)} parts hold" if len(judged) > 1 else judged[0].why, _listed(judged)


def _listed(deciding: Sequence[Finding]) -> tuple[str, ...]:
    """Return the first of the numbers that decide, each with its uncertainty, and how many more there are."""
    numbers = [
        f"{number.label} = {signed(number.value)} ({signed(number.low)} to {signed(number.high)})"
        for number in (finding.quantity for finding in deciding[:_LISTED])
    ]
    more = len(deciding) - len(numbers)
    return (*numbers, *([f"and {more} more"] if more else []))


def signed(value: float) -> str:
    """Return a number as claims show it: with its sign, and nothing as +0.00."""
    return f"{round(value, 2) + 0.0:+.2f}"
