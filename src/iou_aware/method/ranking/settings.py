"""The numbers that decide which candidates become detections."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iou_aware.common.messages import InputError


@dataclass(frozen=True)
class Settings:
    """Post-processing settings, as in the ``test_cfg`` of a config.

    Attributes:
        nms_pre: How many anchors of a level go on; below 1, all.
        score_thr: Confidences must exceed it.
        iou_threshold: A box is suppressed by a better one of its class if their IoU exceeds it.
        max_per_img: The cap: how many detections of an image remain.
        min_bbox_size: Boxes must exceed it in width and in height, pixels; negative: no such condition.
    """

    nms_pre: int = 1000
    score_thr: float = 0.05
    iou_threshold: float = 0.5
    max_per_img: int = 100
    min_bbox_size: float = -1

    @classmethod
    def from_config(cls, test_cfg: Mapping[str, Any]) -> "Settings":
        """Return the settings of a head's ``test_cfg``.

        Raises:
            InputError: If the cap is below 1, the IoU threshold outside [0, 1], or the NMS not the plain per-class one.
        """
        nms = dict(test_cfg.get("nms") or {})
        threshold = nms.pop("iou_threshold", None)
        if nms.pop("type", "nms") != "nms" or nms or threshold is None:
            expected = "dict(type='nms', iou_threshold=...)"
            raise InputError(f"test_cfg.nms: found {test_cfg.get('nms')!r}, expected {expected}")
        if not 0 <= threshold <= 1:
            raise InputError(f"test_cfg.nms.iou_threshold: found {threshold!r}, expected a number in [0, 1]")
        if test_cfg.get("max_per_img", 100) < 1:
            raise InputError(f"test_cfg.max_per_img: found {test_cfg['max_per_img']!r}, expected at least 1")
        given = {key: test_cfg[key] for key in cls.__dataclass_fields__ if key in test_cfg}
        return cls(**given | {"iou_threshold": threshold})
