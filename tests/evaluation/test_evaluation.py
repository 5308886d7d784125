"""The stage evaluate, from a detections file to the JSON that collect reads."""

import json
import subprocess
import sys

import numpy as np
import pytest
from builders.results import RULES, experiment, write_run

from iou_aware import detections
from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.metrics import load_metrics
from iou_aware.common import seal
from iou_aware.common.errors import InputError
from iou_aware.common.files import sha256
from iou_aware.evaluation import coco
from iou_aware.evaluation.evaluate import evaluate

BASELINE = "shapes.retinanet.tiny.quick.72x72.seed0"
SWEEP = "shapes.iou_aware_retinanet.tiny.bce.quick.72x72.seed0"
IMAGES, CATEGORIES = 12, {3: "disc", 8: "bar", 9: "never drawn"}


@pytest.fixture
def study(tmp_path):
    return experiment(tmp_path)


@pytest.fixture
def truth(study):
    """Ground truth of the split: two boxes per image of the first two classes, one of them difficult; a manifest."""
    random = np.random.default_rng(3)
    annotations = []
    for image in range(1, IMAGES + 1):
        for category in (3, 8):
            x, y, width, height = random.uniform(10, 100, 4).tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": int(image == 5),
                }
            )
    content = {
        "images": [{"id": image, "width": 256, "height": 256} for image in range(1, IMAGES + 1)],
        "categories": [{"id": number, "name": name} for number, name in CATEGORIES.items()],
        "annotations": annotations,
    }
    path = study.root / "data" / "shapes" / "val.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    write_manifest(study, path)
    return path


def write_manifest(study, annotations, layout="coco", labelled=True, images=IMAGES):
    path = study.paths.manifest("shapes")
    path.parent.mkdir(parents=True, exist_ok=True)
    split = {
        "annotations": annotations.relative_to(study.root).as_posix(),
        "images": "data/shapes/val",
        "labelled": labelled,
        "counts": {"images": images, "boxes": 22, "ignored": 2},
        "sha256": sha256(annotations),
    }
    content = {
        "format": 1,
        "dataset": "shapes",
        "layout": layout,
        "root": "data/shapes",
        "classes": list(CATEGORIES.values()),
        "category_ids": list(CATEGORIES),
        "train": "val",
        "evaluate": ["val"],
        "invalid_boxes": "error",
        "splits": {"val": split},
    }
    path.write_text(json.dumps(content))


def write_detections(study, run, annotations, rules, *, seed=0, weights, skip=(), images=IMAGES, category=None):
    """Write jittered ground truth as detections: for every rule other confidences; none on the images of ``skip``."""
    random = np.random.default_rng(seed)
    marked = json.loads(annotations.read_text())["annotations"]
    about = {"weights_sha256": weights, "config_sha256": "c" * 64}
    with detections.writer(study.paths.detections(run, "val"), rules, images, about) as file:
        for image in range(1, IMAGES + 1):
            own = [entry for entry in marked if entry["image_id"] == image and image not in skip] * 6
            if not own:
                continue
            boxes = np.array([entry["bbox"] for entry in own], dtype=np.float32)
            boxes[:, 2:] += boxes[:, :2]
            boxes += random.normal(0, 4, boxes.shape).astype(np.float32)
            boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
            kinds = np.array([category or entry["category_id"] for entry in own], dtype=np.int32)
            for place in range(len(rules)):
                scores = np.sort(random.random(len(own)).astype(np.float32))[::-1]
                found = detections.Detections(np.full(len(own), image), kinds, boxes, scores, scores)
                file.add(np.full(len(own), place), found)


def finish(study, run=BASELINE) -> str:
    """Write a finished training, sealed; return the checksum of its weights."""
    write_run(study, run)
    folder = study.paths.run_folder(run)
    for name in seal.SEALED:
        (folder / name).write_text(f"what {name} holds")
    return seal.write(folder, json.loads(study.paths.seal(run).read_text()))["weights_sha256"]


def prepared(study, truth, run=BASELINE, **changes):
    """Write a run's record and detections, and evaluate them."""
    changes = {"weights": finish(study, run), "rules": study.rules_for(study.runs[run])} | changes
    write_detections(study, run, truth, **changes)
    return json.loads(evaluate(study, run, "val").read_text())


def test_every_rule_of_the_experiment_is_evaluated(study, truth):
    result = prepared(study, truth, SWEEP)
    assert list(result["rules"]) == RULES
    assert (result["run"], result["dataset"], result["split"]) == (SWEEP, "shapes", "val")
    assert len({entry["metrics"]["AP"] for entry in result["rules"].values()}) > 6


def test_numbers_are_those_of_pycocotools(study, truth):
    result = prepared(study, truth, SWEEP)
    for rule in ("none", "alpha=0.50"):
        found = detections.read(study.paths.detections(SWEEP, "val"), rule)
        array = coco.results_array(found.image_ids, found.boxes, found.confidences, found.category_ids)
        official = coco.summarise(coco.Referee(truth).curves(array))
        assert result["rules"][rule]["metrics"] == official
        assert 0 < official["AP"] < official["AP50"]


def test_referee_confirms(tmp_path, truth):
    study = experiment(tmp_path, referee=True)
    assert prepared(study, truth)["provenance"]["referee"] is True


