import pytest
import torch
from builders.heads import (
    BOXES,
    CODER,
    SCALED,
    SHAPE,
    build_head,
    features,
    iou,
    losses_of,
    metas_of,
    random_outputs,
    samples,
)

from iou_aware.common.errors import InputError

CODERS = [(CODER, "AnchorGenerator"), (SCALED, "RoundedAnchorGenerator")]


def iou_loss_by_hand(head, batch, outs):
    """Eq. 3, anchor by anchor: from the targets that MMDetection assigns to each image, one image at a time."""
    priors = head.prior_generator.grid_priors([level.shape[-2:] for level in outs[0]], device="cpu")
    total, avg_factor = 0.0, 0
    for image, sample in enumerate(batch):
        anchors = torch.cat(priors)
        valid = torch.ones(len(anchors), dtype=torch.bool)
        _, _, targets, _, positives, *_ = head._get_targets_single(anchors, valid, sample.gt_instances, sample.metainfo)
        avg_factor += max(len(positives), 1)
        deltas = torch.cat([level[image].permute(1, 2, 0).reshape(-1, 4) for level in outs[1]])
        logits = torch.cat([level[image].permute(1, 2, 0).flatten() for level in outs[2]])
        for place in positives.tolist():
            anchor = anchors[place : place + 1]
            box = head.bbox_coder.decode(anchor, deltas[place : place + 1])[0].tolist()
            target = targets[place : place + 1]
            target = (target if head.reg_decoded_bbox else head.bbox_coder.decode(anchor, target))[0].tolist()
            quality, prediction = iou(box, target), logits[place].sigmoid()
            total -= quality * prediction.log() + (1 - quality) * (1 - prediction).log()
    return total / avg_factor


@pytest.mark.parametrize(("coder", "anchors"), CODERS)
@pytest.mark.parametrize("decoded", [False, True])
def test_the_iou_loss_is_equation_3(coder, anchors, decoded):
    loss_bbox = {"type": "IoULoss"} if decoded else {"type": "L1Loss"}
    head = build_head(coder=coder, anchors=anchors, reg_decoded_bbox=decoded, loss_bbox=loss_bbox)
    batch = samples(BOXES, BOXES[:1], torch.zeros(0, 4))
    outs = random_outputs(head, SHAPE, len(batch))
    expected = iou_loss_by_hand(head, batch, outs)
    assert expected > 0
    assert losses_of(head, batch, outs)["loss_iou"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_other_losses_are_those_of_retinahead():
    head, stock = build_head(), build_head("RetinaHead")
    outs, batch = random_outputs(head, SHAPE), samples(BOXES, BOXES[:1])
    losses, expected = losses_of(head, batch, outs), losses_of(stock, batch, outs[:2])
    assert set(losses) == {*expected, "loss_iou"}
    for name, value in expected.items():
        assert torch.equal(losses[name], value)


@pytest.mark.parametrize("kind", ["bce", "l2", "l1"])
def test_a_detached_target_leaves_the_box_convolution_alone(kind):
    head = build_head(loss_iou={"type": "IoUPredictionLoss", "kind": kind}, target_grad=False)
    losses_of(head, samples(BOXES, BOXES[:1]))["loss_iou"].backward()
    assert not head.retina_reg.weight.grad.any()
    assert not head.retina_reg.bias.grad.any()
    assert head.retina_iou.weight.grad.abs().sum() > 0
    assert head.reg_convs[0].conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["bce", "l2", "l1"])
