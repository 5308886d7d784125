"""The training targets of a single-stage head for a whole batch, in few operations and with one wait for the GPU.

MMDetection assigns anchors image by image and object by object, and waits for the GPU about twenty times an image. What
comes out here is the same to the last bit.
"""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.models.task_modules.samplers import PseudoSampler
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import InstanceList
from torch import Tensor, nn


def batch_targets(model: nn.Module) -> None:
    """Let a single-stage detector compute its targets batch by batch, where its assigner is one that is known here."""
    head = getattr(model, "bbox_head", None)
    if isinstance(head, AnchorHead) and _is_known(head):
        head.get_targets = partial(targets, head)


def _is_known(head: AnchorHead) -> bool:
    """Say whether a head's targets are RetinaNet's: of the greatest IoU, without sampling, on all valid anchors."""
    assigner, cfg = head.assigner, head.train_cfg
    return (
        type(head).get_targets is AnchorHead.get_targets
        and type(head)._get_targets_single is AnchorHead._get_targets_single
        and type(assigner) is MaxIoUAssigner
        and (assigner.gt_max_assign_all, assigner.perm_repeat_gt_cfg) == (True, None)
        and max(assigner.ignore_iof_thr, assigner.gpu_assign_thr) <= 0
        and type(head.sampler) is PseudoSampler
        and cfg["allowed_border"] < 0
        and cfg["pos_weight"] <= 0
        and not head.reg_decoded_bbox
    )


def targets(
    head: AnchorHead,
    anchor_list: Sequence[Sequence[Tensor]],
    valid_flag_list: Sequence[Sequence[Tensor]],
    batch_gt_instances: InstanceList,
    *_: Any,
    **__: Any,
) -> tuple:
    """Return what ``AnchorHead.get_targets`` returns, but the last as a tensor.

    Args:
        head: The head; of no other it may be asked than ``batch_targets`` accepts.
        anchor_list: Per image and level, the anchors (n, 4); the same for every image.
        valid_flag_list: Per image and level, which of them lie inside the image, (n,).
        batch_gt_instances: Per image, ``bboxes`` (K, 4) and ``labels`` (K,).

    Returns:
        Per level: labels (B, n), their weights (B, n), box targets (B, n, 4) and their weights (B, n, 4); and the
        normaliser, the number of positives, of which an image without any counts as one.
    """
    sizes = [len(level) for level in anchor_list[0]]
    anchors = torch.cat([get_box_tensor(level) for level in anchor_list[0]])
    boxes = [get_box_tensor(one.bboxes) for one in batch_gt_instances]
    firsts = accumulate(map(len, boxes), initial=0)
    inside = [torch.cat(list(flags)) for flags in valid_flag_list]
    assigned = torch.stack(
        [_assign(head.assigner, *one, anchors, first) for *one, first in zip(boxes, inside, firsts, strict=False)]
    )
    positive = assigned > 0
    places = positive.nonzero(as_tuple=True)  # the one wait
    objects = assigned[places] - 1
    labels = torch.full_like(assigned, head.num_classes)
    labels[places] = torch.cat([one.labels for one in batch_gt_instances])[objects]
    box_targets = anchors.new_zeros(*assigned.shape, 4)
    box_targets[places] = head.bbox_coder.encode(anchors[places[1]], torch.cat(boxes)[objects])
    box_weights = positive.to(anchors.dtype).unsqueeze(-1).expand_as(box_targets)
    parts = (labels, (assigned >= 0).float(), box_targets, box_weights)
    return *(part.split(sizes, dim=1) for part in parts), positive.sum(1).clamp(min=1).sum()


def _assign(assigner: MaxIoUAssigner, boxes: Tensor, inside: Tensor, anchors: Tensor, first: int) -> Tensor:
    """Return which object each anchor of an image is to find, (N,): counted from ``first + 1``, 0 none, -1 either.

    Args:
        assigner: MMDetection's, for its thresholds.
        boxes: The image's objects, (K, 4).
        inside: Which anchors count, (N,).
        anchors: (N, 4).
        first: How many objects the images before have.
    """
    if not len(boxes):
        return torch.where(inside, 0, -1)
    overlaps = assigner.iou_calculator(boxes, anchors).masked_fill_(~inside, -1)
    best, which = overlaps.max(0)
    negative = assigner.neg_iou_thr
    low, high = negative if isinstance(negative, tuple) else (0, negative)
    assigned = torch.where((best >= low) & (best < high), 0, -1)
    assigned = torch.where(best >= assigner.pos_iou_thr, which + (first + 1), assigned)
    if assigner.match_low_quality:
        # An object gets the anchors that it overlaps most, whatever they overlap more; of several objects the last.
        most = overlaps.amax(1, keepdim=True)
        taken = (overlaps == most) & (most >= assigner.min_pos_iou)
        numbers = torch.arange(first + 1, first + 1 + len(boxes), dtype=torch.int32, device=anchors.device)
        last = (taken * numbers.unsqueeze(1)).amax(0)
        assigned = torch.where(last > 0, last, assigned)
    return assigned
