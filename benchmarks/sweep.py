"""What the sweep over all rules costs, beside MMDetection's own inference and post-processing.

    python benchmarks/sweep.py [--repeats 5] [--threads 2]

The paper's Table 3 has 12 rules. The miniature's entries are per image and include the forward pass on both sides.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from miniature import BATCH, batch_of, detector, draw, train
from mmcv.ops import batched_nms
from timing import show, versus
from torch import Tensor

from iou_aware.heads import IoUAwareRetinaHead
from iou_aware.postprocess.nms import suppress, survivors_of

TABLE_3 = ["none", *(f"alpha={tenth / 10:.2f}" for tenth in range(10, -1, -1))]
HUNDRED = [f"alpha={percent / 100:.2f}" for percent in range(101)]
TRAINING_STEPS = 400


def miniature_passes(repeats: int, images: int = 96) -> list[dict[str, Any]]:
    """One pass with 1, 12 or 101 rules against one pass of MMDetection's test step, and 12 rules against 12 passes."""
    scenes, classes = draw(800)
    ours = train(detector("iou_aware_retinanet", classes), scenes, TRAINING_STEPS)
    stock = detector("retinanet", classes).eval()
    stock.load_state_dict(ours.state_dict(), strict=False)
    batches = [scenes[at : at + BATCH] for at in range(0, images, BATCH)]

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

    timing = {"repeats": repeats, "unit": "ms per image", "per": images / 1000}
    entries = [
        versus(
            f"miniature, {len(rules)} rules in one pass against one MMDetection pass",
            sweep(rules),
            stock_pass,
            **timing,
        )
        for rules in (["alpha=0.50"], TABLE_3, HUNDRED)
    ]
    name = "miniature, 12 rules in one pass against 12 MMDetection passes"
    return [*entries, versus(name, sweep(TABLE_3), twelve_passes, **timing | {"repeats": max(repeats // 2, 1)})]


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
    cls = IoUAwareRetinaHead if kind == "ours" else IoUAwareRetinaHead.__mro__[1]
    return cls(**options, **losses)


def coco_postprocessing(repeats: int) -> dict[str, Any]:
    """12 rules at COCO's geometry against MMDetection's post-processing of the same outputs, called 12 times."""
    ours, stock, outs = coco_head("ours"), coco_head("stock"), coco_outputs()
    metas = [{"img_shape": (800, 1333), "scale_factor": (2.08, 2.08)}]

    def twelve_calls() -> None:
        for _ in TABLE_3:
            stock.predict_by_feat(outs[0], outs[1], batch_img_metas=metas, rescale=True)

    name = "post-processing at COCO's geometry, 12 rules against 12 MMDetection calls"
    return versus(name, lambda: ours.sweep(outs, metas, TABLE_3), twelve_calls, repeats, "ms per image", 1e-3)


def nms(repeats: int, count: int = 1000, rankings: int = 12, classes: int = 20) -> dict[str, Any]:
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

    name = f"NMS of {count} boxes in {classes} classes, {rankings} rankings against {rankings} calls of mmcv's"
    return versus(name, ours, mmcv, repeats, "ms", 1e-3)


def entries(repeats: int = 5) -> list[dict[str, Any]]:
    """Return all entries, showing each as it is done."""
    found = []
    for benchmark in (nms, coco_postprocessing, miniature_passes):
        result = benchmark(repeats)
        for entry in result if isinstance(result, list) else [result]:
            show(entry)
            found.append(entry)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="turns per entry (5)")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads (2)")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    entries(chosen.repeats)
