"""Tables: the paper's rows, labels, order and values; ours beside, with gains, intervals, seeds, verdicts and gaps."""

import pytest
from builders.results import (
    COCO_RUN,
    IOU_AWARE,
    SHIFT,
    by_run,
    experiment,
    finished,
    md_rows,
    paper_shaped,
    spread,
    tables,
    text,
    write_evaluation,
    write_run,
    written_table,
)

from iou_aware.analysis.claims.judge import judge
from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.paper import headings_of, load_paper, metrics_of
from iou_aware.analysis.tables.write import write_table
from iou_aware.analysis.uncertainty.verdict import CONTRADICTED, INCONCLUSIVE, NOT_COMPARED, NOT_RUN, REPRODUCED
from iou_aware.common.messages import InputError

ROWS = ["iou_aware_r50", "iou_aware_r101", "iou_aware_x101"]


@pytest.mark.parametrize(
    ("name", "gaining"), [("table1", 3), ("table2", 2), ("table3", 11), ("table4", 11), ("table5", 2)]
)
def test_rows_labels_columns_and_gains_are_the_papers(study, name, gaining):
    """Ours are the paper's values less a constant, so that the gains must be equal."""
    paper, table = load_paper(study.paths.paper(name)), written_table(study, name)
    metrics = metrics_of(paper)
    added = [key for key, row in study.content["tables"][name]["rows"].items() if row.get("addition")]
    assert list(table.index) == [(key, metric) for key in (*paper.index, *added) for metric in metrics]
    assert set(table["table"]) == {name}
    first = table.xs("AP", level="metric")
    assert first.index[first["kind"] == "addition"].tolist() == added
    # What the paper does not say has no verdict.
    assert first.loc[added, "gain"].notna().all()
    assert first.loc[added, ["verdict", "gain_verdict", "paper", "gain_paper"]].isna().all(axis=None)
    assert first.loc[paper.index, headings_of(paper)].equals(paper[headings_of(paper)])
    subscripts = [f"ap<sub>{metric[2:].lower()}</sub>" for metric in metrics[1:]]
    assert [head.lower() for head in md_rows(study, name)[0][-6:]] == ["ap", *subscripts]

    cited = table[table["kind"] == "cited"]
    assert len(cited) == (7 * 6 if name == "table1" else 0)
    assert cited["ours"].isna().all() and cited["paper"].notna().all()
    ours = table[table["kind"] == "ours"].drop(index="alpha_0.0", level="row", errors="ignore")
    for difference in (ours["delta"], ours["ours"] - ours["paper"]):
        assert difference.to_numpy() == pytest.approx(-SHIFT)
    gains = ours[ours["baseline"].notna()]
    assert len(gains) == gaining * 6
    assert gains["gain"].to_numpy() == pytest.approx(gains["gain_paper"].to_numpy())


def test_row_of_the_paper_that_the_experiment_leaves_out(tmp_path):
    wanted = tables()
    del wanted["table2"]["rows"]["l2"]
    made = finished(tmp_path, tables=wanted)
    write_table(made, "table2")
    assert md_rows(made, "table2")[3][:2] == ["L2 loss", "– (35.1)"]
    assert "l2 (no run in this experiment)" in text(made, "table2", "md")
    del wanted["table2"]["rows"]["l1"]["addition"]
    with pytest.raises(InputError, match=r"unknown row of .*addition: true"):
        experiment(tmp_path, tables=wanted)


def test_voc_values_stand_beside_the_paper_by_both_protocols(tmp_path):
    wanted = tables()
    wanted["table5"]["columns"] = ["VOC07_AP", "VOC07_AP70"]

    def with_voc07(study) -> dict:
        values = paper_shaped(study)
        for metrics in values.values():
            metrics |= {"VOC07_AP": max(metrics["AP"] - 1, 0), "VOC07_AP70": None}
        return values

    study = finished(tmp_path, with_voc07, tables=wanted)
    row = written_table(study, "table5").loc["iou_aware_r50"]
    assert row.loc[["AP", "VOC07_AP", "VOC07_AP70"], "paper"].tolist() == [53.6, 53.6, 66.1]
    assert row.loc[["AP", "VOC07_AP"], "delta"].tolist() == pytest.approx([-4.0, -5.0])
    assert row.loc["VOC07_AP", "gain"] == pytest.approx(2.2)
    assert "VOC07: AP over 11 recalls" in text(study, "table5", "md")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("34.3", ""), "line 2, column AP"),
        (("l2,0", "baseline,0"), "second time"),
        (("bce,0", "bce,2"), "column cited"),
        (("cited,", "quoted,"), "line 1"),
    ],
)
def test_malformed_table_of_the_paper_is_refused(tmp_path, study, change, complaint):
    path = tmp_path / "table2.csv"
    path.write_text(study.paths.paper("table2").read_text().replace(*change))
    with pytest.raises(InputError, match=complaint):
        load_paper(path)


def shifted(folder, shift: float, table: str = "table1", comparison: str = "pattern"):
    """Return a study of the paper's values in which the rows of IoU-aware models of a table are moved."""

    def moved(study) -> dict:
        values = paper_shaped(study)
        for row in study.tables[table].rows.values():
            for run in row.runs:
                if study.runs[run].is_iou_aware:
                    values[run, row.rule]["AP"] += shift
        return values

    return finished(folder, moved, comparison=comparison)


