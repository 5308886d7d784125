"""The boxes of the recipe `paper`, held against MMDetection 1.x's formulas by hand.

In 1.x both corners belong to a box, ``[x, y, x + w - 1, y + h - 1]``, and 1 is added wherever a width is needed. The
functions ``*_of_1x`` say so in double precision; our boxes less ``LAST`` are such boxes.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from builders.configs import resolve, run_of
from mmcv.ops import batched_nms
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.structures import InstanceData

SHAPE = (800, 1333)
LAST = np.array([0.0, 0.0, 1.0, 1.0])
# Widths are sums of coordinates up to 1333 in single precision, whose steps are 1e-4 there.
PIXELS = 2e-3


def random_boxes(count: int, seed: int = 0) -> np.ndarray:
    """Return float32 boxes in the image, their sides from 8 to 400 pixels."""
    random = np.random.default_rng(seed)
    sides = np.exp(random.uniform(math.log(8), math.log(400), (count, 2)))
    corners = random.uniform(0, np.array(SHAPE[::-1]) - sides)
    return np.concatenate([corners, corners + sides], 1).astype(np.float32)


def sides_of_1x(boxes: np.ndarray) -> np.ndarray:
    return boxes[..., 2:] - boxes[..., :2] + 1


def anchors_of_1x(strides: list[int], scales: list[float], ratios=(0.5, 1.0, 2.0)) -> np.ndarray:
    """Base anchors around the middle of a cell's pixels, corners rounded, repeated at every cell of every level."""
    levels = []
    for stride in strides:
        middle = (stride - 1) / 2
        base = []
        for ratio in ratios:
            for scale in scales:
                width, height = stride * scale / math.sqrt(ratio), stride * scale * math.sqrt(ratio)
                reach = np.array([width - 1, height - 1]) / 2
                base.append(np.round(np.concatenate([middle - reach, middle + reach])))
        rows, columns = (np.arange(-(-side // stride)) * stride for side in SHAPE)
        shifts = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 1, 2)
        levels.append((np.tile(shifts, 2) + np.array(base)).reshape(-1, 4))
    return np.concatenate(levels)


def ious_of_1x(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoUs (A, B) of boxes (A, 4) with boxes (B, 4)."""
    shared = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]) + 1
    shared = shared.clip(min=0).prod(-1)
    return shared / (sides_of_1x(a).prod(-1)[:, None] + sides_of_1x(b).prod(-1) - shared)


def assigned_of_1x(ious: np.ndarray, assigner) -> np.ndarray:
    """Return what IoUs (G, N) assign to each anchor: 1 + the place of an object, 0 for background, -1 for neither."""
    best = ious.max(0)
    assigned = np.where(best < assigner.neg_iou_thr, 0, -1)
    assigned = np.where(best >= assigner.pos_iou_thr, ious.argmax(0) + 1, assigned)
    for place, row in enumerate(ious):
        if row.max() >= assigner.min_pos_iou:
            assigned[row == row.max()] = place + 1
    return assigned


def deltas_of_1x(anchors: np.ndarray, boxes: np.ndarray, stds: np.ndarray) -> np.ndarray:
    middles, sides = (anchors[:, :2] + anchors[:, 2:]) / 2, sides_of_1x(anchors)
    moved = ((boxes[:, :2] + boxes[:, 2:]) / 2 - middles) / sides
    return np.concatenate([moved, np.log(sides_of_1x(boxes) / sides)], 1) / stds


def decoded_of_1x(anchors: np.ndarray, deltas: np.ndarray, stds: np.ndarray) -> np.ndarray:
    """Return boxes, cut at the image's last pixel."""
    moved, grown = np.split(deltas * stds, 2, axis=1)
    limit = abs(math.log(16 / 1000))
    sides = sides_of_1x(anchors)
    middles = (anchors[:, :2] + anchors[:, 2:]) / 2 + moved * sides
    reach = (sides * np.exp(grown.clip(-limit, limit)) - 1) / 2
    return np.concatenate([middles - reach, middles + reach], 1).clip(0, np.array(SHAPE[::-1] * 2) - 1)


def kept_of_1x(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    for place in np.argsort(-scores):
        if not kept or ious_of_1x(boxes[[place]], boxes[kept]).max() <= threshold:
            kept.append(int(place))
    return kept


def roi_align_of_1x(rows: np.ndarray, columns: np.ndarray, roi: np.ndarray, stride: int) -> np.ndarray:
    """Return (7, 7) of a feature ``rows[:, None] + columns``: means of 2x2 bilinear samples in bins from x1 to x2 + 1.

    Of such a sum the samples of a bin are its samples down and across.
    """
    sides = []
    for values, first, last in ((rows, roi[1], roi[3]), (columns, roi[0], roi[2])):
        samples = (first + (np.arange(14) + 0.5) / 14 * (last + 1 - first)) / stride
        sides.append(np.interp(samples, np.arange(len(values)), values).reshape(7, 2).mean(1))
    return sides[0][:, None] + sides[1]


STAGES = [("retinanet", "bbox_head"), ("iou_aware_retinanet", "bbox_head"), ("faster_rcnn", "rpn_head")]
RETINANET = {"strides": [8, 16, 32, 64, 128], "scales": [4 * 2 ** (octave / 3) for octave in range(3)]}
RPN = {"strides": [4, 8, 16, 32, 64], "scales": [8]}


@pytest.fixture(params=STAGES, ids=[f"{detector}-{head}" for detector, head in STAGES])
def stage(request):
    """What a head of the recipe `paper` makes of anchors, and 1.x's anchors for it with both corners inside."""
    detector, name = request.param
    model = resolve(run_of("paper", detector)).model
    head, train = model[name], model.train_cfg.get("rpn", model.train_cfg)
    anchors = TASK_UTILS.build(head.anchor_generator)
    sizes = [(-(-SHAPE[0] // stride), -(-SHAPE[1] // stride)) for stride, _ in anchors.strides]
    return SimpleNamespace(
        anchors=torch.cat(anchors.grid_priors(sizes, device="cpu")),
        anchors_of_1x=anchors_of_1x(**(RPN if name == "rpn_head" else RETINANET)),
        coder=TASK_UTILS.build(head.bbox_coder),
        assigner=TASK_UTILS.build(train.assigner),
        allowed_border=train.allowed_border,
        nms=model.test_cfg.get("rpn", model.test_cfg).nms,
    )


def test_anchors_are_those_of_1x(stage):
    np.testing.assert_array_equal(stage.anchors.numpy(), stage.anchors_of_1x + LAST)


def test_ious_what_they_assign_and_the_targets_are_those_of_1x(stage):
    boxes = random_boxes(20)
    ious = ious_of_1x(boxes - LAST, stage.anchors_of_1x)
    found = stage.assigner.iou_calculator(torch.from_numpy(boxes), stage.anchors)
    np.testing.assert_allclose(found, ious, rtol=0, atol=1e-6)
    objects = InstanceData(bboxes=torch.from_numpy(boxes), labels=torch.zeros(len(boxes), dtype=torch.long))
    assigned = stage.assigner.assign(InstanceData(priors=stage.anchors), objects).gt_inds
    np.testing.assert_array_equal(assigned, assigned_of_1x(ious, stage.assigner))
    assert len(set(assigned.tolist()) - {-1, 0}) > len(boxes) / 2
    positive = assigned > 0
    mine, anchors = boxes[assigned[positive] - 1], stage.anchors_of_1x[positive]
    targets = stage.coder.encode(stage.anchors[positive], torch.from_numpy(mine))
    np.testing.assert_allclose(targets, deltas_of_1x(anchors, mine - LAST, np.ones(4)), rtol=0, atol=1e-5)


def test_anchors_that_cross_the_border_are_left_out_where_1x_leaves_them_out(stage, request):
    valid = torch.ones(len(stage.anchors), dtype=torch.bool)
    found = anchor_inside_flags(stage.anchors, valid, SHAPE, stage.allowed_border)
    first, last = np.split(stage.anchors_of_1x, 2, axis=1)
    inside = (first >= 0).all(1) & (last < SHAPE[::-1]).all(1)
    assert (last[inside] == np.array(SHAPE[::-1]) - 1).any(), "some reach the last pixel"
    np.testing.assert_array_equal(found, inside if "rpn" in request.node.name else valid)


def test_decoded_boxes_are_those_of_1x(stage):
    random = np.random.default_rng(0)
    some = random.choice(len(stage.anchors), 4000)
    deltas = random.normal(0, 0.5, (len(some), 4)).astype(np.float32)
    boxes = stage.coder.decode(stage.anchors[some], torch.from_numpy(deltas), max_shape=SHAPE).numpy()
    expected = decoded_of_1x(stage.anchors_of_1x[some], deltas.astype(np.float64), np.ones(4)) + LAST
    seen = (boxes[:, 2:] - boxes[:, :2] >= 1).all(1)
    assert 0 < (~seen).sum() < 0.1 * len(seen)
    np.testing.assert_allclose(boxes[seen], expected[seen], rtol=0, atol=PIXELS)
    # Of a box with less than a pixel in the image 1.x leaves that pixel, and we what is there.
    np.testing.assert_allclose(boxes[~seen], expected[~seen], rtol=0, atol=1 + PIXELS)


def test_suppression_is_that_of_1x(stage):
    random = np.random.default_rng(0)
    boxes = np.repeat(random_boxes(60), 5, 0) + random.normal(0, 4, (300, 4)).astype(np.float32)
    scores, classes = random.permutation(300).astype(np.float32), torch.zeros(300, dtype=torch.long)
    _, kept = batched_nms(torch.from_numpy(boxes), torch.from_numpy(scores), classes, stage.nms)
    expected = kept_of_1x(boxes - LAST, scores, stage.nms.iou_threshold)
    assert kept.tolist() == expected
    assert 60 < len(kept) < 240


def test_second_stage_is_that_of_1x():
    """From regions to pooled features, targets and boxes, of regions with more than one cell of their feature map."""
    roi_head = resolve(run_of("paper", "faster_rcnn")).model.roi_head
    rois, boxes = (random_boxes(60, seed) for seed in (0, 1))
    rois = rois[(rois[:, 2:] - rois[:, :2] > 10).all(1)]
    boxes = boxes[: len(rois)]

    coder, stds = TASK_UTILS.build(roi_head.bbox_head.bbox_coder), np.array([0.1, 0.1, 0.2, 0.2])
    deltas = deltas_of_1x(rois - LAST, boxes - LAST, stds)
    np.testing.assert_allclose(coder.encode(*map(torch.from_numpy, (rois, boxes))), deltas, rtol=0, atol=1e-4)
    decoded = coder.decode(torch.from_numpy(rois), torch.from_numpy(deltas).float(), max_shape=SHAPE).numpy()
    expected = decoded_of_1x(rois - LAST, deltas, stds)
    np.testing.assert_allclose(decoded - LAST, expected, rtol=0, atol=PIXELS)
    np.testing.assert_allclose(boxes - LAST, expected, rtol=0, atol=PIXELS)

    roi_head.bbox_roi_extractor.out_channels = 1
    extractor = MODELS.build(roi_head.bbox_roi_extractor)
    strides = roi_head.bbox_roi_extractor.featmap_strides
    random = np.random.default_rng(2)
    profiles = [[random.normal(size=-(-side // s)).astype(np.float32) for side in SHAPE] for s in strides]
    features = [torch.from_numpy(rows[:, None] + columns)[None, None] for rows, columns in profiles]
    pooled = extractor(features, torch.from_numpy(np.pad(rois, ((0, 0), (1, 0)))))
    levels = np.log2(np.sqrt(sides_of_1x(rois - LAST).prod(1)) / extractor.finest_scale).astype(int).clip(0, 3)
    assert set(levels) >= {0, 1, 2}
    for roi, level, found in zip(rois - LAST, levels, pooled, strict=True):
        np.testing.assert_allclose(found[0], roi_align_of_1x(*profiles[level], roi, strides[level]), rtol=0, atol=2e-3)
