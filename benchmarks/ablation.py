"""What each speed-up of the sweep is worth: the engine against itself with that one switched off, 12 rules.

Each is switched off from here, by putting the plain way of doing it in its place; the engine has no switches. Before it
is timed, its detections are compared with the whole engine's: they must be equal to the last bit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import torch
from miniature import Image, batch_of, trained
from mmcv.ops import nms
from mmengine.structures import InstanceData
from sweep import TABLE_3, coco_head, coco_outputs
from timing import versus
from torch import Tensor, nn

from iou_aware.method.confidence import Rule, confidence
from iou_aware.method.heads import IoUAwareRetinaHead
from iou_aware.method.ranking import BatchDetections, DenseOutputs, Depth, Settings, engine
from iou_aware.method.ranking import nms as nms_steps
from iou_aware.method.ranking.nms import suppress

Outs = tuple[list[Tensor], list[Tensor], list[Tensor]]
Batch = tuple[Outs, list[dict]]
Swept = list[list[BatchDetections]]  # in parts of the rules, then of the images
Work = Callable[[], Swept]
Switch = Callable[[], AbstractContextManager]
EVERYTHING = 1 << 40


class Deepest(Depth):
    """Looks at everything at once."""

    def guess(self, rules: Sequence[Rule], factor: int) -> tuple[list[int], int]:
        """Return numbers that no image reaches."""
        return [EVERYTHING] * len(rules), EVERYTHING


class Unteachable(Depth):
    """Begins each batch as if it were the first."""

    def learn(self, rules: Sequence[Rule], anchors: Sequence[int], pairs: Sequence[int]) -> None:
        """Take note of nothing."""


class EveryClass(engine._Sweep):
    """Ranks anchors by the confidence of each of their classes under each rule, not by their best class's."""

    def __init__(
        self, outputs: DenseOutputs, ious: Tensor, rules: Sequence[Rule], settings: Settings, depth: Depth
    ) -> None:
        self.outputs, self.ious, self.rules, self.settings, self.depth = outputs, ious, rules, settings, depth
        self.classes = torch.arange(outputs.num_classes)
        images = torch.arange(outputs.num_images).repeat_interleave(outputs.num_anchors)
        anchors = torch.arange(outputs.num_anchors).repeat(outputs.num_images)
        scores = outputs.class_scores(images, anchors).view(*ious.shape, -1)
        best = torch.stack([confidence(scores, ious.unsqueeze(-1), rule).amax(-1) for rule in rules])
        self.keys = engine._encode(best, torch.arange(outputs.num_anchors) * outputs.num_classes)
        self.bottom = engine._bottom(settings.score_thr)


def all_scores(outputs: DenseOutputs, images: Tensor, anchors: Tensor) -> Tensor:
    """Compute the class scores of every anchor, then take those asked for."""
    width = outputs.num_classes
    levels = [level.permute(0, 2, 3, 1).reshape(len(level), -1, width) for level in outputs._cls_logits]
    return torch.cat(levels, 1).double().sigmoid().float()[images, anchors]


def all_boxes(outputs: DenseOutputs, images: Sequence[int], anchors: Tensor) -> Tensor:
    """Decode the boxes of every anchor, then take those asked for."""
    every = _boxes(outputs, images, torch.arange(outputs.num_anchors).expand(len(images), -1))
    return every.gather(1, anchors.unsqueeze(-1).expand(-1, -1, 4))


def one_by_one(outputs: DenseOutputs, images: Sequence[int], anchors: Tensor) -> Tensor:
    """Decode the boxes of each image on their own."""
    return torch.cat([_boxes(outputs, [image], row.unsqueeze(0)) for image, row in zip(images, anchors, strict=True)])


_boxes = DenseOutputs.boxes


def each_alone(cls_score: Tensor, iou_pred: Tensor, rules: Sequence[Rule]) -> Tensor:
    """Compute each rule's confidences on its own, logarithms and all."""
    return torch.stack([confidence(cls_score, iou_pred, rule) for rule in rules])


def to_the_end(pairs: Tensor, ranked: Tensor, images: Tensor, survivors: Tensor, num_classes: int, cap: int) -> Tensor:
    """Suppress to the end of every ranking and cut only then."""
    whole = max(pairs.shape[1], cap)
    kept = suppress(pairs, ranked, images, survivors, num_classes, min(whole, num_classes * survivors.shape[-1]))
    return torch.cat([kept, kept.new_full((len(kept), cap), pairs.shape[1])], 1)[:, :cap]


def by_mmcv(
    pairs: Tensor, ranked: Tensor, images: Tensor, compared: tuple[Tensor, float], num_classes: int, cap: int
) -> Tensor:
    """Suppress ranking by ranking and class by class with mmcv's compiled NMS."""
    boxes, threshold = compared
    kept = pairs.new_full((len(pairs), cap), pairs.shape[1])
    for row, (pair, real, image) in enumerate(zip(pairs, ranked, images, strict=True)):
        places = real.nonzero().squeeze(1)
        labels, corners = pair[places] // boxes.shape[1], boxes[image, pair[places] % boxes.shape[1]]
        found = [places[:0]]
        for label in labels.unique():
            mine = (labels == label).nonzero().squeeze(1)
            found.append(places[mine[nms(corners[mine], -mine.float(), threshold)[1]]])
        first = torch.cat(found).sort().values[:cap]
        kept[row, : len(first)] = first
    return kept