@pytest.mark.parametrize(
    ("table", "comparison", "shift", "gain", "value"),
    [
        ("table1", "pattern", -0.5, REPRODUCED, NOT_COMPARED),
        ("table5", "pattern", -0.5, INCONCLUSIVE, NOT_COMPARED),
        ("table1", "values", 0.0, REPRODUCED, CONTRADICTED),
        ("table1", "values", 4.0, CONTRADICTED, REPRODUCED),
    ],
)
def test_gains_are_judged_by_sign_and_where_sizes_can_be_met_by_size_as_values_are(
    tmp_path, table, comparison, shift, gain, value
):
    """All made-up values are 4.0 below the paper's; its gains are 1.1, noise 0.3 and on VOC 1.1."""
    found = written_table(shifted(tmp_path, shift, table, comparison), table).loc[("iou_aware_r101", "AP")]
    assert (found["gain_verdict"], found["verdict"]) == (gain, value)


def test_verdicts_are_those_of_the_claims(tmp_path):
    study = shifted(tmp_path, -1.1)
    findings = judge(study)["coco-ap-gain"]["findings"]
    found = written_table(study, "table1").xs("AP", level="metric").loc[ROWS]
    assert found["gain_verdict"].tolist() == [finding.verdict for finding in findings]
    assert found["gain"].tolist() == [finding.quantity.value for finding in findings]
    assert len(set(found["gain_verdict"])) > 1


def test_a_gain_has_the_interval_of_the_paired_resamples_of_the_same_weights(tmp_path):
    study = finished(tmp_path)
    runs = [name for name, run in study.runs.items() if run.scale == COCO_RUN["scale"]]
    for name in runs:
        spread(study, name, 3.0 if study.runs[name].is_iou_aware else 1.0)
    found = written_table(study, "table1").xs("AP", level="metric").loc[ROWS]
    # Both move alike with the images, so that of the difference two of the three points are left.
    assert (found["gain_high"] - found["gain_low"]).tolist() == pytest.approx([2.0] * 3, rel=0.1)
    assert (found["gain_low"] < found["gain"]).all() and (found["gain"] < found["gain_high"]).all()
    assert all("1,000 resamples" in text(study, "table1", suffix) for suffix in ("md", "tex", "html"))
    spread(study, runs[-1], 1.0, weights="x")
    with pytest.raises(InputError, match=r"weights xxx"):
        write_table(study, "table1")


def test_seeds_have_number_mean_and_range_and_no_interval(tmp_path):
    """Of three seeds of an IoU-aware model one is not trained yet."""
    wanted = tables()["table1"]
    wanted["rows"] = {key: row for key, row in wanted["rows"].items() if key in ("retinanet_r50", "iou_aware_r50")}
    run = COCO_RUN | {"backbone": "tiny", "seed": [0, 1, 2]}
    study = finished(
        tmp_path,
        by_run(lambda run, _: {"AP": 30.0 + run.seed * (1 if run.is_iou_aware else 0.5)}),
        runs=[run | {"detector": "retinanet"}, run | IOU_AWARE],
        rules=["alpha=0.50"],
        tables={"table1": wanted},
    )
    last = study.tables["table1"].rows["iou_aware_r50"].runs[-1]
    study.paths.evaluation(last, "val").unlink()
    study.paths.seal(last).unlink()
    collect(study)
    found = written_table(study, "table1")
    base, ours = found.loc[("retinanet_r50", "AP")], found.loc[("iou_aware_r50", "AP")]
    assert base[["n", "seeds", "ours", "lowest", "highest"]].tolist() == [3, 3, 30.5, 30.0, 31.0]
    assert ours[["n", "seeds", "ours", "lowest", "highest"]].tolist() == [2, 3, 30.5, 30.0, 31.0]
    # The range of a gain is over the seeds that both have.
    assert ours[["gain", "gain_lowest", "gain_highest"]].tolist() == [0.0, 0.0, 0.5]
    assert found[["low", "high", "gain_low", "gain_high"]].isna().all(axis=None)


def test_partial_metrics_give_a_table_in_which_the_rest_is_missing_with_its_reason(tmp_path):
    study = experiment(tmp_path)
    rows = study.tables["table1"].rows
    (base,), (trained,) = rows["retinanet_r50"].runs, rows["iou_aware_r101"].runs
    for name in (base, trained):
        write_run(study, name)
    write_evaluation(study, base, "val", {"cls": {"AP": 31.9}})
    collect(study)
    assert all(written_table(study, name)["n"].sum() == 0 for name in study.tables if name != "table1")
    found = written_table(study, "table1").xs("AP", level="metric")
    assert found.loc["retinanet_r50", "ours"] == 31.9
    assert found.loc[ROWS, "gain_verdict"].tolist() == [NOT_RUN] * 3
    assert "is not trained" in found.loc["iou_aware_r50", "gain_why"]
    assert "is not predicted on val" in found.loc["iou_aware_r101", "why"]
    assert found.loc["yolov2", ["verdict", "why"]].isna().all()
    for suffix in ("md", "tex", "html"):
        assert text(study, "table1", suffix).count("is not trained") >= 7
