"""Exported detections: pycocotools reads what was found, and an archive appears only as COCO's server took it."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from builders.detections import noisy, write_dataset, write_detections
from builders.results import experiment
from pycocotools.coco import COCO

from iou_aware import cli, detections
from iou_aware.common.errors import InputError
from iou_aware.detections import Detections
from iou_aware.evaluation.export import export, write_archive
from iou_aware.experiment.experiment import Experiment

AWARE = "shapes.iou_aware_retinanet.tiny.bce.quick.72x72.seed0"
NAME = "detections_hidden2017_my-model_results"
IMAGES, CATEGORIES = {10: 1 << 60, 20: "b", 30: 30}, {1: 1, 3: 90}


def found(*images: int) -> Detections:
    boxes = np.tile(np.float32([0.5, 1, 20.75, 8]), (len(images), 1))
    scores = np.full(len(images), 0.25, np.float32)
    return Detections(np.int64(images), np.full(len(images), 3, np.int32), boxes, scores, scores)


@pytest.fixture
def study(tmp_path) -> Experiment:
    """A study whose dataset has a split without boxes, on which one run has been predicted by two rules."""
    study = experiment(tmp_path)
    truth = write_dataset(study, "shapes", "hidden", labelled=False)
    write_detections(study, AWARE, "hidden", {"none": noisy(truth, 1), "alpha=0.50": noisy(truth, 2)})
    return study


def test_pycocotools_reads_the_detections_of_the_rule_from_both(study, tmp_path, monkeypatch):
    monkeypatch.setattr(detections, "ROWS_PER_GROUP", 50)
    export(study, AWARE, "hidden", "alpha=0.5", tmp_path / "results.json")
    export(study, AWARE, "hidden", "alpha=0.5", tmp_path / f"{NAME}.zip")
    with zipfile.ZipFile(tmp_path / f"{NAME}.zip") as archive:
        assert archive.namelist() == [f"{NAME}.json"]
        assert archive.read(f"{NAME}.json") == (tmp_path / "results.json").read_bytes()
    truth = COCO(study.paths.dataset_folder("shapes") / "hidden.json")
    loaded = truth.loadRes(str(tmp_path / "results.json")).dataset["annotations"]
    expected = detections.read(study.paths.detections(AWARE, "hidden"), "alpha=0.50")
    assert [one["image_id"] for one in loaded] == expected.image_ids.tolist()
    assert [one["category_id"] for one in loaded] == expected.category_ids.tolist()
    assert [one["score"] for one in loaded] == expected.confidences.astype(float).tolist()
    corners = np.array([one["bbox"] for one in loaded])
    corners[:, 2:] += corners[:, :2]
    np.testing.assert_allclose(corners, expected.boxes, rtol=1e-6)


def test_the_same_detections_make_the_same_archive_and_a_hundred_per_image_fit(tmp_path):
    target, other = tmp_path / f"{NAME}.zip", tmp_path / "again" / f"{NAME}.zip"
    for file in target, other:
        write_archive(file, [found(*[10] * 60), found(*[10] * 40, 20)], IMAGES, CATEGORIES)
    assert target.read_bytes() == other.read_bytes()
    with zipfile.ZipFile(target) as archive:
        content = json.loads(archive.read(f"{NAME}.json"))
    assert len(content) == 101
    assert content[0] == {"image_id": 1 << 60, "category_id": 90, "bbox": [0.5, 1, 20.25, 7], "score": 0.25}


@pytest.mark.parametrize(
    ("name", "parts", "told"),
    [
        ("results", [found(10)], "found the name results.zip, expected detections_<test set>_<model>_results.zip"),
        ("detections_hidden_my model_results", [found(10)], "found the name .*, expected detections_"),
        (NAME, [], "found no detection"),
        (NAME, [found(10), found(11)], "detections of image id 11"),
        (NAME, [replace(found(10), category_ids=np.int32([2]))], "detections of category id 2"),
        (NAME, [found(*[20] * 60), found(10, *[20] * 41)], "found 101 detections on the image 20, expected 100"),
    ],
)
def test_what_the_server_would_refuse_is_told_and_not_written(tmp_path, name, parts, told):
    with pytest.raises(InputError, match=told):
        write_archive(tmp_path / f"{name}.zip", parts, IMAGES, CATEGORIES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("split", "rule", "told"),
    [
        ("val", "none", "there is no split 'val'"),
        ("hidden", "oracle", "no detections by the rule 'oracle=0.50'"),
        ("hidden", "beta", "found 'beta', expected 'cls'"),
    ],
)
def test_what_is_not_there_to_export_is_told(study, split, rule, told, capsys):
    path = str(study.root / "configs" / "experiments" / "study.yaml")
    out = study.root / f"{NAME}.zip"
    assert cli.main(["export", path, AWARE, "--split", split, "--rule", rule, "--out", str(out)]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()
