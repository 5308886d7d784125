"""The premise's tables to read: their rows and their order, against what was measured."""

import numpy as np
import pytest
from builders.detections import noisy, write_dataset, write_detections
from builders.results import experiment

from iou_aware.analysis.premise.measure import correlations, own_overlaps, write_premise
from iou_aware.analysis.report.premise_tables import BIAS, CONFIDENCE, premise_tables
from iou_aware.data.annotations import Annotations
from iou_aware.detections import Detections
from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.matching import match
from iou_aware.evaluation.overlaps import overlaps

RULES = ["alpha=1.00", "alpha=0.90", "oracle=0.50"]


@pytest.fixture
def measured(tmp_path):
    """A study with one IoU-aware run and its baseline, whose detections are the same, and what they overlap.

    The head tells the truth.
    """
    study = experiment(tmp_path, rules=RULES, tables={})
    assert premise_tables(study.paths.premise, study.runs, study.rules_by_run) == {}
    content = write_dataset(study, "shapes", "val")
    ours = next(name for name in study.runs if "shapes.iou_aware_retinanet.tiny.bce.quick.96" in name)
    results = noisy(content, 1)
    annotations = study.paths.dataset_folder("shapes") / "val.json"
    truth, matches = (
        Annotations.load(annotations),
        match(CocoEvaluator(annotations), results, thresholds=np.array([0.5])),
    )
    near, own = overlaps(truth, results), own_overlaps(truth, results, matches)
    rules = dict.fromkeys(RULES, results)
    write_detections(study, ours, "val", rules, dict.fromkeys(rules, np.where(np.isnan(own), near.any, own)))
    write_detections(study, ours.replace("iou_aware_", "").replace(".bce", ""), "val", {"cls": results})
    write_premise(study)
    return study, results, near, own


def test_the_baseline_comes_first_and_every_number_is_the_measured_one(measured):
    study, results, near, own = measured
    tables = premise_tables(study.paths.premise, study.runs, study.rules_by_run)
    confidence, bias = tables[CONFIDENCE], tables[BIAS]
    assert confidence["Ranked by"].tolist() == ["baseline, score", "alpha=1.00", "oracle=0.50"]
    assert confidence["Run"].tolist() == [
        "shapes, tiny, 96x96, seed 0, val",
        *["shapes, tiny, bce, 96x96, seed 0, val"] * 2,
    ]
    # An oracle's IoU is the truth, and no prediction to be judged.
    assert confidence.pop("Predicted IoU alone").tolist() == ["", "1.00", ""]
    assert (confidence.iloc[:, 2:] == confidence.iloc[0, 2:]).all(axis=None)
    shown = confidence.iloc[0]
    assert shown["Objects found"] == f"{(~np.isnan(own)).sum():,}"
    detected = Detections(results[:, 0], results[:, 6], results[:, 1:5], results[:, 5], results[:, 5], None)
    rows = correlations(detected, near, own)
    spearman = {row["boxes"]: f"{row['spearman']:.2f}" for row in rows if row["score"] == "confidence"}
    assert (shown["Spearman"], shown["With duplicates"]) == (spearman["found"], spearman["near"])
    # A head that tells the truth has no bias off its objects, and all detections are in one of the groups.
    assert bias["Ranked by"].tolist() == ["alpha=1.00"]
    assert bias["background: predicted"].equals(bias["background: true"])
    counts = [bias[f"{group}: number"].item().replace(",", "") for group in ("object", "poorly placed", "background")]
    assert sum(map(int, counts)) == (~near.crowd).sum()


def test_every_rule_is_there_on_demand(measured):
    study, *_ = measured
    tables = premise_tables(study.paths.premise, study.runs, study.rules_by_run, every=True)
    assert tables[CONFIDENCE]["Ranked by"].tolist() == ["baseline, score", *RULES]
    assert tables[BIAS]["Ranked by"].tolist() == RULES[:2]
