import pytest
import torch
from builders.heads import AWARE, RULES, SCALED, Waits, assert_equals_reference, build_head, metas_of, random_outputs
from hypothesis import given, settings
from hypothesis import strategies as st
from method.reference import overlap
from mmcv.ops import nms

from iou_aware.common.messages import InputError
from iou_aware.method.ranking import engine
from iou_aware.method.ranking.nms import suppress, survivors_of

LIMITS = st.fixed_dictionaries(
    {
        "nms_pre": st.sampled_from([1, 7, 40, 1000, -1]),
        "score_thr": st.sampled_from([0.0, 0.05, 0.5, 1.0]),
        "nms": st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]).map(lambda iou: {"type": "nms", "iou_threshold": iou}),
        "max_per_img": st.sampled_from([1, 10, 100]),
        "min_bbox_size": st.sampled_from([-1, 0, 12]),
    }
)


@given(
    kind=st.sampled_from(AWARE),
    seed=st.integers(0, 2**31),
    num_classes=st.sampled_from([1, 2, 5]),
    shape=st.sampled_from([(8, 8), (16, 40), (48, 64)]),
    coarse=st.booleans(),
    spread=st.sampled_from([0.5, 2.0, 30.0]),
    limits=LIMITS,
    first_look=st.sampled_from([(1, 1), (5, 20), (30, 30), (512, 1536)]),
    scale=st.sampled_from([(1.0, 1.0), (0.5, 0.51)]),
)
@settings(max_examples=200)
def test_the_engine_equals_the_reference(kind, seed, num_classes, shape, coarse, spread, limits, first_look, scale):
    head = build_head(kind, num_classes=num_classes, test_cfg=limits)
    outs = random_outputs(head, shape, 2, seed, coarse, spread)
    rules = ["none", "alpha=1.00", "oracle=0.40", "oracle=1.00", "alpha=0.70", "alpha=0.50", "alpha=0.15", "alpha=0.00"]
    truth = [random_boxes(seed, 3), random_boxes(seed, 0)]
    with pytest.MonkeyPatch.context() as patch:
        # Shallow first looks make the engine look again.
        patch.setattr(engine, "FIRST_ANCHORS", first_look[0])
        patch.setattr(engine, "FIRST_PAIRS", first_look[1])
        assert_equals_reference(head, outs, metas_of(shape, 2, scale), rules, truth=truth)
        # And again, with what the first time taught.
        again = random_outputs(head, shape, 2, seed + 1, coarse, spread)
        assert_equals_reference(head, again, metas_of(shape, 2), rules, truth=truth)


def test_another_coder_the_network_s_pixels_and_images_of_several_sizes():
    head = build_head(coder=SCALED, anchors="RoundedAnchorGenerator")
    metas = metas_of(num=3, scale=(0.25, 0.25))
    metas[1] |= {"img_shape": (40, 50)}
    assert_equals_reference(head, random_outputs(head, num=3), metas, rescale=False)


@pytest.mark.parametrize("min_size", [-1, 0])
def test_levels_without_candidates_and_boxes_without_area(min_size):
    head = build_head(test_cfg={"min_bbox_size": min_size})
    outs = random_outputs(head)
    outs[0][0].fill_(-20)
    for level in outs[1]:
        level[:, ::8] = 40.0  # every other anchor's box lies beyond the image, and is cut down to its border
    found = head.sweep(outs, metas_of(), ["alpha=0.50"])
    sides = torch.cat([image["alpha=0.50"].bboxes[:, 2:] - image["alpha=0.50"].bboxes[:, :2] for image in found])
    assert bool((sides <= 0).any()) == (min_size < 0)
    assert_equals_reference(head, outs, metas_of())


def test_twelve_rules_ask_the_device_hardly_more_often_than_one():
    outs = random_outputs(build_head())
    counts = []
    for rules in (["alpha=0.00"], RULES[:12]):
        with Waits() as waits:
            build_head().sweep(outs, metas_of(), rules)
        counts.append(waits.of.total())
    assert 0 < counts[0] <= counts[1] < 2 * counts[0]


def random_boxes(seed, num=120):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(num, 2, generator=generator) * 40
    return torch.cat([corners, corners + torch.rand(num, 2, generator=generator) * 30], 1)


@given(st.integers(0, 2**31), st.booleans(), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]))
@settings(max_examples=50)
def test_suppression_within_a_class_is_mmcv_s(seed, coarse, threshold):
    boxes = random_boxes(seed).round(decimals=0 if coarse else 4)
    boxes[::10, 2] = boxes[::10, 0]  # no area
    count = len(boxes)
    masks = survivors_of(boxes.unsqueeze(0), [count], threshold)
    ranked = torch.ones(1, count, dtype=torch.bool)
    kept = suppress(torch.arange(count).unsqueeze(0), ranked, torch.tensor([0]), masks, 1, count)[0]
    _, expected = nms(boxes, torch.linspace(1, 0.1, count), threshold)
    assert torch.equal(kept[kept < count], expected)


POINT = [3.0, 4.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("boxes", "threshold"), [([POINT, POINT], 0.0), ([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 5.0, 10.0]], 0.5)]
)
def test_a_box_is_suppressed_only_above_the_threshold(boxes, threshold):
    """Not at an overlap of exactly the threshold, nor at that of boxes without area, which is not a number."""
    boxes = torch.tensor(boxes)
    assert not overlap(*boxes) > threshold
    assert survivors_of(boxes.unsqueeze(0), [2], threshold)[0, 0, 1] == 1
    assert len(nms(boxes, torch.tensor([0.9, 0.8]), threshold)[1]) == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_detections_of_half_precision_outputs_are_those_of_the_same_numbers(dtype):
    head = build_head(test_cfg={"score_thr": 0.0})
    outs = [[level.to(dtype) for level in part] for part in random_outputs(head)]
    with torch.autocast("cpu", dtype):
        assert_equals_reference(head, outs, metas_of(), ["none", "alpha=0.50", "alpha=0.00"])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"test_cfg": {"nms": {"type": "soft_nms", "iou_threshold": 0.5}}}, "nms.*soft_nms"),
        ({"test_cfg": {"nms": {"type": "nms", "iou_threshold": 0.5, "class_agnostic": True}}}, "class_agnostic"),
        ({"test_cfg": {"nms": None}}, "nms.*None"),
        ({"test_cfg": {"nms": {"type": "nms", "iou_threshold": 1.5}}}, r"iou_threshold.*1\.5.*\[0, 1\]"),
        ({"test_cfg": {"max_per_img": 0}}, "max_per_img.*0"),
        ({"test_cfg": {"rule": "alpha=2"}}, "alpha=2"),
        ({"loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False}}, "use_sigmoid"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused_when_the_head_is_built(wrong, named):
    with pytest.raises(InputError, match=named):
        build_head(**wrong)
