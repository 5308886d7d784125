"""Cross-validation: every image is tested once, by a model that has not been trained on it."""

import json

from builders.data import describe
from builders.training import project

from iou_aware.data.prepare import prepare
from iou_aware.evaluation.evaluate import evaluate
from iou_aware.evaluation.export import export
from iou_aware.experiment.experiment import Experiment
from iou_aware.inference.predict import predict
from iou_aware.training import parts
from iou_aware.training.train import train

FOLDS = 2


def test_every_image_is_tested_once_by_a_model_that_has_not_seen_it(tmp_path):
    runs = [{"detector": "retinanet", "seed": list(range(FOLDS))}]
    folder = project(tmp_path, runs=runs, settings={"epochs": 1, "device": "cpu"}).root
    split = {"val": {"annotations": "val.json", "images": "val"}}
    describe(folder, "shapes", layout="coco", splits=split, train="val", evaluate=["val"], folds=FOLDS)
    experiment = Experiment.load(folder / "configs" / "experiments" / "study.yaml")
    prepare(experiment.root, "shapes", experiment.roots)
    whole = json.loads((folder / "data" / "shapes" / "val.json").read_text())
    names = {image["id"]: image["file_name"] for image in whole["images"]}
    tested = []
    for run in experiment.runs:
        train(experiment, run)
        predict(experiment, run, "val")
        evaluate(experiment, run, "val")
        file = parts.read(experiment.paths.config(run)).train_dataloader.dataset.ann_file
        seen = {image["file_name"] for image in json.loads((folder / file).read_text())["images"]}
        export(experiment, run, "val", "cls", folder / "out.json")
        found = {names[entry["image_id"]] for entry in json.loads((folder / "out.json").read_text())}
        assert seen and found and seen.isdisjoint(found)
        measured = json.loads(experiment.paths.evaluation(run, "val").read_text())
        assert measured["provenance"]["images"] == len(found)
        tested += found
    assert sorted(tested) == sorted(names.values())
