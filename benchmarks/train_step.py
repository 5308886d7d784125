"""What the IoU branch costs in training: a step of the IoU-aware RetinaNet against one of the stock RetinaNet."""

from collections.abc import Iterator
from typing import Any

import torch
from miniature import BATCH, detector, draw, step
from timing import versus


def entries(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the entries: the target detached and attached, in the miniature at 96 px and batch 16."""
    scenes, classes = draw(BATCH)
    for attached in (False, True):
        models = [detector(name, classes).train() for name in ("iou_aware_retinanet", "retinanet")]
        models[0].bbox_head.target_grad = attached
        optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-4) for model in models]
        ours, stock = (
            lambda model=model, optimizer=optimizer: step(model, optimizer, scenes)
            for model, optimizer in zip(models, optimizers, strict=True)
        )
        yield versus(
            f"training step, IoU target {'attached' if attached else 'detached'}",
            ("IoU-aware RetinaNet: miniature, 96 px, batch 16", ours),
            ("MMDetection's RetinaNet, likewise", stock),
            turns=1 if quick else 120,
            unit="ms",
            per=1e-3,
            goal=1.02,
        )
