"""Every rule's detections from one set of predictions, equal to the last bit to those of ``tests/method/reference.py``.

What makes it fast, and why it stays exact:

- An anchor's best class does not depend on the rule: every rule's confidence rises with p, and the IoU is one per
  anchor. So anchors are ranked by one score each, and their other classes are looked at only where they can matter.
- An image's detections are decided by the front of its ranking: greedy NMS never looks back, so once the cap is
  reached, nothing further down matters. Only the first anchors and, of them, the first (anchor, class) pairs are ranked
  and compared. Where they do not fill the cap, the work is done again, deeper. How deep to look at first is learnt from
  the batches before: a guess that decides how much is done, never what comes out.
- One integer holds a confidence and, below it, the position: its order is the order of the reference, ties included,
  whatever the sorting algorithm.
- Boxes, and so their overlaps, do not depend on the rule: the union of the anchors that any rule looks at is decoded
  and compared once.
- All rules and images take each step together, on whatever device the outputs are, and their detections leave as
  columns: nothing is made for each image and rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from iou_aware.method.confidence import Rule, confidences
from iou_aware.method.ranking.detections import BatchDetections
from iou_aware.method.ranking.nms import suppress, survivors_of
from iou_aware.method.ranking.outputs import DenseOutputs, nearest_iou
from iou_aware.method.ranking.settings import Settings

LOW = (1 << 32) - 1
NOTHING, HIGHEST = -1, (1 << 63) - 1  # codes that no pair has: below all others and above
MOST_KEYS = 1 << 24  # rules are taken together as long as their anchors' codes, of all images, are no more than this
DONE = -1  # in place of a group
FIRST_ANCHORS, FIRST_PAIRS = 512, 1536  # how deep to look while nothing has been learnt
STEP = 8
Columns = tuple[dict[str, Tensor], Tensor]  # as in ``BatchDetections``: columns and groups


class Depth:
    """How far down its ranking each rule has to look before the cap is full: a guess, learnt from the batches so far.

    Looking too shallow costs a second look, looking too deep the comparison of boxes that nobody asks for; the
    detections are the same. So a guess follows the deepest image of a batch upwards at once, downwards slowly. Anchors
    are guessed in steps, so that most rules guess the same and are ranked together.
    """

    def __init__(self) -> None:
        self._needed: dict[Rule, tuple[int, int]] = {}

    def guess(self, rules: Sequence[Rule], factor: int) -> tuple[list[int], int]:
        """Return how many anchors each rule should look at, and how many (anchor, class) pairs all of them."""
        needed = [self._needed.get(rule, (FIRST_ANCHORS, FIRST_PAIRS)) for rule in rules]
        anchors = [-(-count // STEP) * STEP * factor for count, _ in needed]
        return anchors, max(count for _, count in needed) * factor

    def learn(self, rules: Sequence[Rule], anchors: Sequence[int], pairs: Sequence[int]) -> None:
        """Take note of how many anchors and pairs each rule's deepest image of a batch needed."""
        for rule, *seen in zip(rules, anchors, pairs, strict=True):
            now = [number + number // 32 + 4 for number in seen]
            before = self._needed.get(rule, now)
            self._needed[rule] = tuple(max(new, (15 * old + new) // 16) for new, old in zip(now, before, strict=True))


def sweep(
    outputs: DenseOutputs,
    rules: Sequence[Rule],
    settings: Settings,
    gt_bboxes: Sequence[Tensor] | None,
    depth: Depth,
) -> BatchDetections:
    """Return each image's detections under every rule.

    Args:
        outputs: The head's predictions for a batch of B images.
        rules: R confidence rules.
        settings: The numbers of the selection.
        gt_bboxes: Per image, ground-truth boxes (G, 4) in the pixels of the result; None unless a rule is ``oracle``.
        depth: What earlier batches taught about how deep to look; taught by this one in turn.

    Returns:
        ``bboxes`` (n, 4), ``labels``, ``scores``, ``cls_scores`` and ``iou_preds`` (n,) of each image and rule, in
        descending confidence, n <= ``max_per_img``.
    """
    places = range(len(rules))
    tables = [(outputs.iou_preds, [place for place in places if rules[place].kind != "oracle"])]
    if oracles := [place for place in places if rules[place].kind == "oracle"]:
        tables.append((true_ious(outputs, gt_bboxes), oracles))
    together = max(MOST_KEYS // (outputs.num_images * outputs.num_anchors), 1)
    pieces: list[Columns] = []
    for ious, sharing in tables:
        for start in range(0, len(sharing), together):
            some = sharing[start : start + together]
            pieces += _Sweep(outputs, ious, [rules[place] for place in some], settings, depth).run(some, len(rules))
    return BatchDetections(outputs.num_images, rules, *_joined(pieces))


def true_ious(outputs: DenseOutputs, gt_bboxes: Sequence[Tensor]) -> Tensor:
    """Return the IoU of every anchor's box with its nearest ground truth, (B, N)."""
    every = torch.arange(outputs.num_anchors, device=outputs.iou_preds.device).unsqueeze(0)
    return torch.stack([nearest_iou(outputs.boxes([image], every)[0], truth) for image, truth in enumerate(gt_bboxes)])


def _joined(pieces: list[Columns]) -> Columns:
    """Return pieces as one, in the order of their groups."""
    if len(pieces) == 1:
        return pieces[0]
    parts, groups = zip(*pieces, strict=True)
    groups, order = torch.cat(groups).sort(stable=True)
    return {name: torch.cat([part[name] for part in parts])[order] for name in parts[0]}, groups


class _Sweep:
    """The sweep of a batch of B images, N anchors and C classes under R rules that share one table of IoUs (B, N)."""

    def __init__(
        self, outputs: DenseOutputs, ious: Tensor, rules: Sequence[Rule], settings: Settings, depth: Depth
    ) -> None:
        self.outputs, self.ious, self.rules, self.settings, self.depth = outputs, ious, rules, settings, depth
        self.classes = torch.arange(outputs.num_classes, device=ious.device)
        # Anchors are ranked by their best class, as codes (R, B, N) with the position of the anchor's first class: none
        # of its pairs comes before. Candidates have a higher code than the bottom.
        first = torch.arange(outputs.num_anchors, device=ious.device) * outputs.num_classes
        self.keys = _encode(confidences(outputs.best_scores, ious, self.rules), first)
        self.bottom = _bottom(settings.score_thr)

    def run(self, numbers: Sequence[int], num_rules: int) -> list[Columns]:
        """Return the detections, in pieces of whole groups.

        Args:
            numbers: The places of the R rules among all.
            num_rules: How many these are.
        """
        pieces: list[Columns] = []
        groups = torch.arange(self.outputs.num_images) * num_rules + torch.tensor(numbers).unsqueeze(1)
        factor = 1
        while (groups >= 0).any():
            rules, images = (groups >= 0).any(1).nonzero().flatten(), (groups >= 0).any(0).nonzero().flatten()
            here = groups[rules][:, images]
            columns, settled = self._detect(rules.tolist(), images.tolist(), factor, here)
            pieces.append(columns)
            groups[rules.unsqueeze(1), images] = here.masked_fill(settled, DONE)
            factor *= 2
        return pieces

    def _detect(self, places: list[int], images: list[int], factor: int, groups: Tensor) -> tuple[Columns, Tensor]:
        """Return the detections that the front of the rankings decides, and for which rules and images it does.

        Args:
            places: Which rules.
            images: Which images.
            factor: How many times deeper than guessed to look.
            groups: What stands for each rule and image in the result; ``DONE`` where it is decided already.
        """
        rules, keys = [self.rules[place] for place in places], self.keys
        if len(places) < len(self.rules) or len(images) < self.outputs.num_images:
            keys = keys[places][:, images]
        num_anchors, num_pairs = self.depth.guess(rules, factor)
        if 0 < self.settings.nms_pre < max(num_anchors):
            keys = self._cut(keys)
        floor = self._floor(keys, num_anchors)
        union = self._union(images, (keys > floor).any(0))
        keys = keys.gather(2, union.anchors.expand(len(rules), -1, -1)).masked_fill_(~union.real, NOTHING)
        codes = _encode(
            confidences(union.scores, union.ious, rules),
            union.anchors.unsqueeze(1) * len(self.classes) + self.classes.unsqueeze(1),
        )
        lowest = floor.where((keys > floor) & union.usable, HIGHEST).unsqueeze(2)
        codes = codes.masked_fill_(codes <= lowest, NOTHING).flatten(2).flatten(0, 1)
        codes, pairs = codes.topk(min(num_pairs, codes.shape[1]))
        ranked = codes >= 0
        of_image = torch.arange(len(images), device=keys.device).repeat(len(rules))
        survivors = survivors_of(union.boxes, union.counts, self.settings.iou_threshold)
        kept = suppress(pairs, ranked, of_image, survivors, len(self.classes), self.settings.max_per_img)
        self._teach(rules, keys, codes, ranked, kept)
        more = (floor > self.bottom).flatten() | (ranked[:, -1] & (codes.shape[1] == num_pairs))
        settled = (kept[:, -1] < codes.shape[1]) | ~more
        groups = groups.to(keys.device)
        kept.masked_fill_((~settled | (groups.flatten() == DONE)).unsqueeze(1), codes.shape[1])
        return self._collect(union, codes, pairs, kept, groups), settled.view(groups.shape).cpu()

    def _teach(self, rules: list[Rule], keys: Tensor, codes: Tensor, ranked: Tensor, kept: Tensor) -> None:
        """Tell ``depth`` how many anchors and pairs came before the last detection, at most over the images."""
        last = torch.minimum(kept[:, -1], ranked.sum(1).sub_(1)).clamp_(min=0)
        reached = codes.gather(1, last.unsqueeze(1)).view(*keys.shape[:2], 1)
        anchors = (keys >= reached.clamp(min=self.bottom + 1)).sum(2).amax(1)
        self.depth.learn(rules, anchors.tolist(), last.view(len(rules), -1).amax(1).tolist())

    def _cut(self, keys: Tensor) -> Tensor:
        """Return keys (R, B, N) with ``NOTHING`` for the anchors beyond the first ``nms_pre`` of their level."""
        limit, levels = self.settings.nms_pre, keys.split(self.outputs.level_sizes, dim=-1)
        return torch.cat([level if level.shape[-1] <= limit else _only_first(level, limit) for level in levels], -1)

    def _floor(self, keys: Tensor, num_anchors: list[int]) -> Tensor:
        """Return the key of the first anchor that is not looked at, (R, B, 1); the bottom where all candidates are.

        Above it, the pairs of the anchors looked at are all the pairs there are.

        Args:
            keys: (R, B, N).
            num_anchors: R numbers.
        """
        floor = keys.new_full((*keys.shape[:2], 1), self.bottom)
        start = 0
        for count, alike in groupby(num_anchors):
            some = slice(start, start := start + len(list(alike)))
            if count < keys.shape[-1]:
                torch.amin(keys[some].topk(count + 1, sorted=False).values, -1, keepdim=True, out=floor[some])
        return floor.clamp_(min=self.bottom)

    def _union(self, images: list[int], wanted: Tensor) -> "_Union":
        """Return what the outputs say about the ``wanted`` (B, N) anchors of the images."""
        counts = wanted.sum(1).tolist()
        which, anchor = wanted.nonzero(as_tuple=True)
        slot = (wanted.cumsum(1) - 1)[which, anchor]
        anchors = wanted.new_zeros((len(images), max(*counts, 1)), dtype=torch.long)
        anchors[which, slot] = anchor
        real = torch.zeros_like(anchors, dtype=torch.bool)
        real[which, slot] = True
        boxes = self.outputs.boxes(images, anchors)
        usable = real
        if self.settings.min_bbox_size >= 0:
            usable = real & ((boxes[..., 2:] - boxes[..., :2]) > self.settings.min_bbox_size).all(-1)
        index = torch.tensor(images, device=wanted.device)
        scores = boxes.new_zeros(*anchors.shape, len(self.classes))
        scores[which, slot] = self.outputs.class_scores(index[which], anchor)
        return _Union(
            counts=counts,
            anchors=anchors,
            real=real,
            usable=usable,
            boxes=boxes,
            scores=scores.transpose(1, 2).contiguous(),
            ious=self.ious[index.unsqueeze(1), anchors].unsqueeze(1),
        )

    def _collect(self, union: "_Union", codes: Tensor, pairs: Tensor, kept: Tensor, groups: Tensor) -> Columns:
        """Return the detections at the places (R * B, cap) of the rankings that are kept, by group (R, B)."""
        by_image = torch.arange(len(kept), device=kept.device).view(groups.shape).T.flatten()
        number, rank = (kept[by_image] < codes.shape[1]).nonzero(as_tuple=True)
        row = by_image[number]
        place = kept[row, rank]
        pair, image = pairs[row, place], row % groups.shape[1]
        label, slot = pair.div(union.anchors.shape[1], rounding_mode="floor"), pair % union.anchors.shape[1]
        columns = {
            "bboxes": union.boxes[image, slot],
            "labels": label,
            "scores": _decode(codes[row, place]),
            "cls_scores": union.scores[image, label, slot],
            "iou_preds": union.ious[image, 0, slot],
        }
        return columns, groups.flatten()[row]


@dataclass(frozen=True)
class _Union:
    """What the outputs say about the U anchors that any rule looks at.

    Attributes:
        counts: How many of the U there are in each image; the others only fill up.
        anchors: (B, U), ascending.
        real: (B, U): not only filling up.
        usable: (B, U): real, and large enough.
        boxes: (B, U, 4).
        scores: (B, C, U).
        ious: (B, 1, U).
    """

    counts: list[int]
    anchors: Tensor
    real: Tensor
    usable: Tensor
    boxes: Tensor
    scores: Tensor
    ious: Tensor


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
    return torch.add(LOW - positions, values.view(torch.int32), alpha=1 << 32)


def _decode(codes: Tensor) -> Tensor:
    """Return the confidences that ``_encode`` was given."""
    return codes.bitwise_right_shift(32).int().view(torch.float32)


def _bottom(score_thr: float) -> int:
    """Return the highest code of a confidence that does not exceed the threshold, in single precision."""
    if score_thr < 0:
        return NOTHING
    return (int(np.float32(score_thr).view(np.int32)) << 32) + LOW
