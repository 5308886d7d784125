"""The premise's measures against formulas written out and cases whose answer is plain."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from builders.detections import detected, noisy, write_dataset, write_detections, write_truth
from builders.results import AWARE, BASELINE, experiment

from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.figures.premise import draw_premise
from iou_aware.analysis.premise import measure as premise
from iou_aware.analysis.uncertainty.quantity import Measurements
from iou_aware.data.annotations import Annotations
from iou_aware.detections import Detections
from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.matching import Overlaps, match, overlaps

HALF = np.array([0.5])


def scored(confidences, iou_preds=None) -> Detections:
    """Return detections of which only the scores matter."""
    return detected(np.outer(confidences, np.eye(7)[5]), iou_preds)


def test_a_duplicate_is_no_part_of_the_premise_and_each_detection_is_held_to_its_own_object(tmp_path):
    """Two objects that overlap: the second detection is nearer to the first object, which the first one has taken."""
    boxes = [[0, 0, 100, 100], [0, 30, 100, 100], [300, 0, 50, 50], [500, 0, 50, 50]]
    path = write_truth(tmp_path / "truth.json", [(1, 1, *box, 0) for box in boxes])
    placed = {0.9: [0, 0, 100, 100], 0.8: [0, 12, 100, 100], 0.7: [300, 0, 50, 40], 0.6: [500, 0, 50, 30]}
    duplicate = [1, 0, 0, 100, 52, 0.1, 1]
    found = np.array([duplicate, *([1, *box, score, 1] for score, box in placed.items())], dtype=float)
    evaluator = CocoEvaluator(path)
    matches = match(evaluator, found, thresholds=HALF)
    assert matches.ious[np.argsort(matches.rows)] == pytest.approx([np.nan, 1, 82 / 118, 0.8, 0.6], nan_ok=True)
    rows = premise.correlations(detected(found), overlaps(evaluator.objects, found), matches)
    spearman = {row["boxes"]: row["spearman"] for row in rows if row["score"] == "confidence"}
    assert spearman["found"] == pytest.approx(0.8)
    assert spearman["near"] == pytest.approx(0.9)


def test_correlation_of_ranks_is_of_ranks_and_leaves_out_what_is_far_or_in_a_crowd():
    same = np.array([0.5, 0.6, 0.7, 0.8, 0.1, 0.9])
    confidences = np.array([0.1, 0.2, 0.5, 0.9, 0.95, 0.0])
    crowd = np.array([False] * 5 + [True])
    own = SimpleNamespace(rows=[1, 3], ious=[0.6, 0.8])
    rows = premise.correlations(scored(confidences, 1 - confidences), Overlaps(same, same, crowd), own)
    counts = {row["boxes"]: row["detections"] for row in rows}
    assert counts == {"found": 2, "near": 4, "all": 5}
    assert {row["spearman"] for row in rows if row["boxes"] == "found"} == {None}
    first = {row["score"]: row for row in rows if row["boxes"] == "near"}
    assert first["confidence"]["spearman"] == pytest.approx(1)
    assert first["iou_pred"]["spearman"] == pytest.approx(-1)
    x, y = confidences[:4] - confidences[:4].mean(), same[:4] - same[:4].mean()
    assert first["confidence"]["pearson"] == pytest.approx((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()))


def test_correlation_of_nothing_is_none():
    for count in (0, 2, 4):
        ious = np.linspace(0.5, 0.9, count)
        own = SimpleNamespace(rows=range(count), ious=ious)
        rows = premise.correlations(scored(np.zeros(count)), Overlaps(ious, ious, np.zeros(count, bool)), own)
        assert {row["spearman"] for row in rows} == {None}


def test_reliability_and_bias_tell_an_honest_head_from_one_too_sure_of_background():
    true = np.concatenate([np.linspace(0.5, 1.0, 500), np.zeros(500)])
    predicted = np.concatenate([true[:500], np.full(500, 0.6)]).astype(np.float32)
    found, near = scored(predicted, predicted), Overlaps(true, true, np.zeros(1000, bool))
    groups = {row["group"]: row for row in premise.bias(found, near)}
    assert groups["object"]["bias"] == pytest.approx(0, abs=1e-6)
    assert groups["background"]["bias"] == pytest.approx(0.6)
    assert groups["poorly placed"] == {"group": "poorly placed", "detections": 0}
    rows = premise.reliability(found, near)
    assert sum(row["detections"] for row in rows) == 1000
    for row in rows:
        assert row["from"] - 1e-6 <= row["iou_pred"] <= row["to"] == pytest.approx(row["from"] + 0.05)
        if not row["from"] <= 0.6 <= row["to"]:
            assert row["iou"] == pytest.approx(row["iou_pred"], abs=1e-6)


def test_stage_measures_what_is_there_and_it_can_be_drawn(tmp_path):
    study = experiment(tmp_path, rules=["none", "alpha=1.00", "alpha=0.50", "oracle=0.50"], tables={})
    content = write_dataset(study)
    truth = Annotations.load(study.paths.dataset_folder("shapes") / "val.json")
    found = noisy(content, 1)
    write_detections(study, BASELINE, "val", {"cls": found})
    near = overlaps(truth, found)
    placed = found.copy()
    placed[:, 5] = near.same
    rules = {"none": placed, "alpha=1.00": found, "alpha=0.50": placed, "oracle=0.50": found}
    write_detections(study, AWARE, "val", rules, dict.fromkeys(rules, near.any))
    tables = {path.name: pd.read_csv(path) for path in premise.write_premise(study)}
    assert set(tables) == {f"{table}.csv" for table in premise.TABLES}
    collect(study)
    figures = draw_premise(study.paths.premise, study.runs, study.rules, Measurements(study), "")
    assert set(dict(figures)) == {f"premise_{part}" for part in ("correlations", "density", "reliability")}
    table = tables["correlations.csv"]
    assert set(table["run"]) == {BASELINE, AWARE}
    shown = table[table["score"] == "confidence"].set_index(["boxes", "run", "rule"])["spearman"]
    assert shown["near", AWARE, "none"] == pytest.approx(1)
    assert shown["found", AWARE, "none"] > shown["found", AWARE, "alpha=1.00"]
    for boxes in premise.BOXES:
        assert shown[boxes, AWARE, "alpha=1.00"] == pytest.approx(shown[boxes, BASELINE, "cls"])
    density = tables["density.csv"]
    counts = density.groupby(["run", "rule"])["detections"].sum()
    assert (counts == (~near.crowd).sum()).all()
    assert (density.loc[density["rule"] == "none", "confidence"] == density.loc[density["rule"] == "none", "iou"]).all()
    lrp = tables["lrp.csv"].set_index(["run", "rule"])["olrp"]
    assert lrp[AWARE, "none"] < lrp[BASELINE, "cls"]
    assert {rule for _, rule in lrp.index} == set(density["rule"]) == {"cls", *rules}
    # An oracle's IoU is the truth, and no prediction to be judged.
    for name in ("reliability.csv", "bias.csv"):
        assert set(tables[name]["rule"]) == set(rules) - {"oracle=0.50"}
    assert set(table[table["rule"] == "oracle=0.50"]["score"]) == {"confidence", "cls_score"}
