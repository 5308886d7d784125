"""The IoU-aware RetinaNet head: MMDetection's RetinaHead with one more convolution (Fig. 1 of the paper)."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import RetinaHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmdet.utils import ConfigType, InstanceList, OptConfigType, OptInstanceList
from mmengine.model import normal_init
from torch import Tensor, nn

from iou_aware.common.errors import InputError
from iou_aware.method.anchors import RoundedAnchorGenerator as RoundedAnchorGenerator  # registered with the head
from iou_aware.method.confidence import ALLOWED, Rule
from iou_aware.method.losses import IoUPredictionLoss as IoUPredictionLoss  # registered with the head
from iou_aware.method.ranking import BatchDetections, DenseOutputs, Depth, Settings, sweep

DEFAULT_RULE = "alpha=0.50"
IOU_LOSS = {"type": "IoUPredictionLoss", "kind": "bce", "loss_weight": 1.0}


@MODELS.register_module()
class IoUAwareRetinaHead(RetinaHead):
    """RetinaHead that also predicts the IoU of every regressed anchor with its ground truth.

    The prediction is one 3x3 convolution with A outputs (class-agnostic) and a sigmoid on the last feature of the
    regression branch. During training it is compared, on positives only, with the IoU of the decoded prediction and the
    decoded target (Eq. 3); during inference it takes part in the detection confidence (Eq. 5).

    ``test_cfg`` takes one field beyond MMDetection's: ``rule``, the confidence rule (default ``alpha=0.50``).
    Candidates are the paper's: per level the top ``nms_pre`` anchors by the confidence of their best class, then
    ``score_thr`` on the confidence.

    Args:
        loss_iou: Config of the IoU prediction loss.
        target_grad: Whether the gradient of the IoU loss also flows through the IoU target into the box branch (as in
            the journal version); False detaches the target (as in the paper's first version).
        **kwargs: Arguments of ``RetinaHead``.

    Raises:
        InputError: If the classification is not by sigmoid, or ``test_cfg`` has an unknown rule, or an NMS
            that is not the paper's.

    Attributes:
        predicts_iou: What tells a head with ``sweep`` from MMDetection's: it gives detections under every rule.
    """

    predicts_iou = True

    def __init__(
        self,
        *args,
        loss_iou: ConfigType = IOU_LOSS,
        target_grad: bool = False,
        **kwargs,
    ) -> None:
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
        with _numbers_aside(self.retina_reg):
            self.retina_iou = nn.Conv2d(self.retina_reg.in_channels, self.num_base_priors, 3, padding=1)

    def init_weights(self) -> None:
        """Initialise RetinaHead's layers as RetinaHead does, and the IoU convolution as in the authors' code.

        The IoU convolution is kept apart from what ``init_cfg`` initialises and from the random numbers drawn for it:
        detectors with this head and with RetinaHead start from the same weights if they have the same seed. Otherwise
        their comparison would be one of initial weights as well, which can move AP further than the method does.
        """
        again, iou = self.is_init, self._modules.pop("retina_iou")
        super().init_weights()
        self.retina_iou = iou
        if not again:
            with _numbers_aside(iou):
                normal_init(iou, std=0.01)

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the predictions of one level from its feature (N, F, H, W).

        Returns:
            Class logits (N, A*C, H, W), box deltas (N, A*4, H, W) and IoU logits (N, A, H, W).
        """
        cls_feat = reg_feat = x
        for convolution in self.cls_convs:
            cls_feat = convolution(cls_feat)
        for convolution in self.reg_convs:
            reg_feat = convolution(reg_feat)
        return self.retina_cls(cls_feat), *self._box_and_iou(reg_feat)

    def _box_and_iou(self, reg_feat: Tensor) -> tuple[Tensor, Tensor]:
        """Return box deltas and IoU logits of the regression branch's last feature.

        In training the two convolutions are computed as one, which costs little more than one of them, forwards and
        backwards. Inference keeps them apart, so that the boxes are RetinaHead's to the last bit on any device.
        """
        box, iou = self.retina_reg, self.retina_iou
        if not self.training:
            return box(reg_feat), iou(reg_feat)
        weight, bias = torch.cat([box.weight, iou.weight]), torch.cat([box.bias, iou.bias])
        both = F.conv2d(reg_feat, weight, bias, padding=1)
        return both.split([box.out_channels, iou.out_channels], dim=1)

    def loss_by_feat_single(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        anchors: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        avg_factor: float,
    ) -> tuple[Tensor, Tensor]:
        """Return RetinaHead's losses of one level; remember its targets: the IoU loss is about the same positives."""
        self._targets.append((get_box_tensor(anchors), labels, bbox_targets))
        self._avg_factor = avg_factor
        return super().loss_by_feat_single(
            cls_score, bbox_pred, anchors, labels, label_weights, bbox_targets, bbox_weights, avg_factor
        )

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        iou_preds: list[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> dict[str, list[Tensor] | Tensor]:
        """Return ``loss_cls`` and ``loss_bbox`` of RetinaHead (lists, one item per level) and ``loss_iou`` (a scalar).

        All three are sums divided by the same number: MMDetection's ``avg_factor``, which is the number of positives of
        this process's batch (an image without any counts as one). Over several processes ``BatchNormaliser`` makes it
        their mean, for this head as for RetinaHead.

        Args:
            cls_scores: Per level, class logits (N, A*C, H, W).
            bbox_preds: Per level, box deltas (N, A*4, H, W).
            iou_preds: Per level, IoU logits (N, A, H, W).
            batch_gt_instances: Per image, ``bboxes`` (pixels) and ``labels``.
            batch_img_metas: Per image, the meta information.
            batch_gt_instances_ignore: Per image, the boxes to ignore.
        """
        self._targets = []
        # In single precision, whatever the network computed in.
        outs = (cls_scores, bbox_preds, iou_preds)
        cls_scores, bbox_preds, iou_preds = ([level.float() for level in part] for part in outs)
        losses = super().loss_by_feat(
            cls_scores, bbox_preds, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        )
        losses["loss_iou"] = self._loss_iou(bbox_preds, iou_preds)
        return losses

    def _loss_iou(self, bbox_preds: list[Tensor], iou_preds: list[Tensor]) -> Tensor:
        """Return the IoU loss of the positives; without any it is zero, and its gradient zero rather than absent."""
        levels = zip(*self._targets, strict=True)
        anchors, labels, targets = ([part.flatten(0, 1) for part in parts] for parts in levels)
        self._targets = []
        deltas = bbox_preds if self.target_grad else [level.detach() for level in bbox_preds]
        deltas = [level.permute(0, 2, 3, 1).reshape(-1, 4) for level in deltas]
        logits = [level.permute(0, 2, 3, 1).flatten() for level in iou_preds]
        # Positives are a few in a thousand: they are picked before anything is decoded, and those of all levels at
        # once, since the GPU is waited for to know their number.
        labels = torch.cat(labels)
        positive = ((labels >= 0) & (labels < self.num_classes)).nonzero().squeeze(1)
        anchors, targets, deltas, logits = (torch.cat(part)[positive] for part in (anchors, targets, deltas, logits))
        boxes = get_box_tensor(self.bbox_coder.decode(anchors, deltas))
        if not self.reg_decoded_bbox:
            targets = get_box_tensor(self.bbox_coder.decode(anchors, targets))
        iou_target = bbox_overlaps(boxes, targets, is_aligned=True)
        return self.loss_iou(logits, iou_target, self._avg_factor)

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        iou_preds: list[Tensor],
        batch_img_metas: list[dict],
        cfg: OptConfigType = None,
        rescale: bool = False,
    ) -> InstanceList:
        """Return each image's detections under the rule of ``test_cfg``, as MMDetection's test loop expects them.

        Arguments and result are those of ``sweep``, for the one rule.
        """
        cfg = self.test_cfg if cfg is None else cfg
        rule = Rule(cfg.get("rule", DEFAULT_RULE))
        outs = (cls_scores, bbox_preds, iou_preds)
        return [detections[rule] for detections in self.sweep(outs, batch_img_metas, [rule], rescale, cfg=cfg)]

    @torch.no_grad()
    def sweep(
        self,
        x: Sequence[Tensor] | tuple[list[Tensor], list[Tensor], list[Tensor]],
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
            ``bboxes`` (n, 4), ``labels`` (n,), ``scores`` (n,) the confidence, ``cls_scores`` (n,) and ``iou_preds``
            (n,). Under ``oracle``, ``iou_preds`` holds the true IoUs.

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
        outs = [[level.float() for level in part] for part in outs]  # they may come out of mixed precision
        sizes = [level.shape[-2:] for level in outs[0]]
        priors = self.prior_generator.grid_priors(sizes, dtype=torch.float32, device=outs[0][0].device)
        outputs = DenseOutputs(*outs, priors, self.bbox_coder, batch_img_metas, rescale)
        return sweep(outputs, rules, Settings.from_config(cfg), gt_bboxes, self.depth)


def _numbers_aside(layer: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which random numbers may be drawn for a layer, and after which none have been."""
    device = next(layer.parameters()).device
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
