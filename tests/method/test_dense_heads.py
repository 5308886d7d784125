"""IoU prediction on ATSS, whose priors are anchors, on FCOS, whose priors are points, and on a head of one's own."""

import math

import pytest
import torch
from builders.heads import (
    BOXES,
    SHAPE,
    STRIDES,
    assert_equals_reference,
    build_dense_head,
    build_head,
    features,
    has_centerness,
    iou,
    losses_of,
    metas_of,
    random_outputs,
    samples,
)
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from mmdet.models.dense_heads import AnchorHead

from iou_aware.method.targets import batch_targets

FAMILIES = ["ATSSHead", "FCOSHead"]
STOCK = [f"{family}{rest}" for family in FAMILIES for rest in ("", "WithoutCenterness")]
AWARE = [f"IoUAware{kind}" for kind in STOCK]


def box_around(point, distances) -> list[float]:
    """Return the box whose left, top, right and bottom are so far from a point."""
    (x, y), (left, top, right, bottom) = point, distances
    return [x - left, y - top, x + right, y + bottom]


def box_by_deltas(anchor, deltas, stds=(0.5, 0.5, 1.5, 1.5)) -> list[float]:
    """Return the box that deltas make of an anchor, as Faster R-CNN has it."""
    x, y, width, height = [(anchor[0] + anchor[2]) / 2, (anchor[1] + anchor[3]) / 2] + [
        anchor[place + 2] - anchor[place] for place in (0, 1)
    ]
    dx, dy, dw, dh = (delta * std for delta, std in zip(deltas, stds, strict=True))
    x, y, width, height = x + dx * width, y + dy * height, width * math.exp(dw), height * math.exp(dh)
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def positives_of(head, truth) -> list[tuple[int, list[float]]]:
    """Return the positives of one image, as MMDetection assigns them, with the object of each."""
    sizes = [(-(-SHAPE[0] // stride), -(-SHAPE[1] // stride)) for stride in STRIDES]
    priors = head.prior_generator.grid_priors(sizes, device="cpu")
    if isinstance(head, AnchorHead):
        every = torch.cat(priors)
        valid, levels = torch.ones(len(every), dtype=torch.bool), [len(level) for level in priors]
        _, labels, _, targets, *_ = head._get_targets_single(every, valid, levels, truth, metas_of(SHAPE, 1)[0])
        objects = targets.tolist()
    else:
        labels, distances = (torch.cat(part) for part in head.get_targets(priors, [truth]))
        strides = torch.cat([torch.full((len(level), 1), float(s)) for level, s in zip(priors, STRIDES, strict=True)])
        rows = zip(torch.cat(priors).tolist(), (distances * strides).tolist(), strict=True)
        objects = [box_around(point, one) for point, one in rows]
    return [(place, objects[place]) for place in (labels < head.num_classes).nonzero().flatten().tolist()]


def iou_loss_by_hand(head, batch, outs) -> float:
    """Eq. 3, prior by prior; FCOS gives distances in units of the level's stride while it trains."""
    sizes = [level.shape[-2:] for level in outs[0]]
    priors = torch.cat(head.prior_generator.grid_priors(sizes, device="cpu")).tolist()
    strides = [stride for stride, (height, width) in zip(STRIDES, sizes, strict=True) for _ in range(height * width)]
    total = number = 0
    for image, sample in enumerate(batch):
        numbers = torch.cat([level[image].permute(1, 2, 0).reshape(-1, 4) for level in outs[1]]).tolist()
        logits = torch.cat([level[image].flatten() for level in outs[-1]]).tolist()
        positives = positives_of(head, sample.gt_instances)
        for place, target in positives:
            if isinstance(head, AnchorHead):
                box = box_by_deltas(priors[place], numbers[place])
            else:
                box = box_around(priors[place], [distance * strides[place] for distance in numbers[place]])
            quality, p = iou(box, target), 1 / (1 + math.exp(-logits[place]))
            total -= quality * math.log(p) + (1 - quality) * math.log(1 - p)
        # ATSS counts an image without positives as one.
        number += max(len(positives), 1) if isinstance(head, AnchorHead) else len(positives)
    return total / number


@pytest.mark.parametrize("kind", AWARE)
def test_the_iou_loss_is_equation_3(kind):
    head, batch = build_dense_head(kind), samples(BOXES, BOXES[:1], torch.zeros(0, 4))
    outs = random_outputs(head, SHAPE, len(batch))
    if not isinstance(head, AnchorHead):
        outs = (outs[0], [level / stride for level, stride in zip(outs[1], STRIDES, strict=True)], *outs[2:])
    expected = iou_loss_by_hand(head, batch, outs)
    assert expected > 0
    assert losses_of(head, batch, outs)["loss_iou"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", AWARE)
@pytest.mark.parametrize("boxes", [(BOXES, BOXES[:1]), (torch.zeros(0, 4), torch.zeros(0, 4))])
def test_the_other_losses_are_mmdetection_s(kind, boxes):
    head = build_dense_head(kind)
    family = next(family for family in FAMILIES if family in kind)
    outs, batch = random_outputs(head, SHAPE), samples(*boxes)
    given = outs[:3] if has_centerness(head) else (*outs[:2], [level[:, :1] * 0 for level in outs[0]])
    losses, expected = losses_of(head, batch, outs), losses_of(build_dense_head(family), batch, given)
    wanted = {"loss_cls", "loss_bbox"} | ({"loss_centerness"} if has_centerness(head) else set())
    assert set(losses) == wanted | {"loss_iou"}
    for name in wanted:
        assert torch.equal(losses[name], expected[name])


@pytest.mark.parametrize("kind", AWARE)
@pytest.mark.parametrize("target_grad", [False, True])
def test_the_target_s_gradient_reaches_the_boxes_only_if_asked(kind, target_grad):
    head, batch = build_dense_head(kind, target_grad=target_grad), samples(BOXES, BOXES[:1])
    outs = random_outputs(head, SHAPE)
    for level in (*outs[1], *outs[-1]):
        level.requires_grad_()
    losses_of(head, batch, outs)["loss_iou"].backward()
    assert any(level.grad is not None and level.grad.any() for level in outs[1]) == target_grad
    assert all(level.grad is not None for level in outs[-1])


@pytest.mark.parametrize("kind", AWARE)
def test_without_ground_truth_every_parameter_still_has_a_gradient(kind):
    head = build_dense_head(kind)
    losses = losses_of(head, samples(torch.zeros(0, 4), torch.zeros(0, 4)))
    assert losses["loss_iou"].item() == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("kind", STOCK)
def test_the_iou_is_one_convolution_more_and_all_else_starts_as_without_it(kind):
    started = []
    for name in (f"IoUAware{kind}", kind):
        torch.manual_seed(0)
        head = build_dense_head(name)
        head.init_weights()
        started.append(head.state_dict() | {"next": torch.rand(3)})
    ours, theirs = started
    layer = "atss_iou" if "ATSS" in kind else "conv_iou"
    assert set(ours) - set(theirs) == {f"{layer}.weight", f"{layer}.bias"}
    assert ours[f"{layer}.weight"].shape == (1, 8, 3, 3)
    assert all(torch.equal(ours[name], weights) for name, weights in theirs.items())
    assert not ours[f"{layer}.bias"].any()
    assert any("centerness" in name for name in theirs) == (kind in FAMILIES)


@pytest.mark.parametrize("kind", AWARE)
def test_rule_cls_gives_mmdetection_s_detections(kind):
    """With a centerness MMDetection ranks by p * centerness too; no candidate is left out before in either."""
    torch.manual_seed(3)
    stock = build_dense_head(kind.removeprefix("IoUAware"), test_cfg={"score_thr": 0.0}).eval()
    for parameter in stock.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    head = build_dense_head(kind, test_cfg={"score_thr": 0.0, "rule": "cls"})
    head.load_state_dict(stock.state_dict(), strict=False)
    batch = samples(BOXES, BOXES)
    for sample in batch:
        sample.set_metainfo({"scale_factor": (0.5, 0.51)})
    with torch.no_grad():
        expected = stock.predict(features(SHAPE), batch, rescale=True)
        found = head.eval().predict(features(SHAPE), batch, rescale=True)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(theirs) > 10
        assert torch.equal(ours.labels, theirs.labels)
        torch.testing.assert_close(ours.scores, theirs.scores, rtol=1e-5, atol=0)
        torch.testing.assert_close(ours.bboxes, theirs.bboxes, rtol=1e-4, atol=1e-3)


@given(
    kind=st.sampled_from(AWARE),
    seed=st.integers(0, 2**31),
    coarse=st.booleans(),
    shape=st.sampled_from([(8, 8), (48, 64)]),
    nms_pre=st.sampled_from([1, 7, 1000]),
    score_thr=st.sampled_from([0.0, 0.2]),
    cap=st.sampled_from([5, 100]),
)
@examples(max_examples=60)
def test_every_rule_s_detections_equal_the_reference(kind, seed, coarse, shape, nms_pre, score_thr, cap):
    limits = {"nms_pre": nms_pre, "score_thr": score_thr, "max_per_img": cap}
    head = build_dense_head(kind, test_cfg=limits).eval()
    outs = random_outputs(head, shape, 2, seed, coarse)
    truth = [BOXES, torch.zeros(0, 4)]
    rules = ["cls", "none", "alpha=0.50", "alpha=0.30", "alpha=0.00", "oracle=0.40"]
    assert_equals_reference(head, outs, metas_of(shape, 2, (0.5, 0.51)), rules, truth=truth)


@pytest.mark.parametrize("batched", [False, True])
def test_a_head_of_one_s_own_needs_nothing_else(batched):
    head, stock = (build_head(kind) for kind in ("IoUAwareOwnHead", "OwnHead"))
    if batched:
        detector = torch.nn.Module()
        detector.bbox_head = head
        batch_targets(detector)
        assert head.get_targets is not AnchorHead.get_targets
    batch = samples(BOXES, BOXES[:1])
    outs = random_outputs(head, SHAPE)
    before = vars(head).get("get_targets")
    losses, expected = losses_of(head, batch, outs), losses_of(stock, batch, outs[:2])
    assert vars(head).get("get_targets") is before
    assert all(torch.equal(losses[name], value) for name, value in expected.items())
    assert losses["loss_iou"] > 0
    assert_equals_reference(head.eval(), random_outputs(head), metas_of(), ["cls", "alpha=0.50"])
    trained = head.train()(features(SHAPE))
    for level, other in zip(trained[-1], head.eval()(features(SHAPE))[-1], strict=True):
        torch.testing.assert_close(level, other, rtol=1e-5, atol=1e-5)


def test_a_head_of_one_level():
    options = {"strides": [8], "regress_ranges": ((-1, 1e8),)}
    head, stock = build_dense_head("IoUAwareFCOSHead", **options), build_dense_head("FCOSHead", **options)
    x, batch = features(SHAPE)[:1], samples(BOXES, BOXES[:1])
    head.load_state_dict(stock.state_dict(), strict=False)
    losses, expected = losses_of(head, batch, head(x)), losses_of(stock, batch, stock(x))
    assert set(losses) == {*expected, "loss_iou"}
    assert all(losses[name].item() == pytest.approx(value.item(), rel=1e-5) for name, value in expected.items())
    outs = [part[:1] for part in random_outputs(head, SHAPE)]
    assert_equals_reference(head.eval(), outs, metas_of(SHAPE), ["cls", "alpha=0.50"])
