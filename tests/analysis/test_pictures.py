"""Which images a comparison draws, and which detection represents an object on them."""

import numpy as np
import pytest

from iou_aware.analysis.compare.pictures import chosen, representatives
from iou_aware.data.annotations import Annotations


def truth_of(boxes, images, crowd=None) -> Annotations:
    count = len(boxes)
    return Annotations(
        file_names={image: f"{image}.jpg" for image in images},
        classes={1: "disc"},
        ids=np.arange(1, count + 1),
        boxes=np.array(boxes, dtype=float),
        image_ids=np.array(images),
        category_ids=np.ones(count, dtype=int),
        crowd=np.array(crowd or [False] * count),
        source_images={},
        source_categories={},
    )


def test_the_most_confident_box_represents_an_object_even_if_another_fits_better():
    truth = truth_of([[0, 0, 10, 10], [50, 50, 10, 10], [80, 80, 10, 10]], [1, 1, 1], [False, False, True])
    boxes = [
        [1, 0, 0, 10, 8, 0.9, 1],  # IoU 0.8
        [1, 0, 0, 10, 10, 0.5, 1],  # perfect, less confident
        [1, 0, 0, 10, 10, 0.99, 2],  # of another class
        [1, 50, 50, 10, 4, 0.95, 1],  # overlaps by less than half
        [1, 80, 80, 10, 10, 0.9, 1],  # in a crowd
    ]
    rows, ious = representatives(truth, np.array(boxes, dtype=float))
    assert rows.tolist() == [0, -1, -1]
    assert ious == pytest.approx([0.8, 0, 0])


def test_images_that_gained_most_come_first_and_then_those_that_lost_most():
    change = {1: 0.1, 2: 0.3, 3: 0.0, 4: -0.2, 5: -0.4, 6: 0.3, 7: 0.2}
    assert chosen(change, 3) == [2, 6, 7, 5, 4]
    assert chosen({}, 3) == []
