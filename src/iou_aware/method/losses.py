"""The IoU prediction loss (Eq. 3 of the paper, and the alternatives of its Table 2)."""

import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from iou_aware.common.errors import InputError

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
