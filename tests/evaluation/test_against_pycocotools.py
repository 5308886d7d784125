"""COCO's AP: hotcoco against pycocotools to the last bit, and cases worked out by hand."""

import json

import numpy as np
import pytest
from builders.detections import noisy, official, renumbered, results, scene, write_truth

from iou_aware.data.annotations import Annotations
from iou_aware.evaluation import coco, voc07
from iou_aware.evaluation.matching import match_areas, overlaps

THRESHOLDS = [f"AP{percent}" for percent in range(50, 100, 5)]
ALL = ["AP", *THRESHOLDS, "APs", "APm", "APl"]


@pytest.fixture
def crowded(tmp_path):
    """40 images, classes with gaps in their ids (the last one without boxes), detections with ties.

    Of one class and image there are more than the hundred that count.
    """
    path, ids, random = tmp_path / "truth.json", [2, 5, 9], np.random.default_rng(7)
    content = scene(path, 7, images=40)
    path.write_text(json.dumps(renumbered(content, ids)))
    found = noisy(content, 7)
    found = np.concatenate([found, np.repeat(found[:1], 150, axis=0)])
    found[-150:, 1:3] += random.normal(0, 6, (150, 2))
    found[-150:, 5] = random.random(150).round(1)
    found[:, 6] = np.take([0, *ids], found[:, 6].astype(int))
    return path, found


def test_metrics_are_those_that_pycocotools_prints(crowded):
    annotations, found = crowded
    evaluation, curves = official(annotations, found), coco.CocoEvaluator(annotations).curves(found)
    assert all(np.array_equal(curves[part], evaluation.eval[part]) for part in ("precision", "recall"))
    assert (curves["precision"] > 0).any()
    metrics, classes = coco.summarise(curves), coco.summarise_classes(curves)
    named = {"AP": 0, "AP50": 1, "AP75": 2, "APs": 3, "APm": 4, "APl": 5, "AR100": 8}
    assert {name: metrics[name] for name in named} == {name: 100 * evaluation.stats[i] for name, i in named.items()}
    for index, name in enumerate(THRESHOLDS):
        precision = evaluation.eval["precision"][index, :, :, 0, 2]
        assert metrics[name] == 100 * precision[precision > -1].mean()
        assert np.mean([one[name] for one in classes[:-1]]) == pytest.approx(metrics[name])
    assert classes[-1] == dict.fromkeys(ALL)  # the last class has no object


@pytest.mark.parametrize("side", [0.75, 32, 96])
def test_an_object_and_a_wrong_detection_at_a_limit_of_areas_count_on_both_sides(tmp_path, side):
    """An object under a pixel is a small one."""
    path = write_truth(tmp_path / "truth.json", [(1, 1, 0, 0, side, side, 0)], images=[1, 2])
    found = results([(2, 1, 0, 0, side, side, 0.9), (1, 1, 0, 0, side, side, 0.5)])  # the second image has no object
    metrics, evaluator = coco.summarise(official(path, found).eval), coco.CocoEvaluator(path)
    assert coco.summarise(evaluator.curves(found)) == metrics
    for area, matches in match_areas(evaluator, found).items():
        counts, value = len(matches.object_images) > 0, metrics[f"AP{area.removeprefix('all')}"]
        assert counts == matches.true.any() == (value is not None)
        if counts:  # by hand: the object is found second, after a wrong detection that counts
            assert value == pytest.approx(50)
            assert not matches.ignored.any()


def test_detections_without_area_are_wrong_wherever_they_lie(tmp_path):
    annotations = write_truth(tmp_path / "truth.json", [(1, 1, 0, 0, 100, 100, 0), (1, 1, 0, 120, 100, 100, 1)])
    beside = [(50, 50, 50, 50), (10, 30, 90, 30), (100, 0, 100, 100), (50, 150, 50, 150), (320, 240, 320, 240)]
    found = results([*((1, 1, *corners, 0.9) for corners in beside), (1, 1, 0, 0, 100, 100, 0.5)])
    with np.errstate(all="raise"):
        metrics = coco.summarise(coco.CocoEvaluator(annotations).curves(found))
        near = overlaps(Annotations.load(annotations), found)
        eleven = voc07.average_precisions(Annotations.load(annotations), found, [1])
    assert [metrics[name] for name in THRESHOLDS] == pytest.approx([100 / 6] * 10)
    assert eleven == pytest.approx(np.full((10, 1), 1 / 6))
    assert near.same.tolist() == near.any.tolist() == [0, 0, 0, 0, 0, 1]
    assert not near.crowd.any()
