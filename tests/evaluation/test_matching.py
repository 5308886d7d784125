"""What detections match and overlap: against every pair of boxes by hand, and boxes whose answer is plain."""

import numpy as np
import pytest
from builders.detections import iou, noisy, scene, write_truth

from iou_aware.data.annotations import Annotations
from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.matching import match, overlaps, paired_iou


def test_overlaps_are_those_of_every_pair(tmp_path):
    path = tmp_path / "truth.json"
    content = scene(path, 3)
    found = noisy(content, 7)
    truth = Annotations.load(path)
    near = overlaps(truth, found)
    for index, row in enumerate(found):
        objects = [a for a in content["annotations"] if a["image_id"] == row[0] and not a["iscrowd"]]
        of_class = [iou(row[1:5], a["bbox"]) for a in objects if a["category_id"] == row[6]]
        assert near.any[index] == pytest.approx(max((iou(row[1:5], a["bbox"]) for a in objects), default=0.0))
        assert near.same[index] == pytest.approx(max(of_class, default=0.0))


def test_box_inside_a_crowd_is_neither_right_nor_wrong(tmp_path):
    path = write_truth(tmp_path / "truth.json", [(1, 1, 0, 0, 100, 100, 1)], images=[1, 2], categories=[1, 2])
    boxes = [[1, 10, 10, 20, 20, 0.9, 1], [1, 10, 10, 20, 20, 0.9, 2], [1, 90, 90, 40, 40, 0.9, 1]]
    boxes.append([1, 90, 10, 20, 20, 0.9, 1])  # half of it
    boxes.append([2, 10, 10, 20, 20, 0.9, 1])  # on an image without objects
    near = overlaps(Annotations.load(path), np.array(boxes, dtype=float))
    assert near.crowd.tolist() == [True, False, False, True, False]
    assert not near.same.any()


def test_paired_iou_of_boxes_apart_touching_and_equal():
    first = np.array([[0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 0, 0], [0, 0, 0.5, 0.5]], dtype=float)
    second = np.array([[5, 5, 1, 1], [1, 0, 2, 2], [0, 0, 2, 2], [0, 0, 0, 0], [0, 0, 0.5, 0.5]], dtype=float)
    assert paired_iou(first, second) == pytest.approx([0, 1 / 3, 1, 0, 1])


@pytest.mark.parametrize(("before", "counts"), [(99, True), (100, False)])
def test_the_best_hundred_of_an_image_and_class_count(tmp_path, before, counts):
    path = write_truth(tmp_path / "truth.json", [(1, 1, 50, 50, 60, 70, 0)])
    rows = [[1, 0, 0, 0.1, 0.1, 0.9, 1]] * before + [[1, 50, 50, 60, 70, 0.5, 1]]
    matches = match(CocoEvaluator(path), np.array(rows, dtype=float))
    assert (len(matches.images), matches.true[0].any()) == (100, counts)
