"""metrics.csv: what stands in it, in which order, and how a malformed one is refused."""

import math
import re

import pandas as pd
import pytest
from builders.data import put
from builders.results import (
    AWARE,
    BASELINE,
    RULES,
    SMALL_RUN,
    experiment,
    finished,
    own_table,
    write_evaluation,
    write_run,
)

from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.metrics import METRICS_CSV, load_metrics, load_missing, load_per_class
from iou_aware.analysis.uncertainty.quantity import Measurements
from iou_aware.common.messages import InputError

CONTRACT = (
    "run,dataset,split,detector,backbone,iou_loss,target_grad,recipe,scale,seed,rule,"
    "AP,AP50,AP60,AP70,AP75,AP80,AP90,APs,APm,APl"
)


@pytest.fixture
def study(tmp_path):
    return experiment(tmp_path)


def test_one_row_per_run_split_and_rule_in_order_with_its_fields(tmp_path):
    collected = finished(tmp_path)
    assert collected.paths.metrics.read_text().startswith(CONTRACT + ",")
    metrics = load_metrics(collected.paths.metrics)
    expected = [(name, rule) for name, run in collected.runs.items() for rule in collected.rules_for(run)]
    assert list(zip(metrics["run"], metrics["rule"], strict=True)) == expected
    assert len(metrics) == 6 + 3 * 12 + 1 + 3 * 12 + 2 + 2 * 12
    assert metrics.loc[metrics["run"] == AWARE, "rule"].tolist() == RULES
    assert load_missing(collected.paths.missing) == {}
    classes = load_per_class(collected.paths.per_class)
    assert len(classes) == 2 * len(metrics)
    assert classes["class"].tolist()[:2] == ["red_cell", "bar"]

    metrics = metrics.set_index(["run", "rule"])
    row = metrics.loc[(AWARE, "none")]
    fields = ["dataset", "split", "detector", "backbone", "iou_loss", "target_grad", "scale"]
    assert row[fields].tolist() == ["shapes", "val", "iou_aware_retinanet", "tiny", "bce", "false", "72x72"]
    assert row[["git_commit", "torch", "weights_sha256"]].tolist() == ["abc", "2.13.0", "w" * 64]
    assert row[["seed", "images", "boxes", "train_seconds"]].tolist() == [0, 20, 50, 61.5]
    assert row[["train_cpu_seconds", "train_device_seconds"]].tolist() == [75.0, 75.0]
    assert metrics.loc[(BASELINE, "cls"), ["iou_loss", "target_grad"]].tolist() == ["", ""]
    assert metrics.loc[(BASELINE, "cls"), ["AP65", "VOC07_AP"]].isna().all()


def test_unfinished_study_says_what_is_missing_and_why(study):
    write_run(study, BASELINE)
    write_evaluation(study, BASELINE, "val", {"cls": {"AP": 100 / 3, "AP50": None}})
    write_run(study, AWARE)
    write_evaluation(study, AWARE, "val", {rule: {"AP": 21.0} for rule in RULES[:-1]})
    other = AWARE.replace("bce", "l2")
    write_run(study, other)
    collect(study)
    metrics = load_metrics(study.paths.metrics)
    assert metrics["run"].unique().tolist() == [BASELINE, AWARE]
    assert metrics["AP"][0] == 100 / 3 and math.isnan(metrics["AP50"][0])  # to the last bit
    missing = load_missing(study.paths.missing)
    assert {run for run, _, _ in missing} == set(study.runs) - {BASELINE}
    of_sweep = {rule: why for (run, _, rule), why in missing.items() if run == AWARE}
    assert of_sweep == {"alpha=0.00": "evaluated before this rule was asked for"}
    assert [rule for run, _, rule in missing if run == other] == RULES
    assert missing[other, "val", "none"] == "not predicted"
    assert missing[AWARE.replace("bce", "l1"), "val", "none"] == "not trained"
    put(study.paths.detections(other, "val"), "")
    collect(study)
    assert load_missing(study.paths.missing)[other, "val", "none"] == "not evaluated"


def test_released_weights_are_not_fetched_where_others_are_not_trained(tmp_path):
    for file in ("detectors/zoo/retinanet.py", "schedules/zoo.py"):
        put(tmp_path / "configs" / file, "released = dict(tiny='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')")
    rows = {"ours": {"recipe": "quick"}, "theirs": {"recipe": "zoo"}}
    runs = [SMALL_RUN | {"detector": "retinanet", "recipe": ["quick", "zoo"]}]
    study = experiment(tmp_path, runs=runs, tables={"both": own_table(rows)})
    expected = {BASELINE: "not trained", BASELINE.replace("quick", "zoo"): "not fetched"}
    assert {gap["run"]: gap["why"] for gap in collect(study)} == expected
    quantity, both = Measurements(study).quantity, {"table": study.tables["both"], "paper": ""}
    told = [quantity("AP", [[(1, row, "AP")]], **both, noise=None).missing for row in rows]
    assert told == [f"{run} is {why}" for run, why in expected.items()]


@pytest.mark.parametrize("fault", ["other weights", "damaged", "no record"])
def test_an_evaluation_that_cannot_be_taken_is_named(study, fault):
    write_run(study, BASELINE, weights_sha256="n" * 64 if fault == "other weights" else "w" * 64)
    write_evaluation(study, BASELINE, "val", {"cls": {"AP": 20.0}})
    path = study.paths.seal(BASELINE) if fault == "no record" else study.paths.evaluation(BASELINE, "val")
    if fault == "damaged":
        path.write_text(path.read_text()[:50])
    if fault == "no record":
        path.unlink()
    with pytest.raises(InputError, match=re.escape(str(path))):
        collect(study)
    assert not study.paths.metrics.exists()


@pytest.mark.parametrize(("column", "value"), [("AP80", "120.5"), ("AP", "-1"), ("seed", "nan"), ("AP75", None)])
def test_a_malformed_value_is_named_with_its_line_and_a_missing_column_by_its_name(tmp_path, column, value):
    path, table = tmp_path / "metrics.csv", pd.DataFrame("1", range(6), METRICS_CSV)
    table.loc[4, column] = value
    table = table.drop(columns=column) if value is None else table
    table.to_csv(path, index=False)
    named = f"line 6, column {column}: found '{value}'" if value else f"column {column} missing"
    with pytest.raises(InputError, match=re.escape(str(path)) + f".*{named}"):
        load_metrics(path)


@pytest.mark.parametrize("content", [None, "", 'a,b\n"1,2\n'])
def test_a_file_that_is_absent_or_no_csv_says_what_to_run(tmp_path, content):
    path = tmp_path / "metrics.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"metrics\.csv.*iou-aware collect"):
        load_metrics(path)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"device": "cpu", "processes": 2}, [61.5, 75.0, 75.0]),
        ({"device": "Some GPU", "processes": 4}, [61.5, 75.0, 246.0]),
        ({"device": "Some GPU", "processes": 1, "cpu_seconds": None}, [61.5, None, 61.5]),
        ({"device": "cpu", "cpu_seconds": None}, [61.5, None, None]),
        ({"seconds": None, "cpu_seconds": None, "device": "Some GPU"}, [None, None, None]),
    ],
)
def test_time_of_training_is_that_of_the_device(study, record, expected):
    write_run(study, BASELINE, **record)
    write_evaluation(study, BASELINE, "val", {"cls": {"AP": 20.0}})
    collect(study)
    row = load_metrics(study.paths.metrics).iloc[0]
    found = row[["train_seconds", "train_cpu_seconds", "train_device_seconds"]]
    assert [None if math.isnan(value) else value for value in found] == expected
