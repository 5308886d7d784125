"""Targets of a whole batch at once: MMDetection's, bit for bit, whatever the boxes."""

from types import SimpleNamespace

import pytest
import torch
from builders.heads import CODER, SCALED, build_head, sizes_of
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData

from iou_aware.method import targets
from iou_aware.method.targets import batch_targets

SHAPE = (48, 64)


def asked(head, boxes: list[torch.Tensor], pads: list[tuple[int, int]], kind=torch.Tensor):
    """Return the arguments that a head's ``loss_by_feat`` asks ``get_targets`` with."""
    metas = [{"img_shape": pad, "pad_shape": pad} for pad in pads]
    anchors, valid = head.get_anchors(sizes_of(SHAPE), metas, device="cpu")
    truth = [InstanceData(bboxes=kind(one), labels=torch.arange(len(one)) % 3) for one in boxes]
    return anchors, valid, truth, metas, [None] * len(boxes)


def same(head, boxes, pads=None, kind=torch.Tensor) -> int:
    """Hold the anchors and targets of a batch against MMDetection's; return the number of positives."""
    arguments = asked(head, boxes, pads or [SHAPE] * len(boxes), kind)
    expected = AnchorHead.get_targets(head, *arguments)
    batch_targets(SimpleNamespace(bbox_head=head))
    for _ in range(2):  # the second time, the anchors are remembered
        ours = asked(head, boxes, pads or [SHAPE] * len(boxes), kind)
        torch.testing.assert_close(ours[:2], arguments[:2], rtol=0, atol=0)
    *found, normaliser = head.get_targets(*ours)
    torch.testing.assert_close(found, list(expected[:-1]), rtol=0, atol=0)
    assert normaliser.item() == expected[-1]
    return sum(int((level < 3).sum()) for level in found[0])


# Corners on a grid, so that many anchors and objects overlap equally, and some boxes have no area.
CORNER = st.integers(0, 8).map(lambda place: 8.0 * place)
BOX = st.tuples(CORNER, CORNER, CORNER, CORNER).map(
    lambda c: [min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3])]
)
PAD = st.sampled_from([SHAPE, (32, 64), (48, 32), (16, 16)])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(BOX, max_size=5), PAD), min_size=1, max_size=4), st.booleans(), st.integers(0, 9))
def test_targets_are_mmdetections_bit_for_bit(images, low_quality, objects_at_once):
    head = build_head("RetinaHead")
    head.assigner.match_low_quality = low_quality
    with pytest.MonkeyPatch.context() as limit:
        limit.setattr(targets, "PAIRS", objects_at_once * sum(9 * height * width for height, width in sizes_of(SHAPE)))
        same(head, [torch.tensor(boxes).reshape(-1, 4) for boxes, _ in images], [pad for _, pad in images])


@pytest.mark.parametrize(("coder", "anchors"), [(CODER, "AnchorGenerator"), (SCALED, "RoundedAnchorGenerator")])
@pytest.mark.parametrize("kind", [torch.Tensor, HorizontalBoxes])
def test_random_boxes_of_every_coder(coder, anchors, kind):
    generator = torch.Generator().manual_seed(0)
    head = build_head(coder=coder, anchors=anchors)
    low, size = (torch.rand(7, 3, 2, generator=generator) * scale for scale in (40, 30))
    assert same(head, list(torch.cat([low, low + size + 1], dim=-1)), kind=kind) > 20


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("assigner", "gt_max_assign_all", False),
        ("assigner", "ignore_iof_thr", 0.5),
        ("assigner", "neg_iou_thr", (0.1, 0.4)),
        ("train_cfg", "allowed_border", 0),
        ("train_cfg", "pos_weight", 2),
        (None, "sampler", TASK_UTILS.build({"type": "RandomSampler", "num": 8, "pos_fraction": 0.5})),
    ],
)
def test_heads_with_other_targets_are_left_alone(part, name, value):
    head = build_head("RetinaHead")
    setattr(getattr(head, part) if part else head, name, value)
    before = head.get_targets
    batch_targets(SimpleNamespace(bbox_head=head))
    assert head.get_targets == before


def test_a_head_with_anchors_of_its_own_keeps_them():
    head = build_head("RetinaHead")
    head.__class__ = type("Own", (type(head),), {"get_anchors": lambda self, *_, **__: "own"})
    batch_targets(SimpleNamespace(bbox_head=head))
    assert head.get_anchors() == "own"
