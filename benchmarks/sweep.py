"""What the sweep over all rules costs, beside MMDetection's own inference and post-processing.

The paper's Table 3 has 12 rules. The miniature's entries are per image and include the forward pass on both sides.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from miniature import batch_of, detector, trained
from mmcv.ops import batched_nms
from mmdet.models.dense_heads import RetinaHead
from timing import versus
from torch import Tensor

from iou_aware.method.heads import IoUAwareRetinaHead
from iou_aware.method.ranking.nms import suppress, survivors_of

TABLE_3 = ["none", *(f"alpha={tenth / 10:.2f}" for tenth in range(10, -1, -1))]
HUNDRED = [f"alpha={percent / 100:.2f}" for percent in range(101)]


def miniature_passes(quick: bool) -> Iterator[dict[str, Any]]:
    """One pass with 1, 12 or 101 rules against one pass of MMDetection's test step, and 12 rules against 12 passes."""
    ours, batches, classes = trained(quick)
    stock = detector("retinanet", classes).eval()
    stock.load_state_dict(ours.state_dict(), strict=False)

    def sweep(rules: list[str]) -> Callable[[], None]:
        @torch.inference_mode()
        def work() -> None:
            for batch in batches:
                data = ours.data_preprocessor(batch_of(batch))
                metas = [sample.metainfo for sample in data["data_samples"]]
                ours.bbox_head.sweep(ours.extract_feat(data["inputs"]), metas, rules)

        return work

    @torch.inference_mode()
    def stock_pass() -> None:
        for batch in batches:
            stock.test_step(batch_of(batch))

    def twelve_passes() -> None:
        for _ in TABLE_3:
            stock_pass()

    turns = 1 if quick else 5
    timing = {"unit": "ms per image", "per": sum(map(len, batches)) / 1000}
    one_pass = "MMDetection's test step with the same weights, one rule"
    for rules, goal in (["alpha=0.50"], None), (TABLE_3, 1.15), (HUNDRED, None):
        rule = "rules" if len(rules) > 1 else "rule"
        name = f"miniature, one pass: {len(rules)} {rule} against one"
        work = f"forward pass and sweep of {len(rules)} {rule}", sweep(rules)
        yield versus(name, work, (one_pass, stock_pass), turns, goal=goal, **timing)
    work, peer = (
        ("forward pass and sweep of 12 rules", sweep(TABLE_3)),
        ("MMDetection's test step, 12 times", twelve_passes),
    )
    yield versus("miniature, 12 rules: one pass against 12", work, peer, (turns + 1) // 2, **timing)


def coco_outputs(
    base: int = 9, classes: int = 80, objects: int = 25
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return outputs in the shapes of a 1333x800 image, distributed like a trained RetinaNet's.

    Background far below zero with a tail, and objects that neighbouring anchors agree on: some 7,600 of 16 million
    (anchor, class) pairs have p > 0.05.
    """
    generator = torch.Generator().manual_seed(0)
    outs: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for stride in (8, 16, 32, 64, 128):
        size = (-(-800 // stride), -(-1344 // stride))
        for levels, channels, mean, deviation in zip(
            outs, (classes, 4, 1), (-6, 0, -0.3), (0.9, 0.15, 0.8), strict=True
        ):
            levels.append(torch.randn(1, base * channels, *size, generator=generator) * deviation + mean)
    for _ in range(objects):
        level = int(torch.randint(4, (), generator=generator))
        scores, ious = outs[0][level].view(base, classes, *outs[0][level].shape[-2:]), outs[2][level][0]
        label, y, x = (int(torch.randint(limit, (), generator=generator)) for limit in scores.shape[1:])
        here = scores[:, label, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        here += 5 + 2 * torch.rand(here.shape, generator=generator)
        ious[:, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] += 1.5
    return outs


def coco_head(kind: str) -> torch.nn.Module:
    """Return a head of RetinaNet's full anchor grid and 80 classes; its convolutions are not used."""
    head = detector("retinanet", 80).bbox_head
    options = {"num_classes": 80, "in_channels": 8, "feat_channels": 8, "stacked_convs": 0, "test_cfg": head.test_cfg}
    losses = {"loss_cls": {"type": "FocalLoss", "use_sigmoid": True}, "loss_bbox": {"type": "L1Loss"}}
    cls = IoUAwareRetinaHead if kind == "ours" else RetinaHead
    return cls(**options, **losses)


def coco_postprocessing(quick: bool) -> Iterator[dict[str, Any]]:
    """12 rules at COCO's geometry against MMDetection's post-processing of the same outputs, called 12 times."""
    ours, stock, outs = coco_head("ours"), coco_head("stock"), coco_outputs()
    metas = [{"img_shape": (800, 1333), "scale_factor": (2.08, 2.08)}]
    rules = TABLE_3[::6] if quick else TABLE_3

    def calls() -> None:
        for _ in rules:
            stock.predict_by_feat(outs[0], outs[1], batch_img_metas=metas, rescale=True)

    yield versus(
        "post-processing at COCO's geometry, 12 rules",
        ("one sweep of made-up outputs of a 1333x800 image, 80 classes", lambda: ours.sweep(outs, metas, rules)),
        ("MMDetection's post-processing of the same outputs, 12 times", calls),
        turns=1 if quick else 7,
        unit="ms per image",
        per=1e-3,
        goal=0.1,
    )


def nms(quick: bool, count: int = 1000, rankings: int = 12, classes: int = 20) -> Iterator[dict[str, Any]]:
    """12 rankings of the same boxes against mmcv's batched NMS, called 12 times; the cap is 100 on both sides."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(60, 2, generator=generator)[torch.randint(60, (count,), generator=generator)] * 600
    corners = centres + torch.randn(count, 2, generator=generator) * 6
    boxes = torch.cat([corners, corners + 60 + torch.rand(count, 2, generator=generator) * 30], 1)
    labels = torch.randint(classes, (count,), generator=generator)
    scores = torch.rand(rankings, count, generator=generator)
    pairs = labels * count + torch.arange(count)

    def ours() -> None:
        order = scores.sort(1, descending=True).indices
        masks = survivors_of(boxes.unsqueeze(0), [count], 0.5)
        everything = torch.ones_like(order, dtype=torch.bool)
        suppress(pairs[order], everything, torch.zeros(rankings, dtype=torch.long), masks, classes, 100)

    def mmcv() -> None:
        for ranking in scores:
            batched_nms(boxes, ranking, labels, {"type": "nms", "iou_threshold": 0.5, "max_num": 100})

    yield versus(
        f"NMS of {count} boxes in {classes} classes, {rankings} rankings, cap 100",
        (f"{rankings} rankings together, overlaps included", ours),
        (f"mmcv's batched_nms, {rankings} times", mmcv),
        turns=1 if quick else 15,
        unit="ms",
        per=1e-3,
    )


def entries(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield all entries."""
    for benchmark in (miniature_passes, coco_postprocessing, nms):
        yield from benchmark(quick)
