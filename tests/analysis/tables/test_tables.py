"""Tables: the paper's rows, labels, order and values; ours beside, with gains, intervals, seeds, verdicts and gaps."""

import pytest
from builders.results import COCO_RUN, IOU_AWARE, SHIFT, by_run, finished, md_rows, spread, tables, text, written_table

from iou_aware.analysis.claims.claims import judge
from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.metrics import headings_of, load_paper, metrics_of
from iou_aware.analysis.tables.write import write_table
from iou_aware.analysis.uncertainty.verdict import NOT_RUN
from iou_aware.common.messages import InputError

ROWS = ["iou_aware_r50", "iou_aware_r101", "iou_aware_x101"]
MODELS = ("retinanet", "iou_aware")


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


def test_voc_values_stand_beside_the_paper_by_both_protocols(tmp_path):
    wanted = tables()["table5"] | {"columns": ["VOC07_AP", "VOC07_AP70"]}
    values = by_run(lambda run, _: {"AP": 50.0, "VOC07_AP": 49.0 + 2 * run.is_iou_aware})
    study = finished(tmp_path, values, tables={"table5": wanted})
    row = written_table(study, "table5").loc["iou_aware_r50"]
    assert row.loc[["AP", "VOC07_AP", "VOC07_AP70"], "paper"].tolist() == [53.6, 53.6, 66.1]
    assert row.loc[["AP", "VOC07_AP"], "delta"].tolist() == pytest.approx([-3.6, -2.6])
    assert row.loc["VOC07_AP", "gain"] == pytest.approx(2)
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


def test_verdicts_are_those_of_the_claims(study):
    claims, verdicts = judge(study), []
    for claim, table in [("coco-ap-gain", "table1"), ("voc-ap-gain", "table5")]:
        findings = claims[claim]["findings"]
        found = written_table(study, table).xs("AP", level="metric").loc[ROWS[: len(findings)]]
        assert found["gain_verdict"].tolist() == [finding.verdict for finding in findings]
        assert found["gain"].tolist() == [finding.quantity.value for finding in findings]
        verdicts += found["gain_verdict"].tolist()
    assert len(verdicts) == 5 and len(set(verdicts)) > 1


def test_means_are_over_the_seeds_that_are_there_and_what_is_missing_says_why(tmp_path):
    """Of three seeds of an IoU-aware model one is not trained yet, and with another backbone none is predicted."""
    wanted = tables()["table1"]
    wanted["rows"] = {f"{model}_{key}": wanted["rows"][f"{model}_{key}"] for model in MODELS for key in ("r50", "r101")}
    wanted["rows"]["mine"] = wanted["rows"]["retinanet_r50"] | {"addition": True}
    run = COCO_RUN | {"backbone": ["tiny", "deep"], "seed": [0, 1, 2]}
    study = finished(
        tmp_path,
        by_run(lambda run, _: {"AP": 30.0 + run.seed * (1 if run.is_iou_aware else 0.5)}),
        runs=[run | {"detector": "retinanet"}, run | IOU_AWARE],
        rules=["alpha=0.50"],
        tables={"table1": wanted},
    )
    rows = study.tables["table1"].rows
    study.paths.seal(rows["iou_aware_r50"].runs[-1]).unlink()
    for name in (rows["iou_aware_r50"].runs[-1], *rows["iou_aware_r101"].runs):
        study.paths.evaluation(name, "val").unlink()
    collect(study)
    table = written_table(study, "table1")
    found = table.xs("AP", level="metric")
    counted = found[["n", "seeds", "ours", "lowest", "highest"]]
    assert counted.loc["retinanet_r50"].tolist() == [3, 3, 30.5, 30.0, 31.0]
    assert counted.loc["iou_aware_r50"].tolist() == [2, 3, 30.5, 30.0, 31.0]
    # The range of a gain is over the seeds that both have.
    assert found.loc["iou_aware_r50", ["gain", "gain_lowest", "gain_highest"]].tolist() == [0.0, 0.0, 0.5]
    assert table[["low", "high", "gain_low", "gain_high"]].isna().all(axis=None)
    absent = found.loc["iou_aware_r101"]
    assert absent[["n", "gain_verdict"]].tolist() == [0, NOT_RUN]
    assert all("is not predicted on val" in absent[why] for why in ("why", "gain_why"))
    assert found.loc["yolov2", ["verdict", "why"]].isna().all()
    assert found.loc["mine", ["kind", "Model"]].tolist() == ["addition", "mine"]
    for suffix in ("md", "tex", "html"):
        assert "is not predicted on val" in text(study, "table1", suffix)
    assert [r"Faster R-CNN\*", "ResNet-50-FPN", "1x", "– (36.2)"] in [row[:4] for row in md_rows(study, "table1")]
    assert r"faster\_rcnn\_r50 (no run in this experiment)" in text(study, "table1", "md")
    spread(study, rows["iou_aware_r50"].runs[0], 1.0, weights="x")
    with pytest.raises(InputError, match=r"weights xxx"):
        write_table(study, "table1")
