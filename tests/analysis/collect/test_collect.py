"""metrics.csv: what stands in it, in which order, and how a malformed one is refused."""

import json
import math
import re

import pandas as pd
import pytest
from builders.data import put
from builders.results import RULES, SMALL_RUN, experiment, finished, write_evaluation, write_run

from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.metrics import load_metrics, load_missing, load_per_class
from iou_aware.analysis.uncertainty.quantity import Measurements
from iou_aware.common.errors import InputError

CONTRACT = (
    "run,dataset,split,detector,backbone,iou_loss,target_grad,recipe,scale,seed,rule,"
    "AP,AP50,AP60,AP70,AP75,AP80,AP90,APs,APm,APl"
)
SWEEP = "shapes.iou_aware_retinanet.tiny.bce.quick.72x72.seed0"
BASELINE = "shapes.retinanet.tiny.quick.72x72.seed0"


@pytest.fixture
def study(tmp_path):
    return experiment(tmp_path)


@pytest.fixture
def collected(tmp_path):
    return finished(tmp_path)


def test_header_is_the_contract(collected):
    assert collected.paths.metrics.read_text().splitlines()[0].startswith(CONTRACT + ",")


def test_one_row_per_run_split_and_rule_in_order(collected):
    metrics = load_metrics(collected.paths.metrics)
    expected = [(name, rule) for name, run in collected.runs.items() for rule in collected.rules_for(run)]
    assert list(zip(metrics["run"], metrics["rule"], strict=True)) == expected
    assert len(metrics) == 6 + 3 * 12 + 1 + 3 * 12 + 2 + 2 * 12
    assert metrics.loc[metrics["run"] == SWEEP, "rule"].tolist() == RULES


def test_fields_of_a_row(collected):
    metrics = load_metrics(collected.paths.metrics).set_index(["run", "rule"])
    row = metrics.loc[(SWEEP, "none")]
    assert row[["dataset", "split", "detector", "backbone", "iou_loss", "target_grad", "scale"]].tolist() == [
        "shapes",
        "val",
        "iou_aware_retinanet",
        "tiny",
        "bce",
        "false",
        "72x72",
    ]
    assert row[["git_commit", "torch", "weights_sha256"]].tolist() == ["abc", "2.13.0", "w" * 64]
    assert row[["seed", "images", "boxes", "train_seconds"]].tolist() == [0, 20, 50, 61.5]
    assert row[["train_cpu_seconds", "train_device_seconds"]].tolist() == [75.0, 75.0]
    assert metrics.loc[(BASELINE, "cls"), ["iou_loss", "target_grad"]].tolist() == ["", ""]
    assert metrics.loc[(BASELINE, "cls"), ["AP65", "VOC07_AP"]].isna().all()


def test_values_survive_to_the_last_bit(study):
    value = 100 / 3
    write_run(study, BASELINE)
    write_evaluation(study, BASELINE, "val", {"cls": {"AP": value, "AP50": None}})
    collect(study)
    row = load_metrics(study.paths.metrics).iloc[0]
    assert row["AP"] == value
    assert pd.isna(row["AP50"])


def test_per_class_rows(collected):
    classes = load_per_class(collected.paths.per_class)
    assert len(classes) == 2 * len(load_metrics(collected.paths.metrics))
    assert classes["class"].tolist()[:2] == ["disc", "bar"]


def test_collecting_again_gives_the_same_bytes(collected):
    before = collected.paths.metrics.read_bytes(), collected.paths.per_class.read_bytes()
    assert collect(collected) == []
    assert (collected.paths.metrics.read_bytes(), collected.paths.per_class.read_bytes()) == before


def test_unfinished_study_says_what_is_missing_and_why(study):
    write_run(study, BASELINE)
    write_evaluation(study, BASELINE, "val", {"cls": {"AP": 20.0}})
    write_run(study, SWEEP)
    write_evaluation(study, SWEEP, "val", {rule: {"AP": 21.0} for rule in RULES[:-1]})
    other = SWEEP.replace("bce", "l2")
    write_run(study, other)
    collect(study)
    assert load_metrics(study.paths.metrics)["run"].unique().tolist() == [BASELINE, SWEEP]
    missing = load_missing(study.paths.missing)
    assert {run for run, _, _ in missing} == set(study.runs) - {BASELINE}
    of_sweep = {rule: why for (run, _, rule), why in missing.items() if run == SWEEP}
    assert of_sweep == {"alpha=0.00": "evaluated before this rule was asked for"}
    assert [rule for run, _, rule in missing if run == other] == RULES
    assert missing[other, "val", "none"] == "not predicted"
    assert missing[SWEEP.replace("bce", "l1"), "val", "none"] == "not trained"
    put(study.paths.detections(other, "val"), "")
    collect(study)
    assert load_missing(study.paths.missing)[other, "val", "none"] == "not evaluated"


