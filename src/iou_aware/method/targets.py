"""The training targets of a single-stage head for a whole batch, in few operations and with one wait for the GPU.

MMDetection assigns anchors image by image and object by object, and waits for the GPU about twenty times an image. What
comes out here is the same to the last bit. Where several processes share a batch, they share its number of positives.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any

import torch
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.losses import FocalLoss
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.models.task_modules.samplers import PseudoSampler
from mmdet.registry import HOOKS
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import InstanceList, reduce_mean
from mmengine.hooks import Hook
from torch import Tensor, nn

from iou_aware.method.losses import focal_loss

REMEMBERED = 16  # how many sizes of a batch and of its images keep their anchors
PAIRS = 1 << 26  # how many overlaps of an object and an anchor are in memory at once, or those of one image


def batch_targets(model: nn.Module) -> None:
    """Let a single-stage detector compute its targets batch by batch, where its assigner is one that is known here."""
    head = getattr(model, "bbox_head", None)
    if isinstance(head, AnchorHead) and _is_known(head):
        head.get_anchors = partial(anchors_of, head.prior_generator)
        head.get_targets = partial(targets, head)
        if type(head.loss_cls) is FocalLoss and not torch.cuda.is_available():  # mmcv has a kernel for a GPU
            head.loss_cls.forward = partial(focal_loss, head.loss_cls)


def _is_known(head: AnchorHead) -> bool:
    """Say whether a head's targets are RetinaNet's: of the greatest IoU, without sampling, on all valid anchors."""
    assigner, cfg = head.assigner, head.train_cfg
    return (
        type(head).get_anchors is AnchorHead.get_anchors
        and type(head).get_targets is AnchorHead.get_targets
        and type(head)._get_targets_single is AnchorHead._get_targets_single
        and type(assigner) is MaxIoUAssigner
        and (assigner.gt_max_assign_all, assigner.perm_repeat_gt_cfg) == (True, None)
        and isinstance(assigner.neg_iou_thr, float)
        and max(assigner.ignore_iof_thr, assigner.gpu_assign_thr) <= 0
        and type(head.sampler) is PseudoSampler
        and cfg["allowed_border"] < 0
        and cfg["pos_weight"] <= 0
        and not head.reg_decoded_bbox
    )


def anchors_of(
    generator: AnchorGenerator, sizes: Sequence[Sequence[int]], batch_img_metas: list[dict], device: torch.device | str
) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """Return what ``AnchorHead.get_anchors`` returns: per image and level, the anchors and which lie inside the image.

    Args:
        generator: The head's; what it returned last is remembered.
        sizes: Per level, the feature map's height and width.
        batch_img_metas: Per image, ``pad_shape``.
        device: Where to put them.
    """
    sizes = tuple(map(tuple, sizes))
    shapes = [tuple(meta["pad_shape"][:2]) for meta in batch_img_metas]
    both = [_priors(generator, sizes, shape, torch.device(device)) for shape in shapes]
    return [anchors for anchors, _ in both], [inside for _, inside in both]


@lru_cache(REMEMBERED)
def _priors(generator: AnchorGenerator, sizes: tuple, shape: tuple, device: torch.device) -> tuple[list, list]:
    return generator.grid_priors(sizes, device=device), generator.valid_flags(sizes, shape, device)


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
    inside = torch.stack([torch.cat(list(flags)) for flags in valid_flag_list])
    assigned = _assign(head.assigner, boxes, anchors, inside)
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


def _assign(assigner: MaxIoUAssigner, boxes: Sequence[Tensor], anchors: Tensor, inside: Tensor) -> Tensor:
    """Return which of all objects of a batch each anchor is to find, (B, N): counted from 1, 0 none, -1 either.

    The objects of as many images as memory allows are compared with the anchors at once.

    Args:
        assigner: MMDetection's, for its thresholds.
        boxes: Per image, its objects, (K, 4).
        anchors: (N, 4).
        inside: Which anchors count, (B, N).
    """
    counts = list(map(len, boxes))
    firsts = list(accumulate(counts, initial=1))
    assigned = [torch.where(inside_image, 0, -1) for inside_image in inside]
    occupied = [image for image, count in enumerate(counts) if count]
    together = max(1, PAIRS // (len(anchors) * max(1, *counts)))
    for start in range(0, len(occupied), together):
        images = occupied[start : start + together]
        counted = torch.cat([inside[image].expand(counts[image], -1) for image in images])
        objects = torch.cat([boxes[image] for image in images])
        overlaps = assigner.iou_calculator(objects, anchors).masked_fill_(~counted, -1)
        sizes = [counts[image] for image in images]
        maxima = [rows.max(0) for rows in overlaps.split(sizes)]
        best = torch.stack([maximum.values for maximum in maxima])
        which = torch.stack([maximum.indices + firsts[image] for maximum, image in zip(maxima, images, strict=True)])
        group = torch.where((best >= 0) & (best < assigner.neg_iou_thr), 0, -1)
        group = torch.where(best >= assigner.pos_iou_thr, which, group)
        if assigner.match_low_quality:
            # An object gets the anchors that it overlaps most, whatever they overlap more; of several objects the last.
            most = overlaps.amax(1, keepdim=True)
            taken = (overlaps == most) & (most >= assigner.min_pos_iou)
            numbers = torch.arange(len(objects), dtype=torch.int32, device=anchors.device) + firsts[images[0]]
            last = torch.stack([rows.amax(0) for rows in (taken * numbers.unsqueeze(1)).split(sizes)])
            group = torch.where(last > 0, last, group)
        for image, row in zip(images, group, strict=True):
            assigned[image] = row
    return torch.stack(assigned)


@HOOKS.register_module()
class BatchNormaliser(Hook):
    """Makes the gradients of a single-stage detector those of its batch, however many processes share it.

    MMDetection's anchor heads, RetinaNet's among them, divide the sums of their losses by the positives N_r of their
    own process, and DistributedDataParallel averages the gradients: an object weighs more in a process with few others.
    With this hook every process r of R divides by the mean of N_r over all, whence

        1/R * sum_r (sum of process r) / (1/R * sum_r N_r) = (sum of the batch) / (positives of the batch),

    which is what one process computes for the whole batch. The head stays MMDetection's: only ``avg_factor``, the last
    of its training targets, is exchanged. A detector of two stages is left as it is: it normalises by anchors and
    proposals that each process draws at random.

    Two things remain each process's own: batch norm's statistics where it trains with them (the miniatures; pretrained
    backbones keep theirs fixed), and the padding of its images to the largest among them, which the convolutions see.
    """

    def before_train(self, runner) -> None:
        """Exchange the normaliser of the model's head from now on; a single process has nothing to exchange."""
        head = getattr(getattr(runner.model, "module", runner.model), "bbox_head", None)
        if runner.distributed and isinstance(head, AnchorHead):
            head.get_targets = partial(_shared, head.get_targets)


def _shared(get_targets: Callable, anchor_list: list[list[Tensor]], *args: Any, **kwargs: Any) -> tuple:
    """Return a head's training targets with the mean of their ``avg_factor`` over all processes."""
    *targets, avg_factor = get_targets(anchor_list, *args, **kwargs)
    # It stays on the GPU, which would have to be waited for to know it.
    avg_factor = torch.as_tensor(avg_factor, dtype=torch.float32, device=anchor_list[0][0].device)
    return *targets, reduce_mean(avg_factor)
