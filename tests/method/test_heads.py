"""IoU prediction on RetinaNet's head, on ATSS's and FCOS's (whose priors are points), and on a head of one's own."""

import math
from types import SimpleNamespace

import pytest
import torch
from builders.heads import (
    AWARE,
    FAMILIES,
    SCALED,
    SHAPE,
    STOCK,
    STRIDES,
    assert_equals_reference,
    build_head,
    has_centerness,
    iou,
    metas_of,
    random_outputs,
    sizes_of,
)
from mmdet.models.dense_heads import AnchorHead, ATSSHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from iou_aware.common.messages import InputError
from iou_aware.method.targets import batch_targets

RETINA = AWARE[0]
BOXES = torch.tensor([[4.0, 6.0, 30.0, 40.0], [30.0, 10.0, 60.0, 44.0]])  # objects in images of ``SHAPE``
LEGACY = {"coder": SCALED, "anchors": "RoundedAnchorGenerator"}  # those of the recipe `paper`


def features(shape=(48, 64), num=2, seed=0) -> list[torch.Tensor]:
    """Return random features (num, 8, H, W) per level."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(num, 8, *size, generator=generator) for size in sizes_of(shape)]


def samples(*boxes_per_image):
    """Return data samples with the given ground truths, each of a class of its own."""
    batch = []
    for boxes in boxes_per_image:
        sample = DetDataSample(metainfo=metas_of(SHAPE, 1)[0])
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.arange(len(boxes)))
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        batch.append(sample)
    return batch


def losses_of(head, batch, outs=None):
    """Return the head's losses as scalars, for its own outputs or those given."""
    outs = head(features(SHAPE, len(batch))) if outs is None else outs
    losses = head.loss_by_feat(*outs, *[unpack_gt_instances(batch)[place] for place in (0, 2, 1)])
    return {name: sum(value) if isinstance(value, list) else value for name, value in losses.items()}


def boxes_of(head, numbers: torch.Tensor) -> list[list[float]]:
    """Return the boxes (N, 4) of all priors from their deltas, or from distances in units of a level's stride."""
    levels = head.prior_generator.grid_priors(sizes_of(SHAPE), device="cpu")
    if not isinstance(head, AnchorHead):
        numbers = numbers * torch.cat([torch.full((len(each), 1), s) for each, s in zip(levels, STRIDES, strict=True)])
    return head.bbox_coder.decode(torch.cat(levels), numbers).tolist()


def positives_of(head, truth) -> list[tuple[int, list[float]]]:
    """Return the positives of one image, as MMDetection assigns them, with the object of each."""
    priors = head.prior_generator.grid_priors(sizes_of(SHAPE), device="cpu")
    if isinstance(head, AnchorHead):
        every, levels = torch.cat(priors), [[len(level) for level in priors]] if isinstance(head, ATSSHead) else []
        given = (every, torch.ones(len(every), dtype=torch.bool), *levels, truth, metas_of(SHAPE, 1)[0])
        *_, labels, _, objects, _, _, _, _ = head._get_targets_single(*given)
    else:
        labels, objects = (torch.cat(part) for part in head.get_targets(priors, [truth]))
    decoded = isinstance(head, ATSSHead) or getattr(head, "reg_decoded_bbox", False)
    objects = objects.tolist() if decoded else boxes_of(head, objects)
    return [(place, objects[place]) for place in (labels < head.num_classes).nonzero().flatten().tolist()]


def iou_loss_by_hand(head, batch, outs) -> float:
    """Eq. 3, prior by prior; FCOS gives distances in units of the level's stride while it trains."""
    total = number = 0
    for image, sample in enumerate(batch):
        boxes = boxes_of(head, torch.cat([level[image].permute(1, 2, 0).reshape(-1, 4) for level in outs[1]]))
        logits = torch.cat([level[image].permute(1, 2, 0).flatten() for level in outs[-1]]).tolist()
        positives = positives_of(head, sample.gt_instances)
        for place, target in positives:
            quality, p = iou(boxes[place], target), 1 / (1 + math.exp(-logits[place]))
            total -= quality * math.log(p) + (1 - quality) * math.log(1 - p)
        # Of anchors an image without positives counts as one.
        number += max(len(positives), 1) if isinstance(head, AnchorHead) else len(positives)
    return total / number


