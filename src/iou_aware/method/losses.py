"""The IoU prediction loss (Eq. 3 of the paper, and the alternatives of its Table 2), and a faster focal loss."""

import torch
import torch.nn.functional as F
from mmdet.models.losses import FocalLoss
from mmdet.registry import MODELS
from torch import Tensor, nn

from iou_aware.common.messages import InputError

KINDS = {
    "bce": lambda logits, target: F.binary_cross_entropy_with_logits(logits, target, reduction="sum"),
    "l2": lambda logits, target: F.mse_loss(logits.sigmoid(), target, reduction="sum"),
    "l1": lambda logits, target: F.l1_loss(logits.sigmoid(), target, reduction="sum"),
}


@MODELS.register_module()
class IoUPredictionLoss(nn.Module):
    """Loss between predicted IoUs and the IoUs of the decoded boxes with their ground truth (Eq. 3).

    Every kind is differentiable in the target as well, so that the gradient may flow on into the box branch; whether it
    does is up to the caller, who detaches the target or not.

    Args:
        kind: ``bce`` (binary cross-entropy with the IoU as a soft target, the paper's default), ``l2`` or ``l1``.
        loss_weight: Factor of the loss.

    Raises:
        InputError: If the kind is unknown.
    """

    def __init__(self, kind: str = "bce", loss_weight: float = 1.0) -> None:
        super().__init__()
        if kind not in KINDS:
            raise InputError(f"IoU loss: found kind {kind!r}, expected one of {', '.join(KINDS)}")
        self.kind = kind
        self.loss_weight = loss_weight

    def forward(self, iou_logits: Tensor, iou_target: Tensor, avg_factor: float) -> Tensor:
        """Return the weighted loss as a scalar: the sum over the positives divided by ``avg_factor``.

        Args:
            iou_logits: Predicted IoUs before the sigmoid, (P,).
            iou_target: IoUs of the decoded boxes with their ground truth, in [0, 1], (P,).
            avg_factor: The number of positives, at least 1.
        """
        return self.loss_weight * KINDS[self.kind](iou_logits, iou_target) / avg_factor


def focal_loss(config: FocalLoss, logits: Tensor, labels: Tensor, weights: Tensor, avg_factor: Tensor) -> Tensor:
    """Return MMDetection's sigmoid focal loss of all anchors, from a third of the operations it takes on a CPU.

    Every class of every anchor is taken for a negative at first; then the few that are positives are put right. The
    result is MMDetection's but for the last bits: its sum has another order.

    Args:
        config: MMDetection's loss, for its ``alpha``, ``gamma`` and ``loss_weight``.
        logits: (N, C).
        labels: (N,), C for an anchor without an object.
        weights: (N,), of the anchors.
        avg_factor: The loss is divided by this.
    """
    num_classes = logits.shape[1]
    positive = (labels < num_classes).nonzero().squeeze(1)
    objects = logits[positive, labels[positive]]
    change = config.alpha * _focal(-objects, config.gamma) - (1 - config.alpha) * _focal(objects, config.gamma)
    negatives = (1 - config.alpha) * (_focal(logits, config.gamma).sum(1) * weights).sum()
    total = negatives + (change * weights[positive]).sum()
    return config.loss_weight * total / (avg_factor + torch.finfo(torch.float32).eps)


def _focal(logits: Tensor, gamma: float) -> Tensor:
    """Return the focal loss of logits that should be low: p^gamma * -log(1 - p), where p = sigmoid(logits)."""
    return logits.sigmoid() ** gamma * F.softplus(logits)
