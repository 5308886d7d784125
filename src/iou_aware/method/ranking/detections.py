"""The detections of a batch under every rule: columns for what takes them all, and a view by image and rule."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from mmengine.structures import InstanceData
from torch import Tensor

FIELDS = ("bboxes", "labels", "scores", "cls_scores", "iou_preds")


class BatchDetections(Sequence[dict[str, InstanceData]]):
    """D detections of B images under R rules: by image, then by rule, then in descending confidence.

    As a sequence, per image a dict from the rule's text to its detections; they are taken apart when first asked for.

    Attributes:
        columns: ``bboxes`` (D, 4), ``labels``, ``scores``, and where IoUs are predicted ``cls_scores`` and
            ``iou_preds`` (D,).
        groups: Whose each detection is, (D,): place of the image * R + place of the rule.
    """

    def __init__(self, num_images: int, rules: Sequence[str], columns: Mapping[str, Tensor], groups: Tensor) -> None:
        self.num_images, self.rules, self.columns, self.groups = num_images, list(rules), dict(columns), groups

    @classmethod
    def of(cls, images: Sequence[InstanceData], rule: str) -> "BatchDetections":
        """Return the same of what MMDetection returns per image, which ranks by one rule."""
        columns = {name: torch.cat([image[name] for image in images]) for name in FIELDS if name in images[0]}
        sizes = torch.tensor([len(image) for image in images], device=columns["scores"].device)
        groups = torch.arange(len(images), device=sizes.device).repeat_interleave(sizes)
        return cls(len(images), [rule], columns, groups)

    def __len__(self) -> int:
        """Return B."""
        return self.num_images

    def __getitem__(self, image: int) -> dict[str, InstanceData]:
        """Return an image's detections under each rule."""
        return self._by_image[image]

    @cached_property
    def _by_image(self) -> list[dict[str, InstanceData]]:
        counts = self.groups.bincount(minlength=self.num_images * len(self.rules)).tolist()
        parts = zip(*(column.split(counts) for column in self.columns.values()), strict=True)
        every = [InstanceData(**dict(zip(self.columns, part, strict=True))) for part in parts]
        width = len(self.rules)
        return [dict(zip(self.rules, every[at : at + width], strict=True)) for at in range(0, len(every), width)]
