"""VOC2007's 11-point AP: hand-made cases, and MMDetection's eval_map as the independent implementation."""

from importlib import import_module
from multiprocessing.pool import ThreadPool

import numpy as np
import pytest
from builders.detections import CLASSES, noisy, results, scene, write_truth
from mmdet.evaluation.functional import eval_map

from iou_aware.data.annotations import Annotations
from iou_aware.evaluation import voc07
from iou_aware.evaluation.coco import THRESHOLDS

BOX = [0, 0, 100, 100]


def truth(folder, boxes, images=3, classes=2):
    """Return ground truth of (image, category, x, y, width, height, difficult) rows, with its classes."""
    ids = range(1, classes + 1)
    return Annotations.load(write_truth(folder / "truth.json", boxes, range(1, images + 1), ids)), list(ids)


def precisions(ground, rows):
    """Return ``(10, K)`` of (image, category, x1, y1, x2, y2, confidence) rows."""
    objects, classes = ground
    return voc07.average_precisions(objects, results(rows), classes)


# Of one class: objects (image, box, whether difficult), detections (image, box, confidence), and the AP by hand.
CASES = {
    "half of the objects are six of eleven recalls": ([(1, BOX, 0), (2, BOX, 0)], [(1, BOX, 0.9)], 6 / 11),
    # Both overlap the first object most, so that the second is not found; COCO's matching would give it away.
    "a duplicate beside a free object": (
        [(1, BOX, 0), (1, [0, 0, 100, 80], 0)],
        [(1, BOX, 0.9), (1, [0, 0, 100, 95], 0.8)],
        6 / 11,
    ),
    "of two equally near objects the one that is not difficult": ([(1, BOX, 1), (1, BOX, 0)], [(1, BOX, 0.9)], 1),
}


@pytest.mark.parametrize("case", CASES)
def test_cases_worked_out_by_hand(tmp_path, case):
    objects, found, expected = CASES[case]
    ground = truth(tmp_path, [(image, 1, *box, difficult) for image, box, difficult in objects], classes=1)
    rows = [(image, 1, *box, confidence) for image, box, confidence in found]
    assert precisions(ground, rows)[0].item() == pytest.approx(expected)


def test_no_detections_and_no_ground_truth(tmp_path):
    ground = truth(tmp_path, [(1, 1, *BOX, 0), (2, 2, *BOX, 1)], classes=3)
    values = precisions(ground, [])
    np.testing.assert_array_equal(values, [[0, np.nan, np.nan]] * 10)
    assert voc07.summarise(values)["VOC07_AP"] == 0


@pytest.mark.parametrize(("height", "reached"), [(50, 1), (72, 5), (100, 10)])
def test_a_box_counts_up_to_the_threshold_of_its_iou(tmp_path, height, reached):
    ground = truth(tmp_path, [(1, 1, *BOX, 0)], classes=1)
    metrics = voc07.summarise(precisions(ground, [(1, 1, 0, 0, 100, height, 0.9)]))
    assert list(metrics.values()) == pytest.approx([10 * reached] + [100] * reached + [0] * (10 - reached))
    empty = voc07.summarise(precisions(truth(tmp_path, []), [(1, 1, *BOX, 0.5)]))
    assert empty == dict.fromkeys(metrics)


@pytest.mark.parametrize("seed", range(4))
def test_equals_mmdet(tmp_path, monkeypatch, seed):
    # A pool of threads: processes forked from this one would have all that other tests left in it.
    monkeypatch.setattr(import_module("mmdet.evaluation.functional.mean_ap"), "Pool", ThreadPool)
    content, classes = scene(tmp_path / "truth.json", seed, images=25), range(1, CLASSES + 1)
    found = noisy(content, seed)
    found[:, 5] = np.random.default_rng(seed).permutation(len(found)) / len(found)  # MMDetection's order of ties varies
    ours = voc07.average_precisions(Annotations.load(tmp_path / "truth.json"), found, classes)

    # Image, category, corners, and whether difficult or the confidence.
    marked = np.array([[a["image_id"], a["category_id"], *a["bbox"], a["iscrowd"]] for a in content["annotations"]])
    detected = found[:, [0, 6, 1, 2, 3, 4, 5]]
    for rows in (marked, detected):
        rows[:, 4:6] += rows[:, 2:4]
    annotations, detections = [], []
    for image in (one["id"] for one in content["images"]):
        plain, difficult = (marked[(marked[:, 0] == image) & (marked[:, 6] == flag)] for flag in (0, 1))
        kinds = {"": plain, "_ignore": difficult}
        annotations.append({f"bboxes{kind}": rows[:, 2:6] for kind, rows in kinds.items()})
        annotations[-1] |= {f"labels{kind}": rows[:, 1].astype(int) - 1 for kind, rows in kinds.items()}
        detections.append([detected[(detected[:, :2] == (image, k)).all(1), 2:] for k in classes])
    for threshold, row in zip(THRESHOLDS, ours, strict=True):
        options = {"iou_thr": threshold, "eval_mode": "11points", "logger": "silent", "nproc": 1}
        mean, parts = eval_map(detections, annotations, **options)
        expected = [part["ap"].item() if part["num_gts"] else np.nan for part in parts]
        assert row == pytest.approx(expected, abs=1e-6, nan_ok=True)
        assert np.nanmean(row) == pytest.approx(mean, abs=1e-6)
