"""Exported detections: pycocotools reads what was measured, under the ids of the user's own annotations."""

import numpy as np
import pytest
from builders.detections import noisy, write_dataset, write_detections
from builders.results import AWARE, experiment
from pycocotools.coco import COCO

from iou_aware import cli, detections
from iou_aware.common.messages import InputError
from iou_aware.evaluation.export import results
from iou_aware.experiment.experiment import Experiment

IMAGES, CATEGORIES = {10: 1 << 60, 20: "b"}, {1: 1, 3: 90}


@pytest.fixture
def study(tmp_path) -> Experiment:
    """A study whose dataset has a split without boxes, on which one run has been predicted by two rules."""
    study = experiment(tmp_path)
    truth = write_dataset(study, "hidden", labelled=False)
    write_detections(study, AWARE, "hidden", {"none": noisy(truth, 1), "alpha=0.50": noisy(truth, 2)})
    return study


def test_pycocotools_reads_the_detections_of_the_rule(study, tmp_path, monkeypatch):
    monkeypatch.setattr(detections, "ROWS_PER_GROUP", 50)
    path, out = (str(tmp_path / name) for name in ("configs/experiments/study.yaml", "results.json"))
    assert cli.main(["export", path, AWARE, "--split", "hidden", "--rule", "alpha=0.5", "--out", out]) == 0
    truth = COCO(study.paths.dataset_folder("shapes") / "hidden.json")
    loaded = truth.loadRes(out).dataset["annotations"]
    expected = detections.read(study.paths.detections(AWARE, "hidden"), "alpha=0.50")
    assert [one["image_id"] for one in loaded] == expected.image_ids.tolist()
    assert [one["category_id"] for one in loaded] == expected.category_ids.tolist()
    assert [one["score"] for one in loaded] == expected.confidences.astype(float).tolist()
    corners = np.array([one["bbox"] for one in loaded])
    corners[:, 2:] += corners[:, :2]
    np.testing.assert_allclose(corners, expected.boxes, rtol=1e-6)


@pytest.mark.parametrize(
    ("image", "category", "told"), [(20, 3, None), (11, 3, "found image_id 11"), (10, 2, "found category_id 2")]
)
def test_ids_are_those_of_the_user(image, category, told):
    scores = np.float32([0.25])
    corners = np.float32([[0.1, 0.2, 10.3, 20.7]])  # which are told apart from float64's
    found = detections.Detections(np.int64([image]), np.int32([category]), corners, scores, scores)
    if told:
        with pytest.raises(InputError, match=told):
            results(found, IMAGES, CATEGORIES)
        return
    left, top, right, bottom = map(float, corners[0])
    entry = {"image_id": "b", "category_id": 90, "bbox": [left, top, right - left, bottom - top], "score": 0.25}
    assert results(found, IMAGES, CATEGORIES) == [entry]
