"""What makes a dense head of MMDetection IoU-aware: one more convolution, its loss, and detections by every rule."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmdet.utils import ConfigType, InstanceList, OptConfigType
from mmengine.model import normal_init
from torch import Tensor, nn

from iou_aware.common.messages import InputError
from iou_aware.method.confidence import ALLOWED, Rule
from iou_aware.method.losses import IoUPredictionLoss as IoUPredictionLoss  # registered with the heads
from iou_aware.method.ranking import BatchDetections, DenseOutputs, Depth, Settings, sweep

DEFAULT_RULE = "alpha=0.50"
IOU_LOSS = {"type": "IoUPredictionLoss", "kind": "bce", "loss_weight": 1.0}


class IoUAware:
    """Mixin before a dense head: it also predicts the IoU of every regressed box with its ground truth.

    ``class IoUAwareMyHead(IoUAware, MyHead)`` and the name of its box layer make any head IoU-aware whose outputs are
    class logits, box deltas for its ``bbox_coder`` and, where it has one, a centerness.

    The prediction is one convolution with A outputs (class-agnostic) and a sigmoid, beside that of the boxes and on the
    same feature. During training it is compared, on positives only, with the IoU of the decoded prediction and the
    decoded target (Eq. 3); during inference it takes part in the detection confidence (Eq. 5). A centerness c is
    multiplied into the classification score p under every rule, as MMDetection does it: S = (p c)^alpha IoU^(1-alpha).

    ``test_cfg`` takes one field beyond MMDetection's: ``rule``, the confidence rule (default ``alpha=0.50``).
    Candidates are the paper's: per level the top ``nms_pre`` priors by the confidence of their best class, then
    ``score_thr`` on the confidence.

    Args:
        *args: Arguments of the head.
        loss_iou: Config of the IoU prediction loss.
        target_grad: Whether the gradient of the IoU loss also flows through the IoU target into the box branch (as in
            the journal version); False detaches the target (as in the paper's first version).
        **kwargs: Arguments of the head.

    Raises:
        InputError: If the classification is not by sigmoid, or ``test_cfg`` has an unknown rule, or an NMS
            that is not the paper's.

    Attributes:
        predicts_iou: What tells such a head from MMDetection's: it gives detections under every rule.
        box_layer: Name of the head's convolution that regresses boxes. The IoU's is named alike, ``retina_iou`` beside
            ``retina_reg``.
    """

    predicts_iou = True
    box_layer = "conv_reg"

    def __init__(self, *args, loss_iou: ConfigType = IOU_LOSS, target_grad: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if not self.use_sigmoid_cls:
            raise InputError("bbox_head.loss_cls: found use_sigmoid=False, expected True (the scores are per class)")
        self.loss_iou = MODELS.build(loss_iou)
        self.target_grad = target_grad
        self.depth = Depth()
        if self.test_cfg:
            Rule(self.test_cfg.get("rule", DEFAULT_RULE))
            Settings.from_config(self.test_cfg)

    def _init_layers(self) -> None:
        super()._init_layers()
        self._iou_layer = self.box_layer.removesuffix("reg") + "iou"
        box = getattr(self, self.box_layer)
        with _numbers_aside(box):
            iou = nn.Conv2d(box.in_channels, self.num_base_priors, box.kernel_size, padding=box.padding)
        self.add_module(self._iou_layer, iou)
        box.forward = self._box_and_iou  # whatever the head does with the feature before, and with the boxes after

    def init_weights(self) -> None:
        """Initialise the head's layers as it does itself, and the IoU convolution as in the authors' code.

        The IoU convolution is kept apart from what ``init_cfg`` initialises and from the random numbers drawn for it:
        detectors with and without it start from the same weights if they have the same seed. Otherwise their comparison
        would be one of initial weights as well, which can move AP further than the method does.
        """
        again, iou = self.is_init, self._modules.pop(self._iou_layer)
        super().init_weights()
        self.add_module(self._iou_layer, iou)
        if not again:
            with _numbers_aside(iou):
                normal_init(iou, std=0.01)

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Return the head's outputs for the neck's features and, last, the IoU logits: per level (N, A, H, W)."""
        self._iou_logits = []
        outs = super().forward(x)
        ious, self._iou_logits = self._iou_logits, []
        return *outs, ious

    def _box_and_iou(self, reg_feat: Tensor) -> Tensor:
        """Return the box layer's output for the regression branch's last feature, and keep the IoU logits.

        In training the two convolutions are computed as one, which costs little more than one of them, forwards and
        backwards. Inference keeps them apart, so that the boxes are the head's own to the last bit on any device.
        """
        box, iou = getattr(self, self.box_layer), getattr(self, self._iou_layer)
        if self.training:
            weight, bias = torch.cat([box.weight, iou.weight]), torch.cat([box.bias, iou.bias])
            both = F.conv2d(reg_feat, weight, bias, padding=box.padding)
            boxes, ious = both.split([box.out_channels, iou.out_channels], dim=1)
        else:
            boxes, ious = F.conv2d(reg_feat, box.weight, box.bias, padding=box.padding), iou(reg_feat)
        self._iou_logits.append(ious)
        return boxes

    def loss_by_feat(self, *args) -> dict[str, list[Tensor] | Tensor]:
        """Return the head's losses (a scalar, or one per level), and ``loss_iou`` (a scalar).

        The IoU loss is about the positives that the head's own losses are about, and is divided by the same number as
        its classification loss, their number. Over several processes ``BatchNormaliser`` makes it their mean.

        Args:
            *args: What ``forward`` returned; then per image the ground truth, ``bboxes`` (pixels) and ``labels``, the
                meta information, and the boxes to ignore.
        """
        *outs, truth, metas, ignored = args
        # In single precision, whatever the network computed in.
        *outs, iou_logits = ([level.float() for level in part] for part in outs)
        # The head asks for its targets; what it gets is kept for the IoU.
        get_targets, assigned = self.get_targets, []
        self.get_targets = lambda *args, **options: assigned.append(get_targets(*args, **options)) or assigned[-1]
        try:
            losses = super().loss_by_feat(*outs, truth, metas, ignored)
        finally:
            self.get_targets = get_targets
        losses["loss_iou"] = self._loss_iou(outs[1], iou_logits, assigned[0])
        return losses

    def labels_and_boxes(self, targets: tuple) -> tuple[Sequence[Tensor], Sequence[Tensor], Tensor | float]:
        """Return of what ``get_targets`` returned the part that the IoU loss needs; a head with another order says so.

        Returns:
            Per level, the labels and box targets of all images' priors, image by image; and what a sum over the
            positives is divided by.
        """
        *_, labels, _, boxes, _, avg_factor = targets  # of ``AnchorHead`` and of those that return anchors before
        return labels, boxes, avg_factor

    def _loss_iou(self, bbox_preds: list[Tensor], iou_logits: list[Tensor], assigned: tuple) -> Tensor:
        """Return the IoU loss of the positives; without any it is zero, and its gradient zero rather than absent."""
        labels, targets, avg_factor = self.labels_and_boxes(assigned)
        # Positives are a few in a thousand: they are picked before anything is decoded, and those of all levels at
        # once, since the GPU is waited for to know their number.
        labels = torch.cat([level.flatten() for level in labels])
        positive = ((labels >= 0) & (labels < self.num_classes)).nonzero().squeeze(1)
        sizes = [level.shape[-2:] for level in iou_logits]
        priors = self.prior_generator.grid_priors(sizes, dtype=torch.float32, device=labels.device)
        deltas = bbox_preds if self.target_grad else [level.detach() for level in bbox_preds]
        parts = (
            [get_box_tensor(level).repeat(len(iou_logits[0]), 1) for level in priors],
            [get_box_tensor(level).reshape(-1, 4) for level in targets],
            [level.permute(0, 2, 3, 1).reshape(-1, 4) for level in deltas],
            [level.permute(0, 2, 3, 1).flatten() for level in iou_logits],
        )
        priors, targets, deltas, logits = (torch.cat(part)[positive] for part in parts)
        boxes = get_box_tensor(self.bbox_coder.decode(priors, deltas))
        if not getattr(self, "reg_decoded_bbox", False):
            targets = get_box_tensor(self.bbox_coder.decode(priors, targets))
        return self.loss_iou(logits, bbox_overlaps(boxes, targets, is_aligned=True), avg_factor)

    def predict_by_feat(
        self, *outs, batch_img_metas: list[dict], cfg: OptConfigType = None, rescale: bool = False
    ) -> InstanceList:
        """Return each image's detections under the rule of ``test_cfg``, as MMDetection's test loop expects them.

        Arguments and result are those of ``sweep``, for the one rule.
        """
        cfg = self.test_cfg if cfg is None else cfg
        rule = Rule(cfg.get("rule", DEFAULT_RULE))
        return [detections[rule] for detections in self.sweep(outs, batch_img_metas, [rule], rescale, cfg=cfg)]

    @torch.no_grad()
    def sweep(
        self,
        x: Sequence[Tensor] | tuple[list[Tensor], ...],
        batch_img_metas: list[dict],
        rules: Sequence[str],
        rescale: bool = True,
        gt_bboxes: Sequence[Tensor] | None = None,
        cfg: OptConfigType = None,
    ) -> BatchDetections:
        """Return the detections of a batch under every rule, from one forward pass.

        Args:
            x: The neck's features, or what ``forward`` returned for them.
            batch_img_metas: Per image: ``img_shape`` and, to rescale, ``scale_factor``.
            rules: Confidence rules; at least one.
            rescale: Whether boxes are returned in pixels of the stored image rather than of the network's input.
            gt_bboxes: Per image, ground-truth boxes (G, 4) in the same pixels as the result; needed by ``oracle``.
            cfg: Used in place of ``test_cfg``.

        Returns:
            As columns, and per image a dict from the rule's text to its detections, in descending confidence:
            ``bboxes`` (n, 4), ``labels`` (n,), ``scores`` (n,) the confidence, ``cls_scores`` (n,), times the
            centerness where there is one, and ``iou_preds`` (n,). Under ``oracle``, these are the true IoUs.

        Raises:
            InputError: If there is no rule, or one is unknown, or is ``oracle`` while no ground truth is given.
        """
        cfg = self.test_cfg if cfg is None else cfg
        rules = [Rule(rule) for rule in rules]
        if not rules:
            raise InputError(f"confidence rules: found none, expected one or more of {ALLOWED}")
        if gt_bboxes is None and any(rule.kind == "oracle" for rule in rules):
            raise InputError("confidence rule 'oracle': found no ground-truth boxes; it needs a labelled split")
        outs = self(x) if isinstance(x[0], Tensor) else x
        # They may come out of mixed precision.
        cls, box, *centerness, iou = ([level.float() for level in part] for part in outs)
        sizes = [level.shape[-2:] for level in cls]
        priors = self.prior_generator.grid_priors(sizes, dtype=torch.float32, device=cls[0].device)
        outputs = DenseOutputs(cls, box, iou, priors, self.bbox_coder, batch_img_metas, rescale, *centerness)
        return sweep(outputs, rules, Settings.from_config(cfg), gt_bboxes, self.depth)


def _numbers_aside(layer: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which random numbers may be drawn for a layer, and after which none have been."""
    device = next(layer.parameters()).device
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
