"""Verdicts on numbers with limits made up so that the answer is plain, at the limits themselves and beside them."""

import pytest

from iou_aware.analysis.uncertainty import verdict
from iou_aware.analysis.uncertainty.quantity import TINY, Quantity
from iou_aware.analysis.uncertainty.verdict import CONTRADICTED, INCONCLUSIVE, NOT_COMPARED, NOT_RUN, REPRODUCED

NEAR = 0.0011  # more than TINY, far less than ROUNDING


def number(low: float, value: float, high: float, paper=None, span=None) -> Quantity:
    return Quantity("gain", value, paper, None, 1, span, low, high)


@pytest.mark.parametrize(
    ("low", "high", "span", "positive", "negative"),
    [
        (0.1, 2.0, None, REPRODUCED, CONTRADICTED),
        (-0.1, 2.0, None, INCONCLUSIVE, INCONCLUSIVE),
        (TINY, 2.0, None, INCONCLUSIVE, INCONCLUSIVE),
        (0.1, 2.0, (-0.5, 2.5), INCONCLUSIVE, INCONCLUSIVE),
        (0.1, 2.0, (0.0, 2.5), REPRODUCED, CONTRADICTED),
        (-2.0, -0.1, (-2.5, 0.0), CONTRADICTED, REPRODUCED),
    ],
)
def test_a_sign_is_decided_by_both_ends_and_left_open_where_seeds_differ(low, high, span, positive, negative):
    quantity = number(low, (low + high) / 2, high, span=span)
    both = [verdict.judge_number(quantity, sign, None, False) for sign in ("positive", "negative")]
    assert [finding.verdict for finding in both] == [positive, negative]
    assert ("between seeds" in both[0].why) == (span == (-0.5, 2.5))


@pytest.mark.parametrize(
    ("low", "value", "high", "paper", "expected", "why"),
    [
        (0.9, 1.0, 1.1, None, REPRODUCED, "within what is expected"),
        # The paper's numbers are rounded to a tenth, which is allowed for; what we expect ourselves is exact.
        (0.9, 0.95, 1.0, 1.0, REPRODUCED, "within what the paper says"),
        (2.0, 2.05, 2.1, 1.0, REPRODUCED, "within what the paper says"),
        (2.0 + NEAR, 2.05, 2.1, None, CONTRADICTED, "surely above what is expected"),
        (2.0, 2.05, 2.1, None, INCONCLUSIVE, "outside of what is expected, but within the uncertainty of it"),
        (0.1, 0.5, 0.95 - NEAR, 1.0, CONTRADICTED, "surely below what the paper says"),
        (0.1, 0.5, 0.95, 1.0, INCONCLUSIVE, "outside of what the paper says, but within the uncertainty of it"),
        (2.05 + NEAR, 2.5, 3.0, 1.0, CONTRADICTED, "surely above what the paper says"),
    ],
)
def test_a_size_is_held_against_its_range_where_sizes_are_compared(low, value, high, paper, expected, why):
    finding = verdict.judge_number(number(low, value, high, paper), None, [1.0, 2.0], True)
    assert (finding.verdict, finding.why, finding.expected) == (expected, why, "+1.0 … +2.0")
    assert verdict.judge_number(number(low, value, high, paper), None, [1.0, 2.0], False).verdict == NOT_COMPARED


def test_what_was_expected_is_said_with_sign_and_range():
    gain = number(1.4, 1.5, 1.6, 1.5)
    for sizes, expected, why in [
        (True, "positive, +1.2", "surely above what the paper says"),
        (False, "positive, +1.2 (for the pattern only)", "the sign is as claimed; its size is not compared here"),
    ]:
        finding = verdict.judge_number(gain, "positive", [1.2, 1.2], sizes)
        assert (finding.expected, finding.why) == (expected, why)
    opposite = verdict.judge_number(gain, "negative", [1.2, 1.2], True)
    assert (opposite.verdict, opposite.why) == (CONTRADICTED, "the sign is the opposite")
    absent = verdict.judge_number(Quantity("gain", missing="not trained"), "positive", None, True)
    assert (absent.verdict, absent.why) == (NOT_RUN, "not trained")


