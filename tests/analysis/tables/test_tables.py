"""Tables: the paper's rows, labels, order and values; ours beside; gains, additions and gaps; four formats."""

import pytest
from builders.results import SHIFT, experiment, finished, md_rows, paper_shaped, tables, text, written_table

from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.paper import headings_of, load_paper
from iou_aware.analysis.tables.write import write_table
from iou_aware.common.errors import InputError

SIZES = ["AP", "AP50", "AP75", "APs", "APm", "APl"]
THRESHOLDS = ["AP", "AP50", "AP60", "AP70", "AP80", "AP90"]


@pytest.mark.parametrize(
    ("name", "metrics", "gaining"),
    [
        ("table1", SIZES, 3),
        ("table2", SIZES, 2),
        ("table3", SIZES, 11),
        ("table4", THRESHOLDS, 11),
        ("table5", THRESHOLDS, 2),
    ],
)
def test_rows_labels_columns_and_gains_are_the_papers(study, name, metrics, gaining):
    """Ours are the paper's values less a constant, so that the gains must be equal."""
    paper, table = load_paper(study.paths.paper(name)), written_table(study, name)
    added = [key for key, row in study.content["tables"][name]["rows"].items() if row.get("addition")]
    assert list(table.index) == [(key, metric) for key in (*paper.index, *added) for metric in metrics]
    assert set(table["table"]) == {name}
    first = table.xs("AP", level="metric")
    assert first.index[first["kind"] == "addition"].tolist() == added
    assert first.loc[paper.index, headings_of(paper)].equals(paper[headings_of(paper)])
    subscripts = [f"ap<sub>{metric[2:].lower()}</sub>" for metric in metrics[1:]]
    assert [head.lower() for head in md_rows(study, name)[0][-6:]] == ["ap", *subscripts]

    cited = table[table["kind"] == "cited"]
    assert len(cited) == (7 * 6 if name == "table1" else 0)
    assert cited["ours"].isna().all() and cited["paper"].notna().all()
    ours = table[table["kind"] == "ours"].drop(index="alpha_0.0", level="row", errors="ignore")
    assert ours["delta"].to_numpy() == pytest.approx(-SHIFT)
    assert (ours["ours"] - ours["paper"]).to_numpy() == pytest.approx(-SHIFT)
    gains = ours[ours["baseline"].notna()]
    assert len(gains) == gaining * 6
    assert gains["gain"].to_numpy() == pytest.approx(gains["gain_paper"].to_numpy())


def test_tables_of_a_study_without_any_result(tmp_path):
    study = experiment(tmp_path)
    collect(study)
    for name in study.tables:
        written = write_table(study, name)
        assert [path.suffix for path in written] == [".csv", ".md", ".tex", ".html"]
        assert written_table(study, name)["n"].sum() == 0


def test_row_of_the_paper_that_the_experiment_leaves_out(study, tmp_path):
    assert md_rows(study, "table1")[2][:5] == [r"YOLOv2 \[28\]", "DarkNet-19", "-", "(21.6)", "(44.0)"]
    wanted = tables()
    del wanted["table2"]["rows"]["l2"]
    made = finished(tmp_path, tables=wanted)
    write_table(made, "table2")
    assert md_rows(made, "table2")[3][:2] == ["L2 loss", "– (35.1)"]
    assert "l2 (no run in this experiment)" in text(made, "table2", "md")
    del wanted["table2"]["rows"]["l1"]["addition"]
    with pytest.raises(InputError, match="has no such row to reproduce"):
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
        (("34.3", "high"), "line 2, column AP"),
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