def test_referee_objects_to_other_numbers(tmp_path, truth, monkeypatch):
    study = experiment(tmp_path, referee=True)
    theirs = coco.Referee.curves
    monkeypatch.setattr(
        coco.Referee,
        "curves",
        lambda self, found: coco.Curves(*(part * 0.99 for part in vars(theirs(self, found)).values())),
    )
    with pytest.raises(RuntimeError, match="differ by"):
        prepared(study, truth)
    assert not study.paths.evaluation(BASELINE, "val").exists()


def test_classes_by_name_and_null_without_ground_truth(study, truth):
    classes = prepared(study, truth)["rules"]["cls"]["per_class"]
    assert list(classes) == ["disc", "bar", "never drawn"]
    assert classes["disc"]["AP"] > 0
    assert set(classes["never drawn"].values()) == {None}


def test_voc_layout_has_eleven_point_ap_too(study, truth):
    write_manifest(study, truth, layout="voc")
    metrics = prepared(study, truth)["rules"]["cls"]["metrics"]
    parts = [metrics[f"VOC07_AP{percent}"] for percent in range(50, 100, 5)]
    assert metrics["VOC07_AP"] == pytest.approx(np.mean(parts))
    assert 0 < metrics["VOC07_AP"] < metrics["VOC07_AP50"]


def test_coco_layout_has_none(study, truth):
    assert not [name for name in prepared(study, truth)["rules"]["cls"]["metrics"] if name.startswith("VOC07")]


def test_image_without_detections_counts_against_recall(study, truth):
    whole = prepared(study, truth)["rules"]["cls"]["metrics"]["AR100"]
    assert prepared(study, truth, skip=(1, 2, 3))["rules"]["cls"]["metrics"]["AR100"] < whole


def test_no_detections_at_all_is_zero(study, truth):
    write_manifest(study, truth, layout="voc")
    metrics = prepared(study, truth, skip=range(1, IMAGES + 1))["rules"]["cls"]["metrics"]
    assert (metrics["AP"], metrics["VOC07_AP"]) == (0, 0)


def test_provenance(study, truth):
    made = prepared(study, truth)["provenance"]
    folder = study.paths.run_folder(BASELINE)
    assert made["weights_sha256"] == sha256(folder / "weights.pth")
    assert made["config_sha256"] == sha256(folder / "config.py")
    assert made["annotations_sha256"] == sha256(truth)
    assert made["detections_sha256"] == sha256(study.paths.detections(BASELINE, "val"))
    assert (made["images"], made["boxes"]) == (IMAGES, 22)


def test_same_input_gives_the_same_bytes(study, truth):
    prepared(study, truth)
    first = study.paths.evaluation(BASELINE, "val").read_bytes()
    evaluate(study, BASELINE, "val")
    assert study.paths.evaluation(BASELINE, "val").read_bytes() == first


def test_collect_takes_it(study, truth):
    result = prepared(study, truth)
    collect(study)
    row = load_metrics(study.paths.metrics).iloc[0]
    assert row["AP80"] == result["rules"]["cls"]["metrics"]["AP80"]
    assert row["images"] == IMAGES


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"weights": "o" * 64}, "was made with the weights ooo"),
        ({"images": 7}, "covers 7 images, but the split has 12"),
        ({"rules": ["alpha=0.50"]}, "lacks the rules cls"),
        ({"category": 4}, "of category id 4"),
    ],
)
def test_detections_that_do_not_belong_are_refused(study, truth, changes, complaint):
    with pytest.raises(InputError, match=complaint) as error:
        prepared(study, truth, **changes)
    assert str(study.paths.detections(BASELINE, "val")) in str(error.value)
    assert not study.paths.evaluation(BASELINE, "val").exists()


@pytest.mark.parametrize("name", seal.SEALED)
def test_run_with_a_truncated_file_is_named_and_not_evaluated(study, truth, name):
    prepared(study, truth)
    study.paths.evaluation(BASELINE, "val").unlink()
    path = study.paths.run_folder(BASELINE) / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="changed or truncated") as error:
        evaluate(study, BASELINE, "val")
    assert str(path) in str(error.value)
    assert not study.paths.evaluation(BASELINE, "val").exists()


def test_detections_of_unknown_images_are_refused(study, truth):
    content = json.loads(truth.read_text())
    content["images"][-1]["id"] = 99
    for annotation in content["annotations"][-2:]:
        annotation["image_id"] = 99
    other = truth.with_name("other.json")
    other.write_text(json.dumps(content))
    write_manifest(study, other)
    with pytest.raises(InputError, match=r"of image id 12 \(1 such ids\)"):
        prepared(study, truth)


def test_stage_before_must_have_run(study, truth):
    with pytest.raises(InputError, match="iou-aware train"):
        evaluate(study, BASELINE, "val")
    finish(study)
    with pytest.raises(InputError, match="iou-aware predict"):
        evaluate(study, BASELINE, "val")
    write_manifest(study, truth, labelled=False)
    with pytest.raises(InputError, match="no boxes"):
        evaluate(study, BASELINE, "val")
    study.paths.manifest("shapes").unlink()
    with pytest.raises(InputError, match="iou-aware prepare"):
        evaluate(study, BASELINE, "val")


@pytest.mark.parametrize(
    "stage",
    ["evaluation.evaluate", "analysis.collect.collect", "analysis.tables.write", "analysis.figures.write"],
)
def test_stages_after_prediction_do_not_load_torch(stage):
    code = f"import sys, iou_aware.{stage}; print(sorted({{'torch', 'mmdet', 'mmengine', 'cv2'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
