"""Every rule's detections from one set of predictions, equal to the last bit to those of ``reference``.

What makes it fast, and why it stays exact:

- An anchor's best class does not depend on the rule: every rule's confidence rises with p, and the IoU is one per
  anchor. So anchors are ranked by one score each, and their other classes are looked at only where they can matter.
- An image's detections are decided by the front of its ranking: greedy NMS never looks back, so once the cap is
  reached, nothing further down matters. Only the first anchors and, of them, the first (anchor, class) pairs are ranked
  and compared. Where they do not fill the cap, the work is done again, deeper. How deep to look at first is learnt from
  the batches before: a guess that decides how much is done, never what comes out.
- One integer holds a confidence and, below it, the position: its order is the order of ``reference``, ties included,
  whatever the sorting algorithm.
- Boxes, and so their overlaps, do not depend on the rule: the union of the anchors that any rule looks at is decoded
  and compared once.
- All rules and images take each step together, on whatever device the outputs are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from iou_aware.confidence import Rule, confidences
from iou_aware.postprocess.boxes import nearest_iou
from iou_aware.postprocess.depth import Depth
from iou_aware.postprocess.nms import suppress, survivors_of
from iou_aware.postprocess.outputs import DenseOutputs
from iou_aware.postprocess.settings import Settings

LOW = (1 << 32) - 1
NOTHING = -1  # the code of what is no candidate; codes of candidates are not negative
MOST_KEYS = 1 << 24  # rules are taken together as long as their anchors' codes, of all images, are no more than this


def sweep(
    outputs: DenseOutputs,
    rules: Sequence[Rule],
    settings: Settings,
    gt_bboxes: Sequence[Tensor] | None = None,
    depth: Depth | None = None,
) -> list[dict[str, InstanceData]]:
    """Return each image's detections under every rule.

    Args:
        outputs: The head's predictions for a batch of B images.
        rules: R confidence rules.
        settings: The numbers of the selection.
        gt_bboxes: Per image, ground-truth boxes (G, 4) in the pixels of the result; needed by ``oracle`` only.
        depth: What earlier batches taught about how deep to look; taught by this one in turn.

    Returns:
        Per image a dict from the rule's text to ``bboxes`` (n, 4), ``labels``, ``scores``, ``cls_scores`` and
        ``iou_preds`` (n,) in descending confidence, n <= ``max_per_img``.
    """
    found: list[dict[Rule, InstanceData]] = [{} for _ in range(outputs.num_images)]
    depth = Depth() if depth is None else depth
    tables = [(outputs.iou_preds, [rule for rule in rules if rule.kind != "oracle"])]
    if oracles := [rule for rule in rules if rule.kind == "oracle"]:
        tables.append((true_ious(outputs, gt_bboxes), oracles))
    together = max(MOST_KEYS // (outputs.num_images * outputs.num_anchors), 1)
    for ious, sharing in tables:
        for start in range(0, len(sharing), together):
            _Sweep(outputs, ious, sharing[start : start + together], settings, depth).run(found)
    return [{str(rule): by_rule[rule] for rule in rules} for by_rule in found]


def true_ious(outputs: DenseOutputs, gt_bboxes: Sequence[Tensor]) -> Tensor:
    """Return the IoU of every anchor's box with its nearest ground truth, (B, N)."""
    every = torch.arange(outputs.num_anchors, device=outputs.iou_preds.device)
    return torch.stack([nearest_iou(outputs.boxes(image, every), truth) for image, truth in enumerate(gt_bboxes)])


