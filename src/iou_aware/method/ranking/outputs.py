"""What the head predicted for every anchor of a batch, read where it lies and only as far as it is needed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from mmdet.models.task_modules.coders import BaseBBoxCoder
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor, scale_boxes
from torch import Tensor


class DenseOutputs:
    """The predictions of B images for N anchors of C classes, over all levels.

    Anchors are numbered level by level and, within a level, as MMDetection numbers them: row by row, column by column,
    base anchor by base anchor. Sigmoids and decoding are computed in double precision and rounded once, so that a value
    is the same wherever it stands in a tensor (torch's vectorised and scalar routines differ in the last bit).

    Args:
        cls_logits: Per level, (B, A*C, H, W).
        box_deltas: Per level, (B, A*4, H, W).
        iou_logits: Per level, (B, A, H, W).
        priors: Per level, the anchors (H*W*A, 4), pixels of the network's input.
        coder: Decodes deltas into boxes.
        batch_img_metas: Per image, ``img_shape`` and, to rescale, ``scale_factor``.
        rescale: Whether boxes are in pixels of the stored image rather than of the network's input.
        factor_logits: Per level, (B, A, H, W): what multiplies all class scores of an anchor, such as a centerness.
    """

    def __init__(
        self,
        cls_logits: Sequence[Tensor],
        box_deltas: Sequence[Tensor],
        iou_logits: Sequence[Tensor],
        priors: Sequence[Tensor],
        coder: BaseBBoxCoder,
        batch_img_metas: Sequence[Mapping[str, Any]],
        rescale: bool,
        factor_logits: Sequence[Tensor] | None = None,
    ) -> None:
        self.num_images, self.num_base_priors = iou_logits[0].shape[:2]
        self.num_classes = cls_logits[0].shape[1] // self.num_base_priors
        self.level_sizes = [level[0].numel() for level in iou_logits]
        self._cls_logits, self._box_deltas, self._iou_logits = cls_logits, box_deltas, iou_logits
        self._priors, self._coder, self._metas, self._rescale = priors, coder, batch_img_metas, rescale
        self._factors = None if factor_logits is None else _by_anchor(factor_logits).double().sigmoid()

    @property
    def num_anchors(self) -> int:
        """N, over all levels."""
        return sum(self.level_sizes)

    @cached_property
    def best_scores(self) -> Tensor:
        """The classification score of each anchor's best class, (B, N), [0, 1]."""
        best = [level.unflatten(1, (self.num_base_priors, -1)).amax(2) for level in self._cls_logits]
        return self._scores(_by_anchor(best), self._factors)

    @cached_property
    def iou_preds(self) -> Tensor:
        """The predicted IoU of each anchor, (B, N), [0, 1]."""
        return _sigmoid(_by_anchor(self._iou_logits))

    @cached_property
    def _flat_deltas(self) -> Tensor:
        return torch.cat([_flatten_level(level, 4) for level in self._box_deltas], dim=1)

    @cached_property
    def _flat_priors(self) -> Tensor:
        return torch.cat([get_box_tensor(level) for level in self._priors])

    def class_scores(self, images: Tensor, anchors: Tensor) -> Tensor:
        """Return the classification scores (K, C), [0, 1], of anchors (K,) of images (K,)."""
        logits = self._cls_logits[0].new_empty(len(anchors), self.num_classes)
        start = 0
        # The maps stay where and as they are: they may well be a hundred times what is asked for.
        for level, size in zip(self._cls_logits, self.level_sizes, strict=True):
            here = ((anchors >= start) & (anchors < start + size)).nonzero().squeeze(1)
            place = anchors[here] - start
            by_class = level.unflatten(1, (self.num_base_priors, -1)).flatten(3)
            cell = place.div(self.num_base_priors, rounding_mode="floor")
            logits[here] = by_class[images[here], place % self.num_base_priors, :, cell]
            start += size
        return self._scores(logits, None if self._factors is None else self._factors[images, anchors].unsqueeze(1))

    @staticmethod
    def _scores(logits: Tensor, factors: Tensor | None) -> Tensor:
        return _sigmoid(logits) if factors is None else (logits.double().sigmoid() * factors).float()

    def boxes(self, images: Sequence[int], anchors: Tensor) -> Tensor:
        """Return the decoded boxes (I, K, 4) of ``anchors`` (I, K) in I images, clipped to them as the coder does."""
        priors = self._flat_priors[anchors].double()
        index = torch.tensor(images, device=anchors.device)
        deltas = self._flat_deltas[index.unsqueeze(1), anchors].double()
        boxes = torch.empty_like(deltas, dtype=torch.float32)
        # Images of one size are decoded together.
        alike = defaultdict(list)
        for place, image in enumerate(images):
            alike[tuple(self._metas[image]["img_shape"]), tuple(self._metas[image].get("scale_factor", ()))].append(
                place
            )
        for (shape, _), places in alike.items():
            those = [part[places].flatten(0, 1) for part in (priors, deltas)]
            decoded = get_box_tensor(self._coder.decode(*those, max_shape=shape)).float()
            if self._rescale:
                factors = self._metas[images[places[0]]]["scale_factor"]
                decoded = scale_boxes(decoded, [1 / factor for factor in factors])
            boxes[places] = decoded.view(len(places), -1, 4)
        return boxes


def nearest_iou(boxes: Tensor, gt_bboxes: Tensor) -> Tensor:
    """Return each box's (K, 4) IoU with the ground truth (G, 4) it overlaps most, whatever its class: (K,), [0, 1]."""
    if not len(gt_bboxes):
        return boxes.new_zeros(len(boxes))
    return bbox_overlaps(boxes, gt_bboxes.to(boxes)).amax(1)


def _flatten_level(level: Tensor, width: int) -> Tensor:
    """Return a map (B, A*width, H, W) as (B, H*W*A, width), in the order of the anchors."""
    return level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, width)


def _by_anchor(levels: Sequence[Tensor]) -> Tensor:
    """Return maps (B, A, H, W) as one tensor (B, N), in the order of the anchors."""
    return torch.cat([_flatten_level(level, 1).squeeze(-1) for level in levels], dim=1)


def _sigmoid(logits: Tensor) -> Tensor:
    return logits.double().sigmoid().float()
