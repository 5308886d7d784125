"""Predicting: the file holds what the model says, every rule comes from one pass, and wrong inputs are named."""

import contextlib
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders.heads import iou
from builders.training import FASTER_RCNN, IOU_AWARE, RETINANET, RULES
from hypothesis import given
from hypothesis import strategies as st
from mmcv.image import rescale_size
from mmdet.apis import init_detector
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch.nn.modules.module import register_module_forward_hook

from iou_aware import detections
from iou_aware.common import seal
from iou_aware.common.messages import InputError
from iou_aware.experiment.experiment import Experiment
from iou_aware.inference.predict import predict, same_shape
from iou_aware.method.confidence import Rule

IMAGES = list(range(1, 8))


def of_mmdetection(experiment: Experiment, run: str, rule: str) -> dict[int, dict[str, np.ndarray]]:
    """Return what MMDetection's own test step gives for each image on its own, with the rule in its config.

    Paths in the config are relative to the project's folder.
    """
    config = Config.fromfile(experiment.paths.config(run))
    if rule != "cls":
        config.model.test_cfg.rule = rule
    model = init_detector(config, str(experiment.paths.weights(run)), device="cpu")
    init_default_scope("mmdet")
    results = {}
    with contextlib.chdir(experiment.root), torch.no_grad():
        for item in DATASETS.build(config.test_dataloader.dataset):
            sample = model.test_step(pseudo_collate([item]))[0]
            results[sample.img_id] = {key: value.numpy() for key, value in sample.pred_instances.items()}
    return results


@pytest.mark.parametrize(
    ("run", "rule"),
    [(RETINANET, "cls"), (FASTER_RCNN, "cls"), *((IOU_AWARE, rule) for rule in RULES if "oracle" not in rule)],
)
def test_file_holds_what_mmdetection_finds_image_by_image(predicted, run, rule):
    found = detections.read(predicted.paths.detections(run, "val"), rule)
    expected = of_mmdetection(predicted, run, rule)
    assert list(dict.fromkeys(found.image_ids.tolist())) == IMAGES
    parts = {"scores": found.confidences, "cls_scores": found.cls_scores, "iou_preds": found.iou_preds}
    for image, theirs in expected.items():
        mine = found.image_ids == image
        # A batch may differ from its images alone in the last bits of a convolution.
        for name, column in parts.items():
            if name in theirs:
                np.testing.assert_allclose(column[mine], theirs[name], rtol=1e-4)
        np.testing.assert_allclose(found.boxes[mine], theirs["bboxes"], rtol=1e-4, atol=1e-2)
        np.testing.assert_array_equal(found.category_ids[mine], theirs["labels"] + 1)
        assert np.all(np.diff(found.confidences[mine]) <= 0)
    assert (found.iou_preds is None) == (run != IOU_AWARE)


def test_oracle_knows_the_truth(predicted):
    found = detections.read(predicted.paths.detections(IOU_AWARE, "val"), "oracle=0.30")
    objects = {image: [] for image in IMAGES}
    for row in json.loads((predicted.root / "results/datasets/shapes/val.json").read_text())["annotations"]:
        x, y, width, height = row["bbox"]
        objects[row["image_id"]].append((x, y, x + width, y + height))
    for image, box, known in zip(found.image_ids, found.boxes.astype(float), found.iou_preds, strict=True):
        assert known == pytest.approx(max(iou(box, other) for other in objects[image]), abs=1e-5)


def test_one_forward_pass_serves_every_rule_and_the_file_says_what_made_it(predicted):
    seen, before = [], predicted.paths.detections(IOU_AWARE, "val").read_bytes()
    with register_module_forward_hook(lambda module, inputs, _: seen.append((type(module).__name__, len(inputs[0])))):
        predict(predicted, IOU_AWARE, "val")
    batches = [images for name, images in seen if name == "ResNet"]
    assert sum(batches) == len(IMAGES)
    assert [name for name, _ in seen].count("IoUAwareRetinaHead") == len(batches)
    assert predicted.paths.detections(IOU_AWARE, "val").read_bytes() == before
    made = detections.provenance(predicted.paths.detections(IOU_AWARE, "val"))
    record = seal.verify(predicted.paths.run_folder(IOU_AWARE))
    assert (made["rules"], made["images"], made["split"]) == (RULES, len(IMAGES), "val")
    for key in ("weights_sha256", "config_sha256"):
        assert made[key] == record[key]


def test_split_without_boxes_is_predicted_but_not_by_the_oracle(predicted):
    only = replace(predicted, rules_by_run={IOU_AWARE: (Rule("oracle=0.50"),)})
    with pytest.raises(InputError, match=r"oracle=0\.50: the split 'unlabelled' of shapes has no boxes"):
        predict(only, IOU_AWARE, "unlabelled")
    predict(predicted, IOU_AWARE, "unlabelled")
    others = [rule for rule in predicted.rules_by_run[IOU_AWARE] if rule.kind != "oracle"]
    assert detections.provenance(predicted.paths.detections(IOU_AWARE, "unlabelled"))["rules"] == others
    predict(predicted, RETINANET, "unlabelled")
    found = detections.read(predicted.paths.detections(RETINANET, "unlabelled"), "cls")
    assert set(found.image_ids.tolist()) == {1, 2}


def test_a_rule_that_the_detector_cannot_rank_by_is_named_and_not_left_out(predicted):
    """It would be measured as an AP of 0."""
    for run in (RETINANET, FASTER_RCNN):
        asked = replace(predicted, rules_by_run={run: (Rule("cls"), Rule("alpha=0.30"))})
        with pytest.raises(InputError, match=rf"{run}: this detector predicts no IoU; found the rule alpha=0\.30"):
            predict(asked, run, "val")


def test_a_split_classes_or_a_run_that_do_not_fit_are_named(predicted, tmp_path):
    shutil.copytree(predicted.root, tmp_path / "copy")
    copied = Experiment.load(tmp_path / "copy" / "configs" / "experiments" / "study.yaml")
    with pytest.raises(InputError, match="no split 'test'"):
        predict(copied, RETINANET, "test")
    path = copied.paths.manifest("shapes")
    path.write_text(path.read_text().replace('"large"', '"huge"'))
    with pytest.raises(InputError, match=r"trained on the classes small, large.*shapes has small, huge"):
        predict(copied, RETINANET, "val")
    truth = path.with_name("val.json")
    truth.write_text(truth.read_text() + "\n")
    with pytest.raises(InputError, match=r"val\.json: the annotations .* changed after they were prepared"):
        predict(copied, RETINANET, "val")
    shutil.rmtree(copied.paths.run_folder(RETINANET))
    with pytest.raises(InputError, match=r"run.json does not exist: the run is not finished"):
        predict(copied, RETINANET, "val")


@given(
    sizes=st.lists(st.tuples(st.integers(40, 43), st.integers(40, 43)), min_size=1, max_size=30),
    divisor=st.sampled_from([1, 2, 32]),
    most=st.integers(1, 5),
)
def test_batches_are_neighbours_of_one_shape(sizes, divisor, most):
    scale = (60, 50)
    batches = same_shape(sizes, scale, divisor, most)
    assert [index for batch in batches for index in batch] == list(range(len(sizes)))
    shapes = [[math.ceil(side / divisor) for side in rescale_size(size, scale)] for size in sizes]
    for batch in batches:
        following = batch[-1] + 1
        assert 1 <= len(batch) <= most
        assert all(shapes[index] == shapes[batch[0]] for index in batch)
        assert len(batch) == most or following == len(sizes) or shapes[following] != shapes[batch[0]]