@pytest.mark.parametrize(("coder", "anchors"), CODERS)
def test_an_attached_target_gives_the_box_deltas_their_true_gradient(kind, coder, anchors):
    options = {"loss_iou": {"type": "IoUPredictionLoss", "kind": kind}, "coder": coder, "anchors": anchors}
    attached, detached = (build_head(target_grad=attach, **options) for attach in (True, False))
    batch = samples(BOXES, BOXES[:1])
    outs = random_outputs(attached, SHAPE)
    deltas = [level.requires_grad_() for level in outs[1]]
    loss = losses_of(attached, batch, outs)["loss_iou"]
    gradients = torch.autograd.grad(loss, deltas)
    level = max(range(len(deltas)), key=lambda place: gradients[place].abs().max())
    place = tuple((gradients[level].abs() == gradients[level].abs().max()).nonzero()[0].tolist())
    step = 1e-2
    with torch.no_grad():
        values = []
        for sign in (1, -1):
            deltas[level][place] += sign * step
            values.append(losses_of(attached, batch, outs)["loss_iou"].item())
            deltas[level][place] -= sign * step
    assert gradients[level][place].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=0.05)
    assert losses_of(detached, batch, outs)["loss_iou"].item() == pytest.approx(loss.item())
    assert not losses_of(detached, batch, [list(part) for part in (outs[0], outs[1], [x.detach() for x in outs[2]])])[
        "loss_iou"
    ].requires_grad


@pytest.mark.parametrize("target_grad", [False, True])
def test_without_ground_truth_every_parameter_still_has_a_gradient(target_grad):
    head = build_head(target_grad=target_grad)
    losses = losses_of(head, samples(torch.zeros(0, 4), torch.zeros(0, 4)))
    assert losses["loss_iou"].item() == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())
    assert not head.retina_iou.weight.grad.any()


def test_the_head_is_one_class_agnostic_convolution_more():
    head, stock = build_head(num_classes=7), build_head("RetinaHead", num_classes=7)
    ours, theirs = dict(head.named_parameters()), dict(stock.named_parameters())
    assert set(ours) - set(theirs) == {"retina_iou.weight", "retina_iou.bias"}
    assert ours["retina_iou.weight"].shape == (3, 8, 3, 3)
    cls, box, iou_logits = head(features(SHAPE))
    assert [level.shape for level in iou_logits] == [(2, 3, *level.shape[-2:]) for level in cls]
    head.load_state_dict(stock.state_dict(), strict=False)
    for level, expected in zip(zip(cls, box, strict=True), zip(*head(features(SHAPE))[:2], strict=True), strict=True):
        assert level[0].shape == expected[0].shape


def test_training_and_inference_compute_the_same_outputs():
    head = build_head()
    head.init_weights()
    x = features(SHAPE)
    for training, inference in zip(head.train()(x), head.eval()(x), strict=True):
        for level, expected in zip(training, inference, strict=True):
            assert torch.allclose(level, expected, atol=1e-5)


@pytest.mark.parametrize("override", [None, [{"type": "Normal", "name": "retina_cls", "std": 0.01, "bias_prob": 0.01}]])
def test_the_iou_convolution_starts_as_the_paper_s_does(override):
    options = {} if override is None else {"init_cfg": {"type": "Kaiming", "layer": "Conv2d", "override": override}}
    head = build_head(**options, in_channels=64, feat_channels=256)
    torch.manual_seed(0)
    head.init_weights()
    assert head.retina_iou.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not head.retina_iou.bias.any()
    assert head.retina_cls.bias.mean().item() == pytest.approx(-4.595, abs=0.01)


def test_the_iou_convolution_costs_the_other_layers_no_random_numbers():
    started = {}
    for kind in ("IoUAwareRetinaHead", "RetinaHead"):
        torch.manual_seed(0)
        head = build_head(kind)
        head.init_weights()
        started[kind] = head.state_dict() | {"next": torch.rand(3)}
    ours, theirs = started.values()
    assert all(torch.equal(ours[name], weights) for name, weights in theirs.items())


