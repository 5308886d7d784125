import copy
import json
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iou_aware.common.errors import InputError
from iou_aware.method.confidence import PLAIN, Rule, confidence, confidences

ALPHAS = st.floats(0, 1)
SWEEP = ["cls", "none", *(f"alpha={tenth / 10:.2f}" for tenth in range(11)), "oracle=0.50", "oracle=0.30"]


def random_scores(seed=0, anchors=4000, classes=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(anchors, classes, generator=generator), torch.rand(anchors, 1, generator=generator)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("cls", "cls"),
        ("none", "none"),
        ("oracle", "oracle=0.50"),
        ("oracle=0.3", "oracle=0.30"),
        ("alpha=0.5", "alpha=0.50"),
        ("alpha=1", "alpha=1.00"),
        ("alpha=0", "alpha=0.00"),
        ("alpha=-0.0", "alpha=0.00"),
        ("alpha=0.125", "alpha=0.125"),
        ("alpha=1e-5", "alpha=0.00001"),
    ],
)
def test_rules_are_written_in_one_way(text, written):
    assert Rule(text) == written


@given(st.sampled_from(["alpha", "oracle"]), ALPHAS)
def test_any_alpha_survives_the_round_trip(kind, alpha):
    rule = Rule(f"{kind}={alpha}")
    assert (rule.kind, rule.alpha) == (kind, alpha)
    again = Rule(rule)
    assert (again, again.alpha) == (rule, alpha)
    assert len(rule.partition(".")[2]) >= 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alpha",
        "alpha=",
        "alpha=x",
        "alpha=1.01",
        "alpha=-0.1",
        "alpha=nan",
        "alpha=inf",
        "oracle=",
        "oracle=2",
        "cls=1",
        "Cls",
        "beta=0.5",
    ],
)
def test_what_is_no_rule_is_refused_by_name(text):
    with pytest.raises(InputError, match=r"'none'.*\[0, 1\]") as error:
        Rule(text)
    assert repr(text) in str(error.value)


def test_a_rule_survives_copies_and_files():
    rule = Rule("oracle=0.3")
    for again in copy.deepcopy(rule), pickle.loads(pickle.dumps(rule)), Rule(json.loads(json.dumps(rule))):
        assert (again, again.kind, again.alpha) == ("oracle=0.30", "oracle", 0.3)


def test_the_ends_are_exact():
    scores, ious = random_scores()
    for rule in ("cls", "alpha=1.00"):
        assert torch.equal(confidence(scores, ious, rule), scores)
    assert torch.equal(confidence(scores, ious, "alpha=0.00"), ious.expand_as(scores))
    assert torch.equal(confidence(scores, ious, "none"), scores * ious)


@given(ALPHAS)
@settings(max_examples=30)
def test_equation_5_to_single_precision(alpha):
    scores, ious = random_scores(1, 200)
    found = confidence(scores, ious, f"alpha={alpha}")
    for score, iou, value in zip(
        scores.flatten().tolist(), ious.expand_as(scores).flatten().tolist(), found.flatten().tolist(), strict=True
    ):
        assert value == pytest.approx(math.pow(score, alpha) * math.pow(iou, 1 - alpha), rel=2**-23)


@pytest.mark.parametrize("rule", SWEEP)
def test_a_value_does_not_depend_on_where_it_stands(rule):
    scores, ious = random_scores(2, 1000)
    whole = confidence(scores, ious, rule)
    alone = torch.cat([confidence(scores[at : at + 1], ious[at : at + 1], rule) for at in range(len(scores))])
    assert torch.equal(whole, alone)


@given(ALPHAS)
@settings(max_examples=10)
def test_an_oracle_is_the_same_function_of_other_ious(alpha):
    scores, ious = random_scores(6, 100)
    assert torch.equal(confidence(scores, ious, f"oracle={alpha}"), confidence(scores, ious, f"alpha={alpha}"))


@pytest.mark.parametrize("together", [1, 2, 100])
def test_all_rules_at_once_give_what_each_gives_alone(together, monkeypatch):
    scores, ious = random_scores(3)
    monkeypatch.setattr("iou_aware.method.confidence._MOST", together * scores.numel())
    for rule, found in zip(SWEEP, confidences(scores, ious, SWEEP), strict=True):
        assert torch.equal(found, confidence(scores, ious, rule))


def test_none_and_alpha_half_never_disagree_on_an_order():
    """The ground of AP(none) <= AP(alpha=0.50): same ranking, and whatever passes a threshold under none passes it."""
    scores, ious = random_scores(4)
    none, half = (confidence(scores, ious, rule).flatten() for rule in ("none", "alpha=0.50"))
    order = none.argsort(stable=True)
    assert (half[order].diff() >= 0).all()
    assert (half >= none).all()


@pytest.mark.parametrize("rule", SWEEP)
def test_confidence_rises_with_the_classification_score(rule):
    scores, ious = random_scores(5)
    ordered = scores.sort(1).values
    assert (confidence(ordered, ious, rule).diff(dim=1) >= 0).all()


@pytest.mark.parametrize("rule", SWEEP)
def test_zeros_and_ones_give_numbers(rule):
    scores = torch.tensor([[0.0, 1.0, 1e-45]])
    for iou in (0.0, 1.0, 1e-45):
        found = confidence(scores, torch.tensor([[iou]]), rule)
        assert ((found >= 0) & (found <= 1)).all()
    assert confidence(torch.ones(1, 1), torch.ones(1, 1), rule).item() == 1


def test_a_further_rule_is_one_line(monkeypatch):
    monkeypatch.setitem(PLAIN, "least", torch.minimum)
    p, iou = random_scores()
    least, cls = confidences(p, iou, ["least", "cls"])
    assert torch.equal(least, torch.where(p < iou, p, iou))
    assert torch.equal(cls, p)
    assert Rule("least").kind == "least"


def test_alpha_one_half_is_rounded_once():
    p, iou = random_scores()
    assert np.array_equal(confidence(p, iou, "alpha=0.50").numpy(), np.sqrt((p * iou).numpy()))
