"""A first trial: models that detect nothing, or one model alone, all the same end in a report."""

import numpy as np
import pytest
from builders.detections import noisy, write_dataset, write_detections
from builders.results import IOU_AWARE, SMALL_RUN, experiment, write_sealed_run

from iou_aware.analysis.bootstrap.resamples import resample
from iou_aware.analysis.claims.claims import write_claims
from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.figures.write import write_figures
from iou_aware.analysis.gallery.draw import write_gallery
from iou_aware.analysis.premise.measure import write_premise
from iou_aware.analysis.report.notebook import write_notebook
from iou_aware.analysis.tables.write import write_table
from iou_aware.evaluation.evaluate import evaluate

RETINANET = SMALL_RUN | {"detector": "retinanet"}
AWARE = SMALL_RUN | IOU_AWARE


@pytest.mark.parametrize(
    ("runs", "detected"),
    [([RETINANET, AWARE], False), ([RETINANET], True), ([AWARE], True)],
    ids=["nothing", "a baseline alone", "an IoU-aware model alone"],
)
def test_a_report_is_written(tmp_path, monkeypatch, runs, detected):
    monkeypatch.chdir(tmp_path)
    study = experiment(tmp_path, runs=runs, tables={}, rules=["none", "alpha=1.00", "alpha=0.50"])
    content = write_dataset(study)
    for seed, (name, run) in enumerate(study.runs.items()):
        found = noisy(content, seed) if detected else np.zeros((0, 7))
        rules = study.rules_for(run)
        ious = dict.fromkeys(rules, np.full(len(found), 0.5)) if run.is_iou_aware else None
        write_detections(study, name, "val", dict.fromkeys(rules, found), ious, write_sealed_run(study, name))
        evaluate(study, name, "val")
        resample(study, name, "val", 20)
    collect(study)
    for table in study.tables:
        write_table(study, table)
    for stage in (write_premise, write_gallery, write_figures, write_claims):
        stage(study)
    for page in [write_notebook(study, name) for name in study.paths.notebooks]:
        assert "Exception was encountered" not in page.read_text(encoding="utf-8"), page
    report = write_notebook(study).read_text(encoding="utf-8")
    assert ("AP 0" in report and "settings.epochs" in report) is not detected