DECODED = {"reg_decoded_bbox": True, "loss_bbox": {"type": "IoULoss"}}
OF_RETINANET = [(RETINA, options) for options in (LEGACY, DECODED, LEGACY | DECODED)]


@pytest.mark.parametrize(("kind", "options"), [*((kind, {}) for kind in AWARE), *OF_RETINANET])
def test_the_iou_loss_is_equation_3(kind, options):
    head, batch = build_head(kind, **options), samples(BOXES, BOXES[:1], torch.zeros(0, 4))
    outs = random_outputs(head, SHAPE, len(batch))
    if not isinstance(head, AnchorHead):
        outs = (outs[0], [level / stride for level, stride in zip(outs[1], STRIDES, strict=True)], *outs[2:])
    expected = iou_loss_by_hand(head, batch, outs)
    assert expected > 0
    assert losses_of(head, batch, outs)["loss_iou"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", AWARE)
@pytest.mark.parametrize("boxes", [(BOXES, BOXES[:1]), (torch.zeros(0, 4), torch.zeros(0, 4))])
def test_the_other_losses_are_mmdetection_s(kind, boxes):
    head = build_head(kind)
    family = next((family for family in FAMILIES if family in kind), "RetinaHead")
    outs, batch = random_outputs(head, SHAPE), samples(*boxes)
    if has_centerness(head):
        given = outs[:3]
    else:
        given = outs[:2] if kind == RETINA else (*outs[:2], [level[:, :1] * 0 for level in outs[0]])
    losses, expected = losses_of(head, batch, outs), losses_of(build_head(family), batch, given)
    wanted = {"loss_cls", "loss_bbox"} | ({"loss_centerness"} if has_centerness(head) else set())
    assert set(losses) == wanted | {"loss_iou"}
    for name in wanted:
        assert torch.equal(losses[name], expected[name])


@pytest.mark.parametrize("kind", AWARE)
@pytest.mark.parametrize("target_grad", [False, True])
def test_the_target_s_gradient_reaches_the_boxes_only_if_asked(kind, target_grad):
    head = build_head(kind, target_grad=target_grad)
    outs = head(features(SHAPE))
    losses_of(head, samples(BOXES, BOXES[:1]), outs)["loss_iou"].backward(inputs=[*outs[1], *outs[-1]])
    assert any(level.grad is not None and level.grad.any() for level in outs[1]) == target_grad
    assert any(level.grad.any() for level in outs[-1])
    losses = losses_of(head, samples(torch.zeros(0, 4), torch.zeros(0, 4)))
    assert losses["loss_iou"].item() == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters()), "without objects, none is absent"


@pytest.mark.parametrize(("kind", "options"), [("bce", {}), ("l2", LEGACY), ("l1", {})])
def test_an_attached_target_gives_the_box_deltas_their_true_gradient(kind, options):
    """Held against the difference of the loss on both sides, along the gradient."""
    options = options | {"loss_iou": {"type": "IoUPredictionLoss", "kind": kind}}
    attached, detached = (build_head(target_grad=attach, **options) for attach in (True, False))
    cls, deltas, ious = random_outputs(attached, SHAPE)

    def loss(head, shift=0.0):
        moved = [level + shift * gradient for level, gradient in zip(deltas, gradients, strict=True)]
        return losses_of(head, samples(BOXES, BOXES[:1]), (cls, moved, ious))["loss_iou"]

    gradients = [torch.zeros_like(level).requires_grad_() for level in deltas]
    gradients = torch.autograd.grad(loss(attached, 1.0), gradients)
    squared = sum(gradient.square().sum() for gradient in gradients).item()
    step = 1e-2 / math.sqrt(squared)
    difference = (loss(attached, step) - loss(attached, -step)).item() / (2 * step)
    assert difference == pytest.approx(squared, rel=0.05)
    assert loss(detached).item() == pytest.approx(loss(attached).item())


