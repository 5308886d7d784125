"""Greedy per-class non-maximum suppression of many rankings of the same boxes at once."""

import torch
from torch import Tensor

# How many steps go by before it is asked (which makes a device wait) whether any ranking still has candidates.
PATIENCE = 20


def survivors_of(boxes: Tensor, counts: list[int], iou_threshold: float) -> Tensor:
    """Return what of each image's boxes survives each of them being kept.

    The IoU is mmcv's, operation by operation: intersection / (area + area - intersection) in single precision, without
    offset. Of boxes without area it is 0/0, not a number, which exceeds nothing: they do not suppress each other.

    Args:
        boxes: (B, U, 4), of which an image's first ``counts`` are real.
        counts: B numbers.
        iou_threshold: A box does not survive another one if their IoU exceeds it.

    Returns:
        Masks (B, U, U), int16: ``[b, i, j]`` has no bit set if j does not survive i, else all; none survives itself.
        Undefined beyond the counts.
    """
    num_boxes = boxes.shape[1]
    masks = torch.empty((len(counts), num_boxes, num_boxes), dtype=torch.int16, device=boxes.device)
    # Fresh memory of this size costs as much as the arithmetic: all images share it.
    space = torch.empty((3, num_boxes, num_boxes), dtype=boxes.dtype, device=boxes.device)
    for mask, corners, count in zip(masks, boxes, counts, strict=True):
        left, top, right, bottom = corners[:count].T.contiguous()
        area = (right - left) * (bottom - top)
        width, height, other = space[:, :count, :count]
        _shared(left, right, width, other)
        _shared(top, bottom, height, other)
        shared = width.mul_(height)
        union = torch.add(area.unsqueeze(1), area, out=other).sub_(shared)
        mask[:count, :count].copy_(shared.div_(union) > iou_threshold).sub_(1)
        mask.fill_diagonal_(0)
    return masks


def _shared(low: Tensor, high: Tensor, out: Tensor, space: Tensor) -> None:
    """Put how long each two boxes' (U,) intersection is in one direction into ``out`` (U, U); 0 where there is none."""
    torch.minimum(high.unsqueeze(1), high, out=out)
    out.sub_(torch.maximum(low.unsqueeze(1), low, out=space)).clamp_(min=0)


def suppress(pairs: Tensor, ranked: Tensor, images: Tensor, survivors: Tensor, num_classes: int, cap: int) -> Tensor:
    """Return which pairs of each ranking greedy NMS keeps, in order, up to the cap.

    All rankings take a step at a time together: each keeps its best candidate and removes what does not survive it from
    the candidates of that class. There are as many steps as detections may remain, however long the rankings are.

    Args:
        pairs: (G, M) integers ``label * U + box``, each ranking in order.
        ranked: Which of them are candidates at all, (G, M).
        images: Whose boxes each ranking is about, (G,).
        survivors: From ``survivors_of``, (B, U, U).
        num_classes: C.
        cap: How many to keep at most.

    Returns:
        Places (G, cap) in the rankings, ascending; M where there is none.
    """
    (num_rows, length), num_boxes = pairs.shape, survivors.shape[-1]
    # A candidate's rank counts down, so that the best has the largest and 0 can say "none"; (G, C * U).
    rank_type = torch.int16 if length < torch.iinfo(torch.int16).max else torch.int32
    survivors = survivors.to(rank_type).flatten(0, 1)
    descending = torch.arange(length, 0, -1, dtype=rank_type, device=pairs.device)
    ranks = torch.zeros((num_rows, num_classes * num_boxes), dtype=rank_type, device=pairs.device)
    ranks.scatter_(1, pairs, ranked * descending)
    ranks = ranks.view(-1, num_boxes)
    best = ranks.amax(1).view(num_rows, num_classes)

    # Where a place's class stands among the ranks, and what survives its box. The place M stands for "none": its step
    # changes nothing that matters.
    row = torch.arange(num_rows, device=pairs.device).unsqueeze(1)
    none = pairs.new_zeros(num_rows, 1)
    lists = (torch.cat([pairs // num_boxes, none], 1) + row * num_classes).flatten()
    boxes = (torch.cat([pairs % num_boxes, none], 1) + images.unsqueeze(1) * num_boxes).flatten()
    start = (row * (length + 1)).squeeze(1) + length

    kept = start.repeat(cap, 1)
    for step in range(cap):
        leaders = best.amax(1)
        if step % PATIENCE == 0 and not leaders.any():
            break
        places = start - leaders
        kept[step] = places
        which = lists.index_select(0, places)
        left = ranks.index_select(0, which).bitwise_and_(survivors.index_select(0, boxes.index_select(0, places)))
        ranks.index_copy_(0, which, left)
        best.view(-1).index_copy_(0, which, left.amax(1))
    return kept.T - (start - length).unsqueeze(1)
