"""Greedy per-class non-maximum suppression of many rankings at once, with mmcv's compiled NMS."""

import numpy as np
import torch
from mmcv.utils import ext_loader
from torch import Tensor

from iou_aware.postprocess.settings import Settings

_mmcv = ext_loader.load_ext("_ext", ["nms"])


def suppress(boxes: Tensor, labels: Tensor, candidates: Tensor, settings: Settings) -> Tensor:
    """Return which pairs of each ranking survive.

    A pair is suppressed by a surviving one before it, of the same class, if their boxes' IoU exceeds the threshold. The
    IoU is mmcv's: intersection / (area + area - intersection) in single precision. Of boxes without area it is 0/0, not
    a number, which exceeds nothing: they neither suppress each other nor are suppressed by one another.

    Args:
        boxes: (G, K, 4), on the host.
        labels: (G, K), at least 0.
        candidates: Which pairs take part, (G, K).
        settings: Its ``iou_threshold``, and ``max_per_img``: a ranking's later survivors are dropped.

    Returns:
        Which pairs survive, (G, K).
    """
    groups, order = _by_class(labels.numpy(), candidates.numpy())
    boxes = boxes.reshape(-1, 4)[order]
    # mmcv sorts by score; these say that the order is right as it is, so that ties cannot be broken in another way.
    descending = torch.arange(int(max(groups, default=0)), 0, -1, dtype=boxes.dtype)
    kept, start = [], 0
    for size in groups.tolist():
        if size == 1:
            kept.append(torch.tensor([start]))
        else:
            part = boxes[start : start + size]
            found = _mmcv.nms(part, descending[-size:], iou_threshold=settings.iou_threshold, offset=0)
            kept.append(found + start)
        start += size
    survives = torch.zeros(candidates.numel(), dtype=torch.bool)
    if kept:
        survives[order[torch.cat(kept)]] = True
    survives = survives.view_as(candidates)
    return survives & (survives.cumsum(1) <= settings.max_per_img)


def _by_class(labels: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, Tensor]:
    """Return the sizes of the groups (ranking, class) and the flat positions of the candidates, group by group."""
    num_rows, length = labels.shape
    row, place = np.nonzero(candidates)
    label = labels[row, place]
    width = int(label.max(initial=0)) + 1
    group = row * width + label
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=num_rows * width)
    return sizes[sizes > 0], torch.from_numpy((row * length + place)[order])
