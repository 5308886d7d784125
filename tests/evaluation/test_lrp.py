"""Optimal LRP and LaECE against their definitions, counted out by hand."""

import math

import numpy as np
import pytest
from builders.detections import CLASSES, iou, noisy, scene, write_truth

from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.lrp import ERRORS, errors
from iou_aware.evaluation.matching import match

HALF = np.array([0.5])
ONE = [(1, 1, 0, 0, 10, 10, 0)]  # an object, 10 pixels wide and high


def measured(path, found):
    matches = match(CocoEvaluator(path), found, thresholds=HALF)
    return errors(matches), matches


def laece_by_hand(confidences, true, ious) -> float:
    """Return the sum over bins ((b - 1) / 25, b / 25] of share x |mean confidence - precision x mean IoU|, percent."""
    total = 0.0
    for number in range(1, 26):
        mine = [i for i, c in enumerate(confidences) if number == max(math.ceil(c * 25), 1)]
        if mine:
            right = [ious[i] for i in mine if true[i]]
            placed = len(right) / len(mine) * np.mean(right) if right else 0.0
            total += len(mine) / len(confidences) * abs(np.mean(confidences[mine]) - placed)
    return 100 * total


def test_laece_is_the_gap_of_every_bin(tmp_path):
    content = scene(tmp_path / "truth.json", 5)
    found = noisy(content, 2)
    found[:, 5] = np.round(np.random.default_rng(1).random(len(found)), 2)  # some on the edges of bins
    ours, matches = measured(tmp_path / "truth.json", found)
    values = []
    for k in {a["category_id"] - 1 for a in content["annotations"] if not a["iscrowd"]}:
        mine = (matches.classes == k) & ~matches.ignored[0]
        values.append(laece_by_hand(matches.confidences[mine], matches.true[0][mine], matches.ious[mine]))
    assert ours["laece"] == pytest.approx(np.mean(values))
    assert 0 < (matches.true[0].sum()) < len(found)


@pytest.mark.parametrize("objects", [[], ONE])
@pytest.mark.parametrize("boxes", [[], [[50, 50, 10, 10]], [[50, 50, 10, 10], [20, 20, 10, 10]]])
def test_an_object_that_nothing_finds_is_the_whole_error_and_without_objects_there_is_none(tmp_path, objects, boxes):
    """No threshold is better than the one that leaves every detection out: nothing is false there, or placed."""
    found = np.array([[1, *box, 0.9, 1] for box in boxes], dtype=float).reshape(-1, 7)
    ours, _ = measured(write_truth(tmp_path / "truth.json", objects), found)
    expected = [100, np.nan, np.nan, 100, 90 if boxes else np.nan] if objects else [np.nan] * 5
    assert [*ours.values()] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("scores", "laece"),
    [
        ((0.0, 0.0), 50.0),  # one box on the object and one beside it, in the first bin: precision 1/2, IoU 1
        ((1.0, 1.0), 50.0),
        ((0.04, 0.02), 47.0),  # the first bin ends at 0.04, which belongs to it
        ((0.041, 0.02), (95.9 + 2) / 2),  # apart: 1 - 0.041 of the true, 0.02 of the false
        ((0.96, 0.97), (4 + 97) / 2),
    ],
)
def test_laece_of_one_true_and_one_false_box(tmp_path, scores, laece):
    path = write_truth(tmp_path / "truth.json", ONE)
    found = np.array([[1, 0, 0, 10, 10, scores[0], 1], [1, 50, 50, 10, 10, scores[1], 1]])
    ours, _ = measured(path, found)
    assert ours["laece"] == pytest.approx(laece)
    assert ours["olrp"] == pytest.approx(0 if scores[0] > scores[1] else 50)


def lrp_by_hand(content, matches, k) -> tuple[float, ...]:
    """Return the least of LRP at every confidence of one class, and its parts, counted out."""
    positives = sum(a["category_id"] == k + 1 and not a["iscrowd"] for a in content["annotations"])
    mine = [i for i in np.flatnonzero(matches.classes == k) if not matches.ignored[0, i]]
    best = (1.0, None, None, 1.0)
    for threshold in {matches.confidences[i] for i in mine}:
        kept = [i for i in mine if matches.confidences[i] >= threshold]
        true = [i for i in kept if matches.true[0, i]]
        false, missed = len(kept) - len(true), positives - len(true)
        value = (sum((1 - v) / 0.5 for v in matches.ious[true]) + false + missed) / (len(true) + false + missed)
        if value < best[0]:
            best = (value, np.mean(1 - matches.ious[true]), false / len(kept), missed / positives)
    return best


def test_true_positives_have_the_iou_of_an_object_and_olrp_is_the_least_error_over_all_thresholds(tmp_path):
    path = tmp_path / "truth.json"
    content = scene(path, 3)
    found = noisy(content, 7)
    ours, matches = measured(path, found)
    for row, true, value in zip(found[matches.rows], matches.true[0], matches.ious, strict=True):
        objects = [a for a in content["annotations"] if (a["image_id"], a["category_id"]) == (row[0], row[6])]
        ious = [iou(row[1:5], a["bbox"]) for a in objects if not a["iscrowd"]]
        assert min(abs(np.array(ious) - value)) < 1e-9 and value >= 0.5 if true else np.isnan(value)
    present = sorted({a["category_id"] - 1 for a in content["annotations"] if not a["iscrowd"]})
    assert 0 < len(present) < CLASSES
    by_hand = np.array([lrp_by_hand(content, matches, k) for k in present], dtype=float)
    assert [ours[name] for name in ERRORS[:4]] == pytest.approx(list(100 * np.nanmean(by_hand, axis=0)))
