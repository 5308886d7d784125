"""Heads and head outputs of every shape, for the tests of the method, and a count of what waits for a GPU."""

import sys
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from method.reference import Level, detect
from mmdet.models.dense_heads import AnchorHead, FCOSHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import iou_aware.method.heads
from iou_aware.method.confidence import Rule
from iou_aware.method.heads import WithoutCenterness
from iou_aware.method.iou_branch import IoUAware
from iou_aware.method.ranking import Settings

SHAPE = (48, 64)  # of images
STRIDES = [8, 16, 32]
FAMILIES = ["ATSSHead", "FCOSHead"]
STOCK = ["RetinaHead", *(f"{family}{rest}" for family in FAMILIES for rest in ("", "WithoutCenterness"))]
AWARE = [f"IoUAware{kind}" for kind in STOCK]
CODER = {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": [1.0] * 4}
SCALED = CODER | {"target_stds": [0.5, 0.5, 1.5, 1.5]}
RULES = ["none", *(f"alpha={tenth / 10:.2f}" for tenth in range(10, -1, -1)), "cls"]
TEST_CFG = {
    "nms_pre": 1000,
    "min_bbox_size": 0,
    "score_thr": 0.05,
    "nms": {"type": "nms", "iou_threshold": 0.5},
    "max_per_img": 100,
}


def build_head(kind="IoUAwareRetinaHead", coder=CODER, anchors="AnchorGenerator", test_cfg=None, **options):
    """Return a narrow head of three levels by its registered name, RetinaNet's with three anchors per place."""
    assert iou_aware.method.heads
    head = {
        "type": kind,
        "num_classes": 3,
        "in_channels": 8,
        "feat_channels": 8,
        "stacked_convs": 1,
        "loss_cls": {"type": "FocalLoss", "use_sigmoid": True},
        "test_cfg": TEST_CFG | (test_cfg or {}),
    }
    generator = {"type": anchors, "octave_base_scale": 3, "scales_per_octave": 1, "strides": STRIDES}
    train_cfg = {"allowed_border": -1, "pos_weight": -1, "debug": False}
    if "ATSS" in kind or "FCOS" in kind:
        head |= {"norm_cfg": {"type": "GN", "num_groups": 2}, "loss_bbox": {"type": "GIoULoss"}}
    if "ATSS" in kind:
        head |= {"anchor_generator": generator | {"ratios": [1.0]}, "bbox_coder": SCALED}
        head["train_cfg"] = train_cfg | {"assigner": {"type": "ATSSAssigner", "topk": 9}}
    elif "FCOS" in kind:
        ranges = ((-1, 16), (16, 32), (32, 1e8))
        head |= {"strides": STRIDES, "regress_ranges": ranges, "norm_on_bbox": True, "centerness_on_reg": True}
    else:
        head |= {"anchor_generator": generator | {"ratios": [0.5, 1.0, 2.0]}, "bbox_coder": coder}
        head["loss_bbox"] = {"type": "SmoothL1Loss", "beta": 0.11}
        assigner = {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.4, "min_pos_iou": 0}
        head["train_cfg"] = train_cfg | {
            "assigner": assigner | {"ignore_iof_thr": -1},
            "sampler": {"type": "PseudoSampler"},
        }
    return MODELS.build(ConfigDict(head | options))


def sizes_of(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the feature map sizes of an image shape."""
    return [(-(-shape[0] // stride), -(-shape[1] // stride)) for stride in STRIDES]


def random_outputs(head, shape=(48, 64), num=2, seed=0, coarse=False, spread=2.0):
    """Return random class logits, box deltas, a centerness where the head has one, and IoU logits.

    ``coarse`` ones take few values, so that many tie.
    """
    generator = torch.Generator().manual_seed(seed)
    base, classes = head.num_base_priors, head.num_classes

    def draw(channels: int, scale: float) -> list[Tensor]:
        maps = [torch.randn(num, channels, *size, generator=generator) * scale for size in sizes_of(shape)]
        return [(level * 2).round() / 2 for level in maps] if coarse else maps

    cls, boxes = draw(base * classes, spread), draw(base * 4, 0.3)
    if isinstance(head, FCOSHead):
        boxes = [level.abs() * 40 for level in boxes]  # pixels from a point to the sides
    factors = [draw(base, spread)] if has_centerness(head) else []
    return cls, boxes, *factors, draw(base, spread)


def has_centerness(head) -> bool:
    """Say whether a head gives a centerness."""
    return hasattr(head, "loss_centerness") and not isinstance(head, WithoutCenterness)


def metas_of(shape=(48, 64), num=2, scale=(1.0, 1.0)) -> list[dict]:
    """Return the meta information of equal images."""
    return [{"img_shape": shape, "pad_shape": shape, "scale_factor": scale} for _ in range(num)]


def levels_of(head: IoUAware, outs, meta: dict, image: int) -> list[Level]:
    """Return one image's outputs as the reference takes them: scores, IoUs and boxes of all anchors of each level."""
    priors = head.prior_generator.grid_priors([level.shape[-2:] for level in outs[0]], device="cpu")
    levels = []
    for *parts, anchors in zip(*outs, priors, strict=True):
        flat = [level[image].permute(1, 2, 0) for level in parts]
        scores, *factors, ious = (flat[place].double().sigmoid() for place in (0, *range(2, len(flat))))
        scores = scores.reshape(-1, head.num_classes)
        for factor in factors:
            scores = scores * factor.reshape(-1, 1)
        scores, ious = scores.float(), ious.reshape(-1, 1).float()
        decoded = head.bbox_coder.decode(anchors.double(), flat[1].reshape(-1, 4).double(), max_shape=meta["img_shape"])
        levels.append(
            (scores, ious, decoded.float() * decoded.new_tensor([1 / s for s in meta["scale_factor"]] * 2).float())
        )
    return levels


def nearest(boxes: Tensor, truth: Tensor) -> Tensor:
    """Return each box's (N, 4) IoU with the object that it overlaps most, (N, 1), 0 where there is none."""
    return F.pad(bbox_overlaps(boxes, truth), (1, 0)).amax(1, keepdim=True)


def assert_equals_reference(head, outs, metas, rules=RULES, rescale=True, truth=None):
    """Hold the detections of a sweep, every field of every rule, against the reference's, to the last bit."""
    found = head.sweep(outs, metas, rules, rescale=rescale, gt_bboxes=truth)
    limits = Settings.from_config(head.test_cfg)
    for image, meta in enumerate(metas):
        levels = levels_of(head, outs, meta if rescale else meta | {"scale_factor": (1.0, 1.0)}, image)
        assert list(found[image]) == [Rule(rule) for rule in rules]
        known = truth and [(scores, nearest(boxes, truth[image]), boxes) for scores, _, boxes in levels]
        for rule, detections in found[image].items():
            levels_seen = known if Rule(rule).kind == "oracle" else levels
            for field, expected in detect(levels_seen, rule, limits).items():
                np.testing.assert_array_equal(detections[field], expected, f"{field} of {rule}", strict=True)


def iou(a, b) -> float:
    """Return the IoU of two boxes x1, y1, x2, y2, given as numbers."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


# Operations whose result, or whose result's size, the CPU must know.
ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "bincount")
BY_MASK = ("index", "index_put_")
TORCH = str(Path(torch.__file__).parent)
# No GPU is asked for the sizes of images, nor where it has another operation.
ON_CPU = ("mmengine/model/utils.py", "mmdet/models/losses/focal_loss.py", "iou_aware/method/losses.py")


class Waits(TorchDispatchMode):
    """Counts what would wait for a GPU: ``of`` by the file that asks."""

    def __init__(self):
        super().__init__()
        self.of: Counter[str] = Counter()

    def __enter__(self):
        tolist, cpu = Tensor.tolist, Tensor.cpu  # of a tensor on the CPU they are no operations
        counted = {"tolist": lambda one: self.count() or tolist(one), "cpu": lambda one: self.count() or cpu(one)}
        self.methods = mock.patch.multiple(Tensor, **counted)
        self.methods.start()
        return super().__enter__()

    def __exit__(self, *fault):
        self.methods.stop()
        super().__exit__(*fault)

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = str(function).split(".")[1]  # of aten.nonzero.default
        masks = arguments[1] if name in BY_MASK else ()
        if name in ASKING or any(mask is not None and mask.dtype in (torch.bool, torch.uint8) for mask in masks):
            self.count()
        return function(*arguments, **(options or {}))

    def count(self) -> None:
        """Count one for the innermost file that is neither PyTorch's nor this one."""
        frame = sys._getframe(1)
        while frame.f_code.co_filename.startswith((TORCH, __file__)):
            frame = frame.f_back
        if not frame.f_code.co_filename.endswith(ON_CPU):
            self.of[frame.f_code.co_filename] += 1


@MODELS.register_module()
class OwnHead(AnchorHead):
    """A head of one's own: MMDetection's simplest, one 1x1 convolution per output, without towers."""

    def __init__(self, *args, stacked_convs, **kwargs):
        super().__init__(*args, **kwargs)


@MODELS.register_module()
class IoUAwareOwnHead(IoUAware, OwnHead):
    """All that its author writes to give it an IoU."""