def test_a_second_initialisation_changes_nothing():
    head = build_head()
    head.init_weights()
    before = {name: weights.clone() for name, weights in head.state_dict().items()}
    head.init_weights()
    assert all(torch.equal(before[name], weights) for name, weights in head.state_dict().items())


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 0.51)])
@pytest.mark.parametrize(("coder", "anchors"), CODERS)
def test_rule_cls_gives_the_detections_of_retinahead(coder, anchors, scale):
    """Where no level has more than ``nms_pre`` candidates, anchors or (anchor, class) pairs, nothing is left out."""
    torch.manual_seed(3)
    limits = {"score_thr": 0.3}
    stock = build_head("RetinaHead", coder=coder, anchors=anchors, test_cfg=limits).eval()
    for parameter in stock.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    head = build_head(coder=coder, anchors=anchors, test_cfg=limits | {"rule": "cls"})
    head.load_state_dict(stock.state_dict(), strict=False)
    batch = samples(BOXES, BOXES)
    for sample in batch:
        sample.set_metainfo({"scale_factor": scale})
    with torch.no_grad():
        expected = stock.predict(features(SHAPE), batch, rescale=True)
        found = head.eval().predict(features(SHAPE), batch, rescale=True)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(theirs) > 10
        assert torch.equal(ours.labels, theirs.labels)
        torch.testing.assert_close(ours.scores, theirs.scores, rtol=1e-6, atol=0)
        torch.testing.assert_close(ours.bboxes, theirs.bboxes, rtol=1e-5, atol=1e-4)


def test_one_pass_gives_what_each_rule_gives_alone():
    head = build_head().eval()
    batch, x = samples(BOXES, BOXES), features(SHAPE)
    rules = ["cls", "none", "alpha=0.80", "alpha=0.00"]
    swept = head.sweep(x, [sample.metainfo for sample in batch], rules)
    for rule in rules:
        head.test_cfg["rule"] = rule
        with torch.no_grad():
            alone = head.predict(x, batch, rescale=True)
        for image, expected in zip(swept, alone, strict=True):
            for field in ("bboxes", "labels", "scores", "cls_scores", "iou_preds"):
                assert torch.equal(image[rule][field], expected[field])


@pytest.mark.parametrize("rescale", [False, True])
def test_oracle_takes_the_iou_with_the_nearest_ground_truth(rescale):
    head = build_head(test_cfg={"score_thr": 0.01})
    outs, metas = random_outputs(head, SHAPE), metas_of(SHAPE, scale=(0.5, 0.5))
    truth = [BOXES * (2 if rescale else 1), torch.zeros(0, 4)]
    swept = head.sweep(outs, metas, ["none", "oracle=0.50"], rescale=rescale, gt_bboxes=truth)
    oracle = swept[0]["oracle=0.50"]
    assert len(oracle) > 5
    for box, score, p, quality in zip(oracle.bboxes, oracle.scores, oracle.cls_scores, oracle.iou_preds, strict=True):
        nearest = max(iou(box.tolist(), target.tolist()) for target in truth[0])
        assert quality.item() == pytest.approx(nearest, abs=1e-5)
        assert score.item() == pytest.approx((p * quality).sqrt().item(), rel=1e-6)
    assert not swept[1]["oracle=0.50"].scores.any()
    plain = head.sweep(outs, metas, ["none"], rescale=rescale)
    assert torch.equal(swept[0]["none"].scores, plain[0]["none"].scores)


def test_oracle_without_ground_truth_is_refused():
    head = build_head(test_cfg={"rule": "oracle"})
    with pytest.raises(InputError, match=r"'oracle'.*labelled"):
        head.sweep(random_outputs(head), metas_of(), ["oracle"])
    with pytest.raises(InputError, match=r"'oracle'.*labelled"):
        head.predict(features(SHAPE), samples(BOXES, BOXES))


def test_a_sweep_of_no_rules_is_refused():
    head = build_head()
    with pytest.raises(InputError, match="rules: found none, expected one or more of 'cls', 'none'"):
        head.sweep(random_outputs(head), metas_of(), [])


def test_scores_that_are_not_per_class_are_refused():
    with pytest.raises(InputError, match="use_sigmoid"):
        build_head(loss_cls={"type": "CrossEntropyLoss", "use_sigmoid": False})