def test_released_weights_are_not_fetched_where_others_are_not_trained(tmp_path):
    for file in ("detectors/zoo/retinanet.py", "schedules/zoo.py"):
        put(tmp_path / "configs" / file, "released = dict(tiny='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')")
    rows = {"ours": {"recipe": "quick"}, "theirs": {"recipe": "zoo"}}
    table = {"caption": "Both.", "split": "val", "columns": ["AP"], "rows": rows}
    runs = [SMALL_RUN | {"detector": "retinanet", "recipe": ["quick", "zoo"]}]
    study = experiment(tmp_path, runs=runs, tables={"both": table})
    expected = {BASELINE: "not trained", BASELINE.replace("quick", "zoo"): "not fetched"}
    assert {gap["run"]: gap["why"] for gap in collect(study)} == expected
    told = [
        Measurements(study.paths, study.runs)
        .quantity("AP", [[(1, row, "AP")]], table=study.tables["both"], paper="table1", noise={"runs": 0, "rules": 0})
        .missing
        for row in rows
    ]
    assert told == [f"{run} is {why}" for run, why in expected.items()]


def test_nothing_yet_gives_an_empty_table(study):
    assert {gap["run"] for gap in collect(study)} == set(study.runs)
    assert load_metrics(study.paths.metrics).empty


def test_evaluation_of_other_weights_is_refused(study):
    write_run(study, BASELINE, weights="n")
    write_evaluation(study, BASELINE, "val", {"cls": {"AP": 20.0}})
    with pytest.raises(InputError, match=re.escape(str(study.paths.evaluation(BASELINE, "val")))):
        collect(study)
    assert not study.paths.metrics.exists()


def test_damaged_evaluation_is_named(study):
    write_run(study, BASELINE)
    write_evaluation(study, BASELINE, "val", {"cls": {"AP": 20.0}})
    path = study.paths.evaluation(BASELINE, "val")
    path.write_text(json.dumps(json.loads(path.read_text()))[:50])
    with pytest.raises(InputError, match=re.escape(str(path))):
        collect(study)


def edited(study, change):
    """Return the error about metrics.csv after ``change(table)``, a table of text."""
    table = pd.read_csv(study.paths.metrics, dtype=str, keep_default_na=False)
    change(table).to_csv(study.paths.metrics, index=False)
    with pytest.raises(InputError) as error:
        load_metrics(study.paths.metrics)
    assert str(study.paths.metrics) in str(error.value)
    return str(error.value)


def test_missing_column_is_named(collected):
    assert "AP75" in edited(collected, lambda table: table.drop(columns="AP75"))


@pytest.mark.parametrize("value", ["high", "120.5", "-1", "nan", "inf"])
def test_value_that_is_no_percentage_is_named_with_its_line(collected, value):
    message = edited(collected, lambda table: table.assign(AP80=[*table["AP80"][:4], value, *table["AP80"][5:]]))
    assert "line 6, column AP80" in message
    assert value in message


def test_row_that_stands_twice_is_named(collected):
    message = edited(collected, lambda table: pd.concat([table, table.iloc[[3]]]))
    assert "second time" in message


def test_unknown_rule_is_refused(collected):
    message = edited(collected, lambda table: table.assign(rule=["best", *table["rule"][1:]]))
    assert "line 2, column rule" in message


@pytest.mark.parametrize("content", ["", "\x00\x01", 'a,b\n"1,2\n'])
def test_file_that_is_no_csv_is_refused(collected, content):
    collected.paths.metrics.write_text(content)
    with pytest.raises(InputError, match=r"metrics\.csv"):
        load_metrics(collected.paths.metrics)


def test_absent_file_says_what_to_run(study):
    with pytest.raises(InputError, match="iou-aware collect"):
        load_metrics(study.paths.metrics)


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
def test_time_of_training_is_that_of_the_device(tmp_path, record, expected):
    study = experiment(tmp_path)
    name = next(iter(study.runs))
    write_run(study, name)
    seal = study.paths.seal(name)
    seal.write_text(json.dumps(json.loads(seal.read_text()) | record))
    write_evaluation(study, name, "val", {"cls": {"AP": 20.0}})
    collect(study)
    row = load_metrics(study.paths.metrics).iloc[0]
    found = row[["train_seconds", "train_cpu_seconds", "train_device_seconds"]]
    assert [None if math.isnan(value) else value for value in found] == expected