@pytest.mark.parametrize(
    ("low", "high", "span", "expected"),
    [
        (-0.05, 1.0, None, REPRODUCED),
        (-0.05 - NEAR, 1.0, None, INCONCLUSIVE),
        (-1.0, -0.05, None, INCONCLUSIVE),
        (-1.0, -0.05 - NEAR, None, CONTRADICTED),
        (0.5, 1.0, (-0.06, 1.5), INCONCLUSIVE),
        (0.5, 1.0, (-0.05, 1.5), REPRODUCED),
        (-1.0, -0.5, (-1.5, -0.05), INCONCLUSIVE),
        (-1.0, -0.5, (-1.5, -0.06), CONTRADICTED),
    ],
)
def test_the_best_may_be_behind_by_a_rounding(low, high, span, expected):
    finding = verdict.judge_best(number(low, (low + high) / 2, high, span=span), "best: this", "the best is that")
    assert (finding.verdict, finding.expected) == (expected, "best: this")
    unsure = ", but another may be, within the uncertainty" if expected == INCONCLUSIVE else ""
    assert finding.why == f"the best is that{unsure}"
    assert verdict.judge_best(Quantity("lead", missing="not trained"), "", "").why == "not trained"


@pytest.mark.parametrize("rises", [True, False])
@pytest.mark.parametrize(
    ("value", "high", "expected"),
    [
        (1.0, 2.0, REPRODUCED),
        (-0.05, -0.05, REPRODUCED),
        (-0.05 - NEAR, -0.05, INCONCLUSIVE),
        (-1.0, -0.05 - NEAR, CONTRADICTED),
    ],
)
def test_a_step_against_a_trend_counts_where_it_is_sure(rises, value, high, expected):
    step = number(-9.0, value, high) if rises else number(-high, -value, 9.0)
    finding = verdict.judge_step(step, rises, "no step down")
    assert (finding.verdict, finding.expected) == (expected, "no step down")
    assert verdict.judge_step(Quantity("step", missing="not trained"), rises, "").why == "not trained"


def finding(judged: str, why: str = "because", value: float | None = 1.0) -> verdict.Finding:
    return verdict.Finding(Quantity("gain", value, low=0.5, high=1.5), "positive", judged, why)


ABSENT = finding(NOT_RUN, "not trained", None)


@pytest.mark.parametrize(
    ("findings", "expected", "why", "deciding"),
    [
        ([ABSENT], NOT_RUN, "not trained", 0),
        ([finding(NOT_COMPARED, "sizes"), ABSENT], INCONCLUSIVE, "sizes", 0),
        ([finding(REPRODUCED)], REPRODUCED, "because", 1),
        ([finding(REPRODUCED)] * 2, REPRODUCED, "all 2 parts hold", 2),
        ([finding(REPRODUCED), finding(NOT_COMPARED)], REPRODUCED, "because", 1),
        ([finding(REPRODUCED)] * 2 + [ABSENT], INCONCLUSIVE, "2 of 3 parts are reproduced, the others not run", 2),
        ([finding(REPRODUCED), finding(INCONCLUSIVE, "open"), ABSENT], INCONCLUSIVE, "open", 1),
        ([finding(INCONCLUSIVE, "open"), finding(CONTRADICTED, "not so")], CONTRADICTED, "not so", 1),
        ([finding(CONTRADICTED, why) for why in ("one", "two", "one")], CONTRADICTED, "one", 2),
    ],
)
def test_a_claim_holds_where_all_of_it_does(findings, expected, why, deciding):
    assert verdict.together(findings) == (expected, why, ("gain = +1.00 (+0.50 to +1.50)",) * deciding)


def test_of_many_numbers_the_first_three_are_listed():
    for count, more in [(3, []), (5, ["and 2 more"])]:
        assert verdict.together([finding(REPRODUCED)] * count)[2] == (*["gain = +1.00 (+0.50 to +1.50)"] * 3, *more)


def test_a_number_has_its_sign_and_nothing_has_a_plus():
    assert [verdict.signed(value) for value in (1.234, -1.235, 0.0, -0.001)] == ["+1.23", "-1.24", "+0.00", "+0.00"]
