import math
from importlib.resources import files

import pytest
import torch
import yaml
from mmdet.registry import MODELS

from iou_aware.common.errors import InputError
from iou_aware.method.losses import KINDS, IoUPredictionLoss

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


def test_the_gradient_of_bce_in_its_target_is_minus_the_logit():
    logits, targets = torch.tensor(LOGITS), torch.tensor(TARGETS, requires_grad=True)
    IoUPredictionLoss("bce")(logits, targets, 1.0).backward()
    assert torch.allclose(targets.grad, -logits)


@pytest.mark.parametrize("kind", BY_HAND)
def test_no_positives_cost_nothing_but_keep_the_graph(kind):
    weight = torch.ones(3, requires_grad=True)
    loss = IoUPredictionLoss(kind)(weight[:0], torch.zeros(0), 1.0)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(weight.grad, torch.zeros(3))


def test_an_unknown_kind_is_refused_by_name():
    with pytest.raises(InputError, match="'giou', expected one of bce, l2, l1"):
        IoUPredictionLoss("giou")


def test_an_experiment_may_ask_for_every_kind():
    """The schema lists them once more: an experiment is read without torch."""
    schema = yaml.safe_load((files("iou_aware") / "schemas" / "experiment.schema.yaml").read_text())
    one, several = schema["properties"]["runs"]["items"]["properties"]["iou_loss"]["anyOf"]
    assert one["enum"] == several["items"]["enum"] == list(KINDS)