def switches(head: IoUAwareRetinaHead) -> dict[str, Switch]:
    """Return what switches off each speed-up that lies within the engine, by what is done instead."""
    return {
        "rank and compare all candidates, not only the front": lambda: patch.object(head, "depth", Deepest()),
        "do not learn from batches how deep to look": lambda: patch.object(head, "depth", Unteachable()),
        "rank anchors by all their classes, not by the best": lambda: patch.object(engine, "_Sweep", EveryClass),
        "compute every anchor's class scores": lambda: patch.object(DenseOutputs, "class_scores", all_scores),
        "decode every anchor's box": lambda: patch.object(DenseOutputs, "boxes", all_boxes),
        "decode the boxes of each image on its own": lambda: patch.object(DenseOutputs, "boxes", one_by_one),
        "take logarithms for each rule anew": lambda: patch.object(engine, "confidences", each_alone),
        "do not ask which classes are settled": lambda: patch.object(nms_steps, "PATIENCE", EVERYTHING),
        "suppress to the end, beyond the cap": lambda: patch.object(engine, "suppress", to_the_end),
        "mmcv's NMS for each ranking and class": lambda: patch.multiple(
            engine, survivors_of=lambda boxes, _, threshold: (boxes, threshold), suppress=by_mmcv
        ),
    }


def whole(head: IoUAwareRetinaHead, batches: list[Batch], rules: list[str]) -> Swept:
    """Return the detections of all batches under all rules, by the engine as it is."""
    return [[head.sweep(outs, metas, rules) for outs, metas in batches]]


def rule_by_rule(head: IoUAwareRetinaHead, batches: list[Batch], rules: list[str]) -> Swept:
    """Return the same, from one sweep per rule."""
    return [found for rule in rules for found in whole(head, batches, [rule])]


def taken_apart(head: IoUAwareRetinaHead, batches: list[Batch], rules: list[str]) -> Swept:
    """Return the same, taken apart by image and rule."""
    swept = whole(head, batches, rules)
    by_image(swept)
    return swept


def image_by_image(head: IoUAwareRetinaHead, batches: list[Batch], rules: list[str]) -> Swept:
    """Return the same, from one sweep per image."""
    alone = [
        (tuple([level[place : place + 1] for level in part] for part in outs), [meta])
        for outs, metas in batches
        for place, meta in enumerate(metas)
    ]
    return whole(head, alone, rules)


def variants(head: IoUAwareRetinaHead, batches: list[Batch], rules: list[str]) -> dict[str, Work]:
    """Return what computes all detections with one speed-up switched off, by what is done instead."""

    def switched(switch: Switch) -> Work:
        def work() -> Swept:
            with off:
                return whole(head, batches, rules)

        off = switch()
        return work

    found: dict[str, Work] = {"sweep rule by rule": lambda: rule_by_rule(head, batches, rules)}
    if any(len(metas) > 1 for _, metas in batches):
        found["sweep image by image"] = lambda: image_by_image(head, batches, rules)
    found["take the detections apart by image and rule"] = lambda: taken_apart(head, batches, rules)
    return found | {name: switched(switch) for name, switch in switches(head).items()}


def equal(ours: Swept, theirs: Swept) -> bool:
    """Whether all detections are the same, bit by bit."""
    return all(
        torch.equal(one[rule][field], other[rule][field])
        for one, other in zip(by_image(ours), by_image(theirs), strict=True)
        for rule in one
        for field in ("bboxes", "labels", "scores", "cls_scores", "iou_preds")
    )


def by_image(swept: Swept) -> list[dict[str, InstanceData]]:
    """Return each image's detections under all rules."""
    parts = [[image for found in batches for image in found] for batches in swept]
    return [{rule: part[rule] for part in image for rule in part} for image in zip(*parts, strict=True)]


@torch.inference_mode()
def predicted(model: nn.Module, images: list[list[Image]]) -> list[Batch]:
    """Return what a model predicts for some batches."""
    batches = []
    for batch in images[:3]:
        data = model.data_preprocessor(batch_of(batch))
        outs = model.bbox_head(model.extract_feat(data["inputs"]))
        batches.append((outs, [sample.metainfo for sample in data["data_samples"]]))
    return batches


def entries(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield an entry for each speed-up, in the miniature and at COCO's geometry; ours is the whole engine."""
    model, images, _ = trained(quick)
    places = {"miniature": (model.bbox_head, predicted(model, images))}
    if not quick:
        coco = [(coco_outputs(), [{"img_shape": (800, 1333), "scale_factor": (2.08, 2.08)}])]
        places["COCO's geometry"] = coco_head("ours"), coco
    rules = TABLE_3[:3] if quick else TABLE_3
    for place, (head, batches) in places.items():
        count = sum(len(metas) for _, metas in batches)
        expected = whole(head, batches, rules)
        for name, work in variants(head, batches, rules).items():
            if not equal(expected, work()):
                raise AssertionError(f"{place}: other detections when one does this: {name}")
            entry = versus(
                f"{place}: {name}",
                ("the whole engine", lambda head=head, batches=batches: whole(head, batches, rules)),
                ("one speed-up switched off", work),
                turns=1 if quick else 3 if count == 1 else 7,
                unit="ms per image",
                per=count / 1000,
            )
            yield entry | {"group": "ablation"}