class _Sweep:
    """The sweep of a batch of B images, N anchors and C classes under R rules that share one table of IoUs (B, N)."""

    def __init__(
        self, outputs: DenseOutputs, ious: Tensor, rules: Sequence[Rule], settings: Settings, depth: Depth
    ) -> None:
        self.outputs, self.ious, self.rules, self.settings, self.depth = outputs, ious, rules, settings, depth
        self.classes = torch.arange(outputs.num_classes, device=ious.device)
        # Anchors are ranked by their best class, as codes (R, B, N) with the position of the anchor's last class: of
        # two anchors, the pairs of the one with the higher code come first, or at least their best does.
        last = torch.arange(1, outputs.num_anchors + 1, device=ious.device) * outputs.num_classes - 1
        best = torch.stack(confidences(outputs.best_scores, ious, self.rules))
        self.keys = _encode(best, last).masked_fill_(best <= settings.score_thr, NOTHING)

    def run(self, found: list[dict[Rule, InstanceData]]) -> None:
        """Add each image's detections under each rule to ``found``."""
        rules, images = range(len(self.rules)), range(self.outputs.num_images)
        factor = 1
        while rules:
            unsettled = self._detect(list(rules), list(images), factor, found)
            rules = [rule for rule, row in zip(rules, unsettled, strict=True) if any(row)]
            images = [image for image, column in zip(images, zip(*unsettled, strict=True), strict=True) if any(column)]
            factor *= 2

    def _detect(
        self, places: list[int], images: list[int], factor: int, found: list[dict[Rule, InstanceData]]
    ) -> list[list[bool]]:
        """Add what the front of the rankings decides to ``found``; return for which rules and images it does not.

        Args:
            places: Which rules.
            images: Which images.
            factor: How many times deeper than guessed to look.
            found: Per image, its detections under each rule.
        """
        rules, keys = [self.rules[place] for place in places], self.keys
        if len(places) < len(self.rules) or len(images) < self.outputs.num_images:
            keys = keys[places][:, images]
        num_anchors, num_pairs = self.depth.guess(rules, factor)
        if 0 < self.settings.nms_pre < max(num_anchors):
            keys = self._cut(keys)
        front, more = _front(keys, num_anchors)
        union = self._union(images, (keys >= front).any(0))
        confidences_ = torch.stack(confidences(union.scores, union.ious, rules))
        codes = _encode(confidences_, union.anchors.unsqueeze(1) * len(self.classes) + self.classes.unsqueeze(1))
        candidates = (confidences_ > self.settings.score_thr) & (codes >= front.unsqueeze(-1)) & union.usable
        candidates &= (keys.gather(2, union.anchors.expand(len(rules), -1, -1)) >= front).unsqueeze(2)
        codes = codes.masked_fill_(~candidates, NOTHING).flatten(2).flatten(0, 1)
        codes, pairs = codes.topk(min(num_pairs, codes.shape[1]))
        ranked = codes >= 0
        more = more.flatten() | (ranked[:, -1] & (codes.shape[1] == num_pairs))
        of_image = torch.arange(len(images), device=keys.device).repeat(len(rules))
        survivors = survivors_of(union.boxes, union.counts, self.settings.iou_threshold)
        kept = suppress(pairs, ranked, of_image, survivors, len(self.classes), self.settings.max_per_img)
        full = kept[:, -1] < codes.shape[1]
        self._teach(rules, keys, codes, ranked, kept)
        decided = self._collect(union, codes, pairs, of_image, kept)
        settled = (full | ~more).view(len(rules), len(images)).tolist()
        for rule, row in zip(rules, settled, strict=True):
            for image, certain in zip(images, row, strict=True):
                detections = next(decided)
                if certain:
                    found[image][rule] = detections
        return [[not certain for certain in row] for row in settled]

    def _teach(self, rules: list[Rule], keys: Tensor, codes: Tensor, ranked: Tensor, kept: Tensor) -> None:
        """Tell ``depth`` how many anchors and pairs came before the last detection, at most over the images."""
        last = torch.minimum(kept[:, -1], ranked.sum(1).sub_(1)).clamp_(min=0)
        reached = codes.gather(1, last.unsqueeze(1)).view(*keys.shape[:2], 1)
        anchors = (keys >= reached.clamp(min=0)).sum(2).amax(1)
        self.depth.learn(rules, anchors.tolist(), last.view(len(rules), -1).amax(1).tolist())

    def _cut(self, keys: Tensor) -> Tensor:
        """Return keys (R, B, N) with ``NOTHING`` for the anchors beyond the first ``nms_pre`` of their level."""
        limit, levels = self.settings.nms_pre, keys.split(self.outputs.level_sizes, dim=-1)
        return torch.cat([level if level.shape[-1] <= limit else _only_first(level, limit) for level in levels], -1)

    def _union(self, images: list[int], wanted: Tensor) -> "_Union":
        """Return what the outputs say about the ``wanted`` (B, N) anchors of the images."""
        counts = wanted.sum(1).tolist()
        which, anchor = wanted.nonzero(as_tuple=True)
        slot = (wanted.cumsum(1) - 1)[which, anchor]
        anchors = wanted.new_zeros((len(images), max(*counts, 1)), dtype=torch.long)
        anchors[which, slot] = anchor
        usable = torch.zeros_like(anchors, dtype=torch.bool)
        usable[which, slot] = True
        index = torch.tensor(images, device=wanted.device)
        boxes = torch.stack([self.outputs.boxes(image, row) for image, row in zip(images, anchors, strict=True)])
        if self.settings.min_bbox_size >= 0:
            usable &= ((boxes[..., 2:] - boxes[..., :2]) > self.settings.min_bbox_size).all(-1)
        scores = boxes.new_zeros(*anchors.shape, len(self.classes))
        scores[which, slot] = self.outputs.class_scores(index[which], anchor)
        return _Union(
            counts=counts,
            anchors=anchors,
            usable=usable.unsqueeze(1),
            boxes=boxes,
            scores=scores.transpose(1, 2).contiguous(),
            ious=self.ious[index.unsqueeze(1), anchors].unsqueeze(1),
        )

    def _collect(
        self, union: "_Union", codes: Tensor, pairs: Tensor, of_image: Tensor, kept: Tensor
    ) -> Iterator[InstanceData]:
        """Yield the detections of each ranking, given the places (G, cap) in it that are kept."""
        row, rank = (kept < codes.shape[1]).nonzero(as_tuple=True)
        place = kept[row, rank]
        pair, image = pairs[row, place], of_image[row]
        label, slot = pair // union.anchors.shape[1], pair % union.anchors.shape[1]
        fields = {
            "bboxes": union.boxes[image, slot],
            "labels": label,
            "scores": _decode(codes[row, place]),
            "cls_scores": union.scores[image, label, slot],
            "iou_preds": union.ious[image, 0, slot],
        }
        counts = row.bincount(minlength=len(kept)).tolist()
        for parts in zip(*(field.split(counts) for field in fields.values()), strict=True):
            yield _Detections(**dict(zip(fields, parts, strict=True)))