@pytest.mark.parametrize("kind", STOCK)
def test_the_iou_is_one_convolution_more_and_all_else_starts_as_without_it(kind):
    """The convolution takes no random numbers from the other layers, and a second initialisation changes nothing."""
    started = []
    for name in (f"IoUAware{kind}", kind):
        torch.manual_seed(0)
        head = build_head(name)
        head.init_weights()
        started.append({name: weights.clone() for name, weights in head.state_dict().items()} | {"next": torch.rand(3)})
        head.init_weights()
        assert all(torch.equal(started[-1][name], weights) for name, weights in head.state_dict().items())
    ours, theirs = started
    layer = {"Ret": "retina_iou", "ATS": "atss_iou", "FCO": "conv_iou"}[kind[:3]]
    assert set(ours) - set(theirs) == {f"{layer}.weight", f"{layer}.bias"}
    assert ours[f"{layer}.weight"].shape == (head.num_base_priors, 8, 3, 3)
    assert all(torch.equal(ours[name], weights) for name, weights in theirs.items())
    assert not ours[f"{layer}.bias"].any()
    assert any("centerness" in name for name in theirs) == (kind in FAMILIES)


@pytest.mark.parametrize("override", [None, [{"type": "Normal", "name": "retina_cls", "std": 0.01, "bias_prob": 0.01}]])
def test_the_iou_convolution_starts_as_the_paper_s_does(override):
    options = {} if override is None else {"init_cfg": {"type": "Kaiming", "layer": "Conv2d", "override": override}}
    head = build_head(**options, in_channels=64, feat_channels=256)
    torch.manual_seed(0)
    head.init_weights()
    assert head.retina_iou.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not head.retina_iou.bias.any()
    assert head.retina_cls.bias.mean().item() == pytest.approx(-4.595, abs=0.01)


@pytest.mark.parametrize(("kind", "options"), [*((kind, {}) for kind in AWARE), (RETINA, LEGACY)])
def test_rule_cls_gives_mmdetection_s_detections(kind, options):
    """With a centerness MMDetection ranks by p * centerness too; no candidate is left out before in either."""
    torch.manual_seed(3)
    stock = build_head(kind.removeprefix("IoUAware"), test_cfg={"score_thr": 0.0}, **options).eval()
    for parameter in stock.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    head = build_head(kind, test_cfg={"score_thr": 0.0, "rule": "cls"}, **options)
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


ONE_LEVEL = {"strides": [8], "regress_ranges": ((-1, 1e8),)}


@pytest.mark.parametrize(
    ("kind", "batched", "options"), [("OwnHead", False, {}), ("OwnHead", True, {}), ("FCOSHead", False, ONE_LEVEL)]
)
def test_heads_of_one_s_own_and_of_one_level_need_nothing_else(kind, batched, options):
    head, stock = (build_head(name, **options) for name in (f"IoUAware{kind}", kind))
    if batched:
        batch_targets(SimpleNamespace(bbox_head=head))
        assert head.get_targets is not AnchorHead.get_targets
    levels = len(head.prior_generator.strides)
    before, batch = head.get_targets, samples(BOXES, BOXES[:1])
    outs = [part[:levels] for part in random_outputs(head, SHAPE)]
    losses, expected = losses_of(head, batch, outs), losses_of(stock, batch, outs[:-1])
    assert head.get_targets == before
    assert all(torch.equal(losses[name], value) for name, value in expected.items())
    assert losses["loss_iou"] > 0
    assert_equals_reference(head.eval(), outs, metas_of(), ["cls", "alpha=0.50"])


@pytest.mark.parametrize("kind", [RETINA, "IoUAwareOwnHead"])
def test_training_and_inference_compute_the_same_outputs(kind):
    head = build_head(kind)
    torch.testing.assert_close(head.train()(features(SHAPE)), head.eval()(features(SHAPE)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("rules", "told"), [([], "rules: found none, expected one or more of 'cls'"), (["oracle"], "'oracle'.*labelled")]
)
def test_rules_that_cannot_be_followed_are_refused(rules, told):
    head = build_head()
    with pytest.raises(InputError, match=told):
        head.sweep(random_outputs(head), metas_of(), rules)
