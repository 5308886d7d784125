import copy
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iou_aware.common.messages import InputError
from iou_aware.method.confidence import PLAIN, Rule, confidence, confidences

ALPHAS = st.floats(0, 1)
SWEEP = ["cls", "none", *(f"alpha={tenth / 10:.2f}" for tenth in range(11)), "oracle=0.50", "oracle=0.30"]


def random_scores(seed=0, anchors=4000, classes=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(anchors, classes, generator=generator), torch.rand(anchors, 1, generator=generator)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        *[("cls", "cls"), ("none", "none"), ("oracle", "oracle=0.50"), ("oracle=0.3", "oracle=0.30")],
        *[("alpha=1", "alpha=1.00"), ("alpha=-0.0", "alpha=0.00"), ("alpha=1e-5", "alpha=0.00001")],
    ],
)
def test_rules_are_written_in_one_way(text, written):
    assert Rule(text) == written


@given(st.sampled_from(["alpha", "oracle"]), ALPHAS)
def test_any_alpha_survives_files_and_copies(kind, alpha):
    rule = Rule(f"{kind}={alpha}")
    for again in rule, Rule(json.loads(json.dumps(rule))), copy.deepcopy(rule), pickle.loads(pickle.dumps(rule)):
        assert (again, again.kind, again.alpha) == (rule, kind, alpha)
    assert len(rule.partition(".")[2]) >= 2


ALPHA = [f"alpha{value}" for value in ("", "=", "=x", "=1.01", "=-0.1", "=nan", "=inf")]


@pytest.mark.parametrize("text", ["", "Cls", "cls=1", "beta=0.5", "oracle=", "oracle=2", *ALPHA])
def test_what_is_no_rule_is_refused_by_name(text):
    with pytest.raises(InputError, match=r"'none'.*\[0, 1\]") as error:
        Rule(text)
    assert repr(text) in str(error.value)


def test_rules_without_a_power_are_exact():
    """Of alpha one half one correctly rounded square root, which orders as ``none`` does and is never below it."""
    scores, ious = random_scores()
    product = scores * ious
    expected = {"cls": scores, "alpha=1.00": scores, "alpha=0.00": ious.expand_as(scores), "none": product}
    for rule, values in (expected | {"alpha=0.50": torch.from_numpy(np.sqrt(product.numpy()))}).items():
        assert torch.equal(confidence(scores, ious, rule), values)


@given(ALPHAS)
@settings(max_examples=30)
def test_equation_5_to_single_precision(alpha):
    """An oracle is the same function of other IoUs."""
    scores, ious = random_scores(1, 200)
    found = confidence(scores, ious, f"alpha={alpha}")
    expected = scores.double() ** alpha * ious.double() ** (1 - alpha)
    torch.testing.assert_close(found.double(), expected, rtol=2**-23, atol=1e-12)
    assert torch.equal(confidence(scores, ious, f"oracle={alpha}"), found)


@pytest.mark.parametrize("rule", SWEEP)
def test_a_value_does_not_depend_on_where_it_stands(rule):
    scores, ious = random_scores(2, 1000)
    whole = confidence(scores, ious, rule)
    alone = torch.cat([confidence(scores[at : at + 1], ious[at : at + 1], rule) for at in range(len(scores))])
    assert torch.equal(whole, alone)


@pytest.mark.parametrize("together", [1, 2, 100])
def test_all_rules_at_once_give_what_each_gives_alone(together, monkeypatch):
    scores, ious = random_scores(3)
    monkeypatch.setattr("iou_aware.method.confidence._MOST", together * scores.numel())
    for rule, found in zip(SWEEP, confidences(scores, ious, SWEEP), strict=True):
        assert torch.equal(found, confidence(scores, ious, rule))


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
