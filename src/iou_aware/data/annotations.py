"""Reading the annotations of a prepared split: the one place that opens them, but for the libraries that must."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from iou_aware.common.messages import InputError


@dataclass(frozen=True)
class Annotations:
    """The annotations of a prepared split, of I images, G boxes and K classes.

    Attributes:
        file_names: Path below the split's folder of images, by image id, in the file's order.
        classes: Class name by category id, in order.
        ids: ``(G,)``.
        boxes: ``(G, 4)`` float64: x, y, width, height.
        image_ids: ``(G,)`` the image of each box.
        category_ids: ``(G,)`` the class of each box.
        crowd: ``(G,)`` bool, groups that are not told apart (in VOC: difficult objects).
        source_images: What the user's file calls each image, by image id.
        source_categories: What the user's file calls each class, by category id.
    """

    file_names: dict[int, str]
    classes: dict[int, str]
    ids: np.ndarray
    boxes: np.ndarray
    image_ids: np.ndarray
    category_ids: np.ndarray
    crowd: np.ndarray
    source_images: dict[int, int | str]
    source_categories: dict[int, int | str]

    @cached_property
    def of_image(self) -> dict[int, np.ndarray]:
        """The indices of an image's boxes, by image id."""
        order = np.argsort(self.image_ids, kind="stable")
        ids, starts = np.unique(self.image_ids[order], return_index=True)
        parts = np.split(order, starts[1:]) if len(order) else []
        empty = np.zeros(0, dtype=np.int64)
        return dict.fromkeys(self.file_names, empty) | dict(zip(ids.tolist(), parts, strict=True))

    @classmethod
    def load(cls, path: Path) -> "Annotations":
        """Read a canonical annotation file; of another COCO instances file, what the evaluation needs will do.

        Raises:
            InputError: It is missing or is none.
        """
        try:
            content = json.loads(path.read_bytes())
            images, boxes, classes = content["images"], content["annotations"], content["categories"]
            return cls(
                file_names={image["id"]: image.get("file_name", "") for image in images},
                classes={entry["id"]: entry.get("name", "") for entry in classes},
                ids=np.array([box.get("id", 0) for box in boxes], dtype=np.int64),
                boxes=np.array([box["bbox"] for box in boxes], dtype=np.float64).reshape(-1, 4),
                image_ids=np.array([box["image_id"] for box in boxes], dtype=np.int64),
                category_ids=np.array([box["category_id"] for box in boxes], dtype=np.int64),
                crowd=np.array([box.get("iscrowd", 0) for box in boxes], dtype=bool),
                source_images={image["id"]: image.get("source_id", image["id"]) for image in images},
                source_categories={entry["id"]: entry.get("source_id", entry["id"]) for entry in classes},
            )
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise InputError(
                f"{path}: expected COCO's annotations of objects ({fault!r}). If it is of a prepared dataset, run"
                " `iou-aware prepare` again."
            ) from fault