class _Detections(InstanceData):
    """InstanceData whose fields are known to be of one length: MMEngine's check of every assignment is left out."""

    __setattr__ = BaseDataElement.__setattr__


@dataclass(frozen=True)
class _Union:
    """What the outputs say about the U anchors that any rule looks at.

    Attributes:
        counts: How many of the U there are in each image; the others only fill up.
        anchors: (B, U), ascending.
        usable: (B, 1, U): real, and large enough.
        boxes: (B, U, 4).
        scores: (B, C, U).
        ious: (B, 1, U).
    """

    counts: list[int]
    anchors: Tensor
    usable: Tensor
    boxes: Tensor
    scores: Tensor
    ious: Tensor


def _front(keys: Tensor, num_anchors: list[int]) -> tuple[Tensor, Tensor]:
    """Return the last of each row's first ``num_anchors`` keys, (R, B, 1), and whether more follow, (R, B).

    Down to there, the pairs of these anchors are all the pairs there are. Where no more follow, that is down to 0.

    Args:
        keys: (R, B, N).
        num_anchors: R numbers.
    """
    first = keys.topk(min(max(num_anchors), keys.shape[-1])).values
    last = torch.tensor(num_anchors, device=keys.device).clamp_(max=first.shape[-1]).sub_(1)
    front = first.gather(2, last.view(-1, 1, 1).expand(-1, keys.shape[1], 1))
    more = ((keys >= 0) & (keys < front)).any(-1)
    return front * more.unsqueeze(-1), more


def _only_first(codes: Tensor, count: int) -> Tensor:
    """Return codes (..., N) with all but the ``count`` highest replaced by ``NOTHING``."""
    return codes.masked_fill(codes < codes.topk(count, sorted=False).values.amin(-1, keepdim=True), NOTHING)


def _encode(values: Tensor, positions: Tensor) -> Tensor:
    """Return one integer per confidence, in the order of the rule for ties: higher confidence, then lower position.

    The bits of non-negative floats are ordered as the floats are; they take the upper half, the position the lower.

    Args:
        values: Confidences, non-negative float32.
        positions: int64 in [0, 2^32), of the same shape or one that expands to it.
    """
    return values.contiguous().view(torch.int32).long().bitwise_left_shift_(32).add_(LOW - positions)


def _decode(codes: Tensor) -> Tensor:
    """Return the confidences that ``_encode`` was given."""
    return codes.bitwise_right_shift(32).int().view(torch.float32)
