"""How long a pass over images takes on the GPU under one rule and under 12, against MMDetection's test step."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from steps import batch, build, time_in_turn
from torch import nn
from trial import DEVICE, RULES, made_up_outputs


def passes(figures: dict[str, Any]) -> None:
    """Take passes over one batch that is on the GPU already, in turn, with 1 and 12 rules and by MMDetection.

    A pass is normalisation, forward pass and post-processing, in single precision. As a network with random weights
    detects nothing, its outputs are computed and put aside; post-processed are made-up ones of the same shapes, the
    same on both sides. Ratios are to MMDetection's RetinaNet.
    """
    images = batch()
    metas = [sample.metainfo for sample in images["data_samples"]]
    outputs = tuple([level.to(DEVICE) for level in part] for part in made_up_outputs(len(metas)))
    stock, ours = (build(name).to(DEVICE).eval() for name in ("retinanet", "fp32"))

    def forward(model: nn.Module) -> None:
        copied = {"inputs": images["inputs"], "data_samples": [sample.clone() for sample in images["data_samples"]]}
        model.bbox_head(model.extract_feat(model.data_preprocessor(copied)["inputs"]))

    @torch.inference_mode()
    def by_mmdetection() -> None:
        forward(stock)
        stock.bbox_head.predict_by_feat(*outputs[:2], batch_img_metas=metas, rescale=True)

    def under(rules: Sequence[str]) -> Callable[[], None]:
        @torch.inference_mode()
        def work() -> None:
            forward(ours)
            ours.bbox_head.sweep(outputs, metas, rules)

        return work

    timed = {"MMDetection's RetinaNet": by_mmdetection, "1 rule": under(["alpha=0.50"]), "12 rules": under(RULES)}
    time_in_turn(timed, figures)
