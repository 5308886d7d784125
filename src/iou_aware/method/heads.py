"""The IoU-aware heads: RetinaNet's (the paper's Fig. 1) and its anchors; ATSS's and FCOS's, centerness or not."""

from collections.abc import Sequence

from mmdet.models.dense_heads import ATSSHead, FCOSHead, RetinaHead
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.utils import reduce_mean
from torch import Tensor, nn

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


@TASK_UTILS.register_module()
class RoundedAnchorGenerator(AnchorGenerator):
    """MMDetection 1.x's anchors in continuous coordinates, as MMDetection 3 has them.

    1.x centres anchors on the middle of a cell's pixels, ((s - 1) / 2, (s - 1) / 2) for a cell of s pixels, and rounds
    their corners to whole pixels. Both corners belong to the box, and 1 is added wherever a width is needed. In
    continuous coordinates the centre is (s / 2, s / 2) and a box ends where its last pixel does, at x2 + 1; what 1.x
    does with boxes is then the ordinary arithmetic, and nothing else of it has to be imitated.
    """

    def gen_single_level_base_anchors(
        self, base_size: float, scales: Tensor, ratios: Tensor, center: tuple[float, float] | None = None
    ) -> Tensor:
        """Return the anchors (A, 4) of the first cell of a level, of which ``base_size`` is the side."""
        center = center or (base_size / 2, base_size / 2)
        anchors = super().gen_single_level_base_anchors(base_size, scales, ratios, center)
        # The last pixel is what is rounded, and not the end: they differ where an end lies halfway.
        last = anchors.new_tensor([0.0, 0.0, 1.0, 1.0])
        return (anchors - last).round() + last


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
