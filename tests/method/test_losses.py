import math
from importlib.resources import files

import pytest
import torch
import yaml
from mmdet.models.losses import FocalLoss
from mmdet.registry import MODELS

from iou_aware.common.messages import InputError
from iou_aware.method.losses import KINDS, IoUPredictionLoss, focal_loss

LOGITS = [-3.0, 0.0, 0.5, 4.0]
TARGETS = [0.1, 0.0, 1.0, 0.73]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


BY_HAND = {
    "bce": lambda x, t: -t * math.log(sigmoid(x)) - (1 - t) * math.log(1 - sigmoid(x)),
    "l2": lambda x, t: (sigmoid(x) - t) ** 2,
    "l1": lambda x, t: abs(sigmoid(x) - t),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_the_sum_over_positives_divided_by_their_number(kind):
    loss = MODELS.build({"type": "IoUPredictionLoss", "kind": kind, "loss_weight": 2.0})
    by_hand = sum(BY_HAND[kind](x, t) for x, t in zip(LOGITS, TARGETS, strict=True))
    found = loss(torch.tensor(LOGITS), torch.tensor(TARGETS), avg_factor=4)
    assert found.shape == ()
    assert found.item() == pytest.approx(2.0 * by_hand / 4, rel=1e-6)


@pytest.mark.parametrize("kind", BY_HAND)
def test_both_gradients_are_right(kind):
    logits = torch.tensor(LOGITS, dtype=torch.double, requires_grad=True)
    targets = torch.tensor([0.1, 0.2, 0.9, 0.73], dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, t: IoUPredictionLoss(kind)(x, t, 3.0), (logits, targets))


def test_an_unknown_kind_is_refused_by_name():
    with pytest.raises(InputError, match="'giou', expected one of bce, l2, l1"):
        IoUPredictionLoss("giou")


def test_an_experiment_may_ask_for_every_kind():
    """The schema lists them once more: an experiment is read without torch."""
    schema = yaml.safe_load((files("iou_aware") / "schemas" / "experiment.schema.yaml").read_text())
    one, several = schema["properties"]["runs"]["items"]["properties"]["iou_loss"]["anyOf"]
    assert one["enum"] == several["items"]["enum"] == list(KINDS)


@pytest.mark.parametrize("labels", [[0, 2, 3, 3, 1], [3, 3, 3, 3, 3], [0, 1, 2, 0, 1]])
@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_the_focal_loss_is_that_of_its_paper(labels, gamma):
    """FL(p_t) = -alpha_t (1 - p_t)^gamma log(p_t), of every class of every anchor; label 3 is the background."""
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(5, 3, generator=generator, dtype=torch.double)).requires_grad_()
    labels, weights = torch.tensor(labels), torch.tensor([1, 1, 0, 1, 0.5], dtype=torch.double)
    config = FocalLoss(gamma=gamma, alpha=0.25, loss_weight=2.0)
    ours = focal_loss(config, logits, labels, weights, 7.0)
    by_hand = 0.0
    for row, label, weight in zip(logits.tolist(), labels.tolist(), weights.tolist(), strict=True):
        for place, logit in enumerate(row):
            right, alpha = (sigmoid(logit), 0.25) if place == label else (sigmoid(-logit), 0.75)
            by_hand -= weight * alpha * (1 - right) ** gamma * math.log(right)
    assert ours.item() == pytest.approx(2.0 * by_hand / 7, rel=1e-6)
    (gradient,) = torch.autograd.grad(ours, logits)
    (theirs,) = torch.autograd.grad(config(logits, labels, weights, avg_factor=7.0), logits)
    assert torch.allclose(gradient, theirs, rtol=1e-6, atol=1e-12)
