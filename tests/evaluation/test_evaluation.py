"""The stage evaluate, from a detections file to the JSON that collect reads."""

import json
from pathlib import Path

import numpy as np
import pytest
from builders.detections import noisy, official, write_dataset, write_detections
from builders.processes import python
from builders.results import AWARE, BASELINE, RULES, experiment, write_sealed_run

from iou_aware import detections
from iou_aware.common.files import sha256
from iou_aware.common.messages import InputError
from iou_aware.evaluation import coco
from iou_aware.evaluation.evaluate import evaluate


@pytest.fixture
def study(tmp_path):
    return experiment(tmp_path)


@pytest.fixture
def truth(study) -> dict:
    return write_dataset(study)


def annotations(study) -> Path:
    return study.paths.dataset_folder("shapes") / "val.json"


def prepared(study, truth, run=BASELINE, *, category=None, **changes):
    """Write a run's record and detections, other ones for every rule, and evaluate them."""
    rules = changes.pop("rules", study.rules_for(study.runs[run]))
    found = {rule: noisy(truth, seed) for seed, rule in enumerate(rules)}
    for results in found.values():
        results[:, 6] = category or results[:, 6]
    write_detections(study, run, "val", found, **{"weights": write_sealed_run(study, run)} | changes)
    return json.loads(evaluate(study, run, "val").read_text())


def test_every_rule_of_the_experiment_has_the_numbers_of_pycocotools(study, truth):
    result = prepared(study, truth, AWARE)
    assert (result["run"], result["dataset"], result["split"]) == (AWARE, "shapes", "val")
    assert list(result["rules"]) == RULES
    for rule, entry in result["rules"].items():
        found = detections.read(study.paths.detections(AWARE, "val"), rule).results
        assert entry["metrics"] == coco.summarise(official(annotations(study), found).eval)
    assert len({entry["metrics"]["AP"] for entry in result["rules"].values()}) > 6


def test_voc_layout_has_eleven_point_ap_too(study, truth):
    assert not [name for name in prepared(study, truth)["rules"]["cls"]["metrics"] if name.startswith("VOC07")]
    write_dataset(study, layout="voc")
    metrics = prepared(study, truth)["rules"]["cls"]["metrics"]
    parts = [metrics[f"VOC07_AP{percent}"] for percent in range(50, 100, 5)]
    assert metrics["VOC07_AP"] == pytest.approx(np.mean(parts))
    assert 0 < metrics["VOC07_AP"] < metrics["VOC07_AP50"]


def test_an_evaluation_names_classes_and_what_made_it_and_is_the_same_twice(study, truth):
    result = prepared(study, truth)
    path, folder, made = study.paths.evaluation(BASELINE, "val"), study.paths.run_folder(BASELINE), result["provenance"]
    classes = result["rules"]["cls"]["per_class"]
    assert list(classes) == ["class 1", "class 2", "class 3"] and classes["class 1"]["AP"] > 0
    assert set(classes["class 3"].values()) == {None}  # without ground truth
    sources = {"weights": folder / "weights.pth", "config": folder / "config.py", "annotations": annotations(study)}
    for name, file in (sources | {"detections": study.paths.detections(BASELINE, "val")}).items():
        assert made[f"{name}_sha256"] == sha256(file)
    assert (made["images"], made["boxes"]) == (12, len(truth["annotations"]))
    first = path.read_bytes()
    evaluate(study, BASELINE, "val")
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"weights": "o" * 64}, "was made with the weights ooo"),
        ({"images": 7}, "covers 7 images, but the split has 12"),
        ({"rules": ["alpha=0.50"]}, "no detections by the rule 'cls'"),
        ({"category": 4}, "found category_id 4"),
    ],
)
def test_detections_that_do_not_belong_are_refused(study, truth, changes, complaint):
    with pytest.raises(InputError, match=complaint) as error:
        prepared(study, truth, **changes)
    assert str(study.paths.detections(BASELINE, "val")) in str(error.value)
    assert not study.paths.evaluation(BASELINE, "val").exists()


def test_stages_before_must_have_run_and_their_files_be_whole(study, truth):
    weights = study.paths.weights(BASELINE)
    for change, told in [
        (lambda: None, "iou-aware train"),
        (lambda: write_sealed_run(study, BASELINE), "iou-aware predict"),
        (lambda: weights.write_bytes(weights.read_bytes()[:-1]), r"weights\.pth: changed or truncated"),
        (lambda: write_dataset(study, labelled=False), "no boxes"),
        (study.paths.manifest("shapes").unlink, "iou-aware prepare"),
    ]:
        change()
        with pytest.raises(InputError, match=told):
            evaluate(study, BASELINE, "val")


def test_stages_after_prediction_do_not_load_torch():
    stages = "evaluation.evaluate", "analysis.collect.collect", "analysis.tables.write", "analysis.figures.write"
    modules = ", ".join(f"iou_aware.{stage}" for stage in stages)
    code = f"import sys, {modules}; print({{'torch', 'mmdet', 'mmengine', 'cv2'}} & set(sys.modules))"
    assert python("-c", code, check=True).stdout == "set()\n"
