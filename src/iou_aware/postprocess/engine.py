"""Every rule's detections from one set of predictions, equal to the last bit to those of ``reference``.

What makes it fast, and why it stays exact:

- An anchor's best class does not depend on the rule: every rule's confidence rises with p, and the IoU is one per
  anchor. So anchors are ranked by one score each, and the other classes are looked at only where they can matter.
- The detections of an image are decided by the front of its ranking: greedy NMS never looks back, so once the cap is
  reached, nothing further down matters. Only the first ``prefix`` (anchor, class) pairs are ranked and compared, which
  belong to the first ``prefix`` anchors; a ranking that runs out before its cap is full is made anew, deeper.
- One integer holds a confidence and, below it, the position: its order is the order of ``reference``, ties included,
  whatever the sorting algorithm.
- Boxes do not depend on the rule: those that any rule looks at are decoded once.
- Everything wide is done for all rules and images together, on whatever device the outputs are. Suppression, which is
  sequential by nature, runs on the host after one transfer for all of them.

A row, below, is one image under one rule: row ``r * B + b`` is image b under rule r.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from iou_aware.confidence import Rule, confidence, confidences
from iou_aware.postprocess.boxes import nearest_iou
from iou_aware.postprocess.nms import suppress
from iou_aware.postprocess.outputs import DenseOutputs
from iou_aware.postprocess.settings import Settings

PREFIX = 512
GROWTH = 4
LOW = (1 << 32) - 1


def sweep(
    outputs: DenseOutputs, rules: Sequence[Rule], settings: Settings, gt_bboxes: Sequence[Tensor] | None = None
) -> list[dict[str, InstanceData]]:
    """Return each image's detections under every rule.

    Args:
        outputs: The head's predictions for a batch of B images.
        rules: R confidence rules.
        settings: The numbers of the selection.
        gt_bboxes: Per image, ground-truth boxes (G, 4) in the pixels of the result; needed by ``oracle`` only.

    Returns:
        Per image a dict from the rule's text to ``bboxes`` (n, 4), ``labels``, ``scores``, ``cls_scores`` and
        ``iou_preds`` (n,) in descending confidence, n <= ``max_per_img``.
    """
    engine = _Engine(outputs, rules, settings, gt_bboxes)
    results = engine.run()
    names = [str(rule) for rule in rules]
    images = range(outputs.num_images)
    return [dict(zip(names, results[image :: outputs.num_images], strict=True)) for image in images]


@dataclass(frozen=True)
class _Ranking:
    """The first K (anchor, class) pairs of G rows, best first, on the device of the outputs.

    Attributes:
        rules: Which rule each row is about, (G,).
        images: Which image, (G,).
        confidences: (G, K), descending.
        anchors: (G, K).
        labels: (G, K).
        complete: Whether there are no further pairs.
    """

    rules: Tensor
    images: Tensor
    confidences: Tensor
    anchors: Tensor
    labels: Tensor
    complete: bool


class _Engine:
    """One sweep over one batch."""

    def __init__(
        self, outputs: DenseOutputs, rules: Sequence[Rule], settings: Settings, gt_bboxes: Sequence[Tensor] | None
    ) -> None:
        self.outputs, self.rules, self.settings = outputs, rules, settings
        self.limit = settings.nms_pre if settings.nms_pre > 0 else outputs.num_anchors
        self.device = outputs.best_scores.device
        self.classes = torch.arange(outputs.num_classes, device=self.device)
        # The predicted IoUs, and the true ones where a rule asks for them: (1 or 2, B, N).
        self.ious = outputs.iou_preds.unsqueeze(0)
        self.is_oracle = torch.tensor([rule.kind == "oracle" for rule in rules], device=self.device).long()
        best = confidences(outputs.best_scores, outputs.iou_preds, rules)
        if gt_bboxes is not None and any(rule.kind == "oracle" for rule in rules):
            self.ious = torch.stack([outputs.iou_preds, _true_ious(outputs, gt_bboxes)])
            for place, rule in enumerate(rules):
                if rule.kind == "oracle":
                    best[place] = confidence(outputs.best_scores, self.ious[1], rule)
        anchors = torch.arange(outputs.num_anchors, device=self.device)
        self.keys = torch.cat([_encode(scores, anchors) for scores in best])

    def run(self) -> list[InstanceData]:
        """Return the detections of every row."""
        results: list[InstanceData | None] = [None] * len(self.keys)
        rows, prefix = torch.arange(len(self.keys)), PREFIX
        while len(rows):
            ranking = self._rank(rows, prefix)
            ranked = ranking.confidences > self.settings.score_thr
            boxes = self._boxes(ranking, ranked)
            large = ranked & self._large(boxes)
            kept = suppress(boxes.cpu(), ranking.labels.cpu(), large.cpu(), self.settings)
            settled = (kept.sum(1) == self.settings.max_per_img) | ~ranked[:, -1].cpu() | ranking.complete
            detections = self._detections(ranking, boxes, kept[settled], settled)
            for row, found in zip(rows[settled].tolist(), detections, strict=True):
                results[row] = found
            rows, prefix = rows[~settled], prefix * GROWTH
        return results

    def _rank(self, rows: Tensor, prefix: int) -> _Ranking:
        """Return the first ``prefix`` pairs of each of the ascending ``rows``."""
        every_row = len(rows) == len(self.keys)
        anchors = self._top_anchors(self.keys if every_row else self.keys[rows.to(self.device)], prefix)
        rules, images = rows // self.outputs.num_images, rows % self.outputs.num_images
        counts = rules.bincount(minlength=len(self.rules)).tolist()
        rules, images = rules.to(self.device), images.to(self.device)
        scores = self.outputs.class_scores(images.view(-1, 1, 1), anchors.unsqueeze(-1), self.classes)
        ious = self._ious(rules, images, anchors).unsqueeze(-1)
        parts = zip(scores.split(counts), ious.split(counts), self.rules, strict=True)
        found = torch.cat([confidence(score, iou, rule) for score, iou, rule in parts])
        pairs = anchors.unsqueeze(-1) * len(self.classes) + self.classes
        codes = _encode(found, pairs).flatten(1)
        complete = anchors.shape[1] == self._num_limited() and codes.shape[1] <= prefix
        values, pairs = _decode(codes.topk(min(prefix, codes.shape[1])).values)
        return _Ranking(rules, images, values, pairs // len(self.classes), pairs % len(self.classes), complete)

    def _top_anchors(self, keys: Tensor, prefix: int) -> Tensor:
        """Return the first ``prefix`` anchors (G, K), in no order, of rows of keys (G, N) after each level's cut."""
        limit = min(self.limit, prefix)
        levels = keys.split(self.outputs.level_sizes, dim=1)
        kept = [level if level.shape[1] <= limit else level.topk(limit, sorted=False).values for level in levels]
        keys = torch.cat(kept, dim=1)
        return _decode(keys if keys.shape[1] <= prefix else keys.topk(prefix, sorted=False).values)[1]

    def _num_limited(self) -> int:
        return sum(min(self.limit, size) for size in self.outputs.level_sizes)

    def _ious(self, rules: Tensor, images: Tensor, anchors: Tensor) -> Tensor:
        """Return the IoUs (G, K) that rules (G,) take for anchors (G, K) of images (G,)."""
        return self.ious[self.is_oracle[rules].unsqueeze(-1), images.unsqueeze(-1), anchors]

    def _boxes(self, ranking: _Ranking, ranked: Tensor) -> Tensor:
        """Return the boxes (G, K, 4) of a ranking where ``ranked`` (G, K); elsewhere they are arbitrary.

        Each anchor of an image is decoded once, however many rows and classes rank it.
        """
        places = ranking.images.unsqueeze(-1) * self.outputs.num_anchors + ranking.anchors
        wanted = torch.zeros(self.outputs.num_images * self.outputs.num_anchors, dtype=torch.bool, device=self.device)
        wanted[places[ranked]] = True
        by_image = wanted.view(self.outputs.num_images, -1)
        boxes = [self.outputs.boxes(image, anchors.nonzero().squeeze(1)) for image, anchors in enumerate(by_image)]
        slots = wanted.cumsum(0) - 1
        return torch.cat([*boxes, boxes[0].new_zeros(1, 4)])[slots[places]]

    def _large(self, boxes: Tensor) -> Tensor:
        """Return which boxes (..., 4) are large enough."""
        if self.settings.min_bbox_size < 0:
            return torch.ones_like(boxes[..., 0], dtype=torch.bool)
        return ((boxes[..., 2:] - boxes[..., :2]) > self.settings.min_bbox_size).all(-1)

    def _detections(self, ranking: _Ranking, boxes: Tensor, kept: Tensor, settled: Tensor) -> list[InstanceData]:
        """Return the detections of the ``settled`` (G,) rows, of which ``kept`` (S, K) says the pairs."""
        counts = kept.sum(1).tolist()
        row, place = kept.nonzero(as_tuple=True)
        row = settled.nonzero().squeeze(1)[row].to(self.device)
        place = place.to(self.device)
        rules, images, anchors, labels = (
            ranking.rules[row],
            ranking.images[row],
            ranking.anchors[row, place],
            ranking.labels[row, place],
        )
        fields = {
            "bboxes": boxes[row, place],
            "labels": labels,
            "scores": ranking.confidences[row, place],
            "cls_scores": self.outputs.class_scores(images, anchors, labels),
            "iou_preds": self.ious[self.is_oracle[rules], images, anchors],
        }
        parts = zip(*(field.split(counts) for field in fields.values()), strict=True)
        return [InstanceData(**dict(zip(fields, part, strict=True))) for part in parts]


def _true_ious(outputs: DenseOutputs, gt_bboxes: Sequence[Tensor]) -> Tensor:
    """Return the IoU of every anchor's box with its nearest ground truth, (B, N)."""
    every = torch.arange(outputs.num_anchors, device=outputs.best_scores.device)
    return torch.stack([nearest_iou(outputs.boxes(image, every), truth) for image, truth in enumerate(gt_bboxes)])


def _encode(confidences_: Tensor, positions: Tensor) -> Tensor:
    """Return one integer per confidence, in the order of the rule for ties: higher confidence, then lower position.

    The bits of non-negative floats are ordered as the floats are; they take the upper half, the position the lower.

    Args:
        confidences_: Non-negative float32.
        positions: int64 in [0, 2^32), of the same or an expandable shape.
    """
    return (confidences_.contiguous().view(torch.int32).long() << 32) + (LOW - positions)


def _decode(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the confidences and the positions that ``_encode`` was given."""
    return (codes >> 32).int().view(torch.float32), LOW - (codes & LOW)
