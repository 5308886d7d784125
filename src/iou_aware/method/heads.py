"""The IoU-aware heads: RetinaNet's (the paper's Fig. 1), and those of ATSS and FCOS with or without centerness."""

from collections.abc import Sequence

from mmdet.models.dense_heads import ATSSHead, FCOSHead, RetinaHead
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from iou_aware.method.anchors import RoundedAnchorGenerator as RoundedAnchorGenerator  # registered with the heads
from iou_aware.method.iou_branch import IoUAware


class WithoutCenterness:
    """Mixin before a head that predicts a centerness: it predicts none. It still weights the box loss by its target.

    Attributes:
        centerness_layer: Name of the convolution that is left out.
    """

    centerness_layer = "conv_centerness"

    def _init_layers(self) -> None:
        super()._init_layers()
        setattr(self, self.centerness_layer, nn.Identity())

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return class logits and box deltas per level."""
        return super().forward(x)[:2]

    def loss_by_feat(self, cls_scores: list[Tensor], *rest) -> dict[str, list[Tensor] | Tensor]:
        """Return the head's losses but for that of the centerness; arguments are the head's, without it."""
        bbox_preds, *truth = rest
        unused = [level.new_zeros(len(level), self.num_base_priors, *level.shape[-2:]) for level in cls_scores]
        losses = super().loss_by_feat(cls_scores, bbox_preds, unused, *truth)
        del losses["loss_centerness"]
        return losses


@MODELS.register_module()
class IoUAwareRetinaHead(IoUAware, RetinaHead):
    """The paper's head; arguments are those of ``IoUAware`` and ``RetinaHead``."""

    box_layer = "retina_reg"


@MODELS.register_module()
class ATSSHeadWithoutCenterness(WithoutCenterness, ATSSHead):
    """ATSSHead without centerness."""

    centerness_layer = "atss_centerness"


@MODELS.register_module()
class IoUAwareATSSHead(IoUAware, ATSSHead):
    """ATSSHead with the IoU beside the centerness."""

    box_layer = "atss_reg"


@MODELS.register_module()
class IoUAwareATSSHeadWithoutCenterness(IoUAwareATSSHead, ATSSHeadWithoutCenterness):
    """ATSSHead with the IoU in place of the centerness."""


@MODELS.register_module()
class FCOSHeadWithoutCenterness(WithoutCenterness, FCOSHead):
    """FCOSHead without centerness."""


@MODELS.register_module()
class IoUAwareFCOSHead(IoUAware, FCOSHead):
    """FCOSHead with the IoU beside the centerness."""

    def labels_and_boxes(self, targets: tuple) -> tuple[Sequence[Tensor], Sequence[Tensor], Tensor]:
        """Return labels, distances to the box's sides, and the positives, over all processes as FCOSHead has them."""
        labels, distances = targets
        positives = sum(((level >= 0) & (level < self.num_classes)).sum() for level in labels)
        return labels, distances, reduce_mean(positives.float()).clamp(min=1)


@MODELS.register_module()
class IoUAwareFCOSHeadWithoutCenterness(IoUAwareFCOSHead, FCOSHeadWithoutCenterness):
    """FCOSHead with the IoU in place of the centerness."""
