"""Greedy per-class non-maximum suppression of many rankings of the same boxes at once."""

import torch
from torch import Tensor

# How many steps go by before it is asked (which makes a device wait) which classes are settled.
PATIENCE = 8


def survivors_of(boxes: Tensor, counts: list[int], iou_threshold: float) -> Tensor:
    """Return which of each image's boxes survive each of them being kept.

    The IoU is mmcv's, operation by operation: intersection / (area + area - intersection) in single precision, without
    offset. Of boxes without area mmcv's is 0/0, not a number, which exceeds nothing; here it is 0: they survive.

    Args:
        boxes: (B, U, 4), of which an image's first ``counts`` are real.
        counts: B numbers.
        iou_threshold: A box does not survive another one if their IoU exceeds it; not negative.

    Returns:
        Masks (B, U, U), int8: ``[b, i, j]`` is 1 if j survives i, else 0; none survives itself. Undefined beyond the
        counts.
    """
    num_boxes = boxes.shape[1]
    masks = torch.empty((len(counts), num_boxes, num_boxes), dtype=torch.int8, device=boxes.device)
    # Fresh memory of this size costs as much as the arithmetic: all images share it.
    space = torch.empty((3, num_boxes, num_boxes), dtype=boxes.dtype, device=boxes.device)
    left, top, right, bottom = boxes.permute(2, 0, 1).contiguous()
    # Too little to change any sum but 0 + 0, whose quotient it makes 0.
    areas = ((right - left) * (bottom - top)).clamp_(min=torch.finfo(boxes.dtype).tiny)
    for image, count in enumerate(counts):
        width, height, other = space[:, :count, :count]
        _shared(left[image, :count], right[image, :count], width, other)
        _shared(top[image, :count], bottom[image, :count], height, other)
        # Where the widths do not meet, the product is negative or zero, as good as no intersection at all.
        shared = width.mul_(height.clamp_(min=0))
        area = areas[image, :count]
        union = torch.add(area.unsqueeze(1), area, out=other).sub_(shared)
        # Compared in place and then copied: a comparison of floats into integers is slower than both.
        masks[image, :count, :count] = shared.div_(union).le_(iou_threshold)
    masks.diagonal(dim1=1, dim2=2).zero_()
    return masks


def _shared(low: Tensor, high: Tensor, out: Tensor, space: Tensor) -> None:
    """Put how long each two boxes' (U,) intersection is in one direction into ``out`` (U, U); negative: how far off."""
    torch.minimum(high.unsqueeze(1), high, out=out)
    out.sub_(torch.maximum(low.unsqueeze(1), low, out=space))


def suppress(pairs: Tensor, ranked: Tensor, images: Tensor, survivors: Tensor, num_classes: int, cap: int) -> Tensor:
    """Return which pairs of each ranking greedy NMS keeps, in order, up to the cap.

    The classes of all rankings take a step at a time together: each keeps its best candidate and drops the candidates
    that do not survive it. A class is left out from when it cannot contribute to the first ``cap`` any more.

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
    # A candidate's rank counts down, so that the best has the largest and 0 can say "none"; (G * C, U).
    rank_type = torch.int16 if length < torch.iinfo(torch.int16).max else torch.int32
    survivors = survivors.flatten(0, 1)
    descending = torch.arange(length, 0, -1, dtype=rank_type, device=pairs.device)
    ranks = torch.zeros((num_rows, num_classes * num_boxes), dtype=rank_type, device=pairs.device)
    ranks = ranks.scatter_(1, pairs, ranked * descending).view(-1, num_boxes)

    # The box at each place of each ranking, as a row of ``survivors``; a last place stands for "none".
    boxes = torch.cat([pairs % num_boxes, pairs.new_zeros(num_rows, 1)], 1) + images.unsqueeze(1) * num_boxes
    end = torch.arange(length, boxes.numel(), length + 1, device=pairs.device).repeat_interleave(num_classes)
    boxes = boxes.flatten()

    kept = ranks.new_zeros((len(ranks), cap))
    active = torch.arange(len(ranks), device=pairs.device)
    for start in range(0, cap, PATIENCE):
        steps = kept.new_zeros((min(PATIENCE, cap - start), len(active)))
        for best in steps:
            torch.amax(ranks, 1, out=best)
            ranks.mul_(survivors.index_select(0, boxes.index_select(0, end - best)))
        kept[active, start : start + len(steps)] = steps.T
        # A class goes on while its next one may still be among the first of its ranking.
        enough = kept[:, : start + len(steps)].reshape(num_rows, -1)
        least = enough.topk(cap, sorted=False).values.amin(1) if enough.shape[1] >= cap else best.new_zeros(num_rows)
        goes_on = (best > least[active.div(num_classes, rounding_mode="floor")]).nonzero().squeeze(1)
        if not len(goes_on):
            break
        if len(goes_on) < len(active):
            active, end = active[goes_on], end[goes_on]
            ranks = ranks.index_select(0, goes_on)
    return length - kept.view(num_rows, -1).topk(cap).values.long()
