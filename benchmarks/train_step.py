"""A training step as this project takes it, against one of MMDetection's RetinaNet."""

from collections.abc import Iterator
from typing import Any

import torch
from miniature import BATCH, detector, draw, step
from timing import versus

from iou_aware.method.targets import batch_targets
from iou_aware.training.device import channels_last


def entries(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the entries: RetinaNet, and the IoU-aware one with its target detached and attached, at two sizes."""
    turns = {96: 1} if quick else {96: 120, 144: 60}
    for side, count in turns.items():
        scenes, classes = draw(BATCH, side=side)
        for what, name, attached in [
            ("RetinaNet", "retinanet", False),
            ("IoU target detached", "iou_aware_retinanet", False),
            ("IoU target attached", "iou_aware_retinanet", True),
        ]:
            models = [detector(kind, classes).train() for kind in (name, "retinanet")]
            models[0].bbox_head.target_grad = attached
            batch_targets(channels_last(models[0]))
            optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True) for model in models]
            ours, stock = (
                lambda model=model, optimizer=optimizer, stacked=stacked, scenes=scenes: step(
                    model, optimizer, scenes, stacked
                )
                for model, optimizer, stacked in zip(models, optimizers, (True, False), strict=True)
            )
            yield versus(
                f"training step at {side} px, {what}",
                ("this project's: miniature, batch 16", ours),
                ("MMDetection's RetinaNet, likewise", stock),
                turns=count,
                unit="ms",
                per=1e-3,
                goal=0.8,
            )
