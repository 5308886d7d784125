"""Tables: the paper's rows, labels, order and values; ours beside; gains, additions and gaps; four formats."""

import pandas as pd
import pytest
from builders.results import (
    SHIFT,
    experiment,
    finished,
    md_rows,
    paper_shaped,
    tables,
    text,
)

from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.paper import headings_of, load_paper
from iou_aware.analysis.tables.write import write_table
from iou_aware.common.errors import InputError

SIZES = ["AP", "AP50", "AP75", "APs", "APm", "APl"]
THRESHOLDS = ["AP", "AP50", "AP60", "AP70", "AP80", "AP90"]
VALUES = ["", "paper", "delta", "verdict", "gain", "gain_paper", "gain_low", "gain_high", "gain_verdict", "gain_why"]
COLUMNS = {"table1": SIZES, "table2": SIZES, "table3": SIZES, "table4": THRESHOLDS, "table5": THRESHOLDS}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    done = finished(tmp_path_factory.mktemp("study"))
    for name in done.tables:
        write_table(done, name)
    return done


def tidy(study, name) -> pd.DataFrame:
    return pd.read_csv(study.paths.table(name, "csv"), dtype={"α": str, "runs": str})


def numbers(study, name) -> pd.DataFrame:
    """Return a table's CSV with its metrics side by side: ``AP``, ``AP_paper``, ``AP_gain`` and so on."""
    table = tidy(study, name).query("`class`.isna()").rename(columns={"ours": ""})
    own = ["table", "metric", "class"]
    shared = table.drop_duplicates("row").set_index("row").drop(columns=[*own, *VALUES])
    wide = table.set_index(["row", "metric"])[VALUES].unstack("metric")
    wide.columns = [metric + (value and f"_{value}") for value, metric in wide.columns]
    return shared.join(wide)


@pytest.mark.parametrize("name", COLUMNS)
def test_rows_and_labels_are_the_papers_in_its_order(study, name):
    paper = load_paper(study.paths.paper(name))
    ours = numbers(study, name)
    added = [key for key, row in study.tables[name].rows.items() if row.addition]
    headings = headings_of(paper)
    assert list(ours.index) == [*paper.index, *added]
    assert ours.index[ours["kind"] == "addition"].tolist() == added
    assert ours.loc[paper.index, headings].equals(paper[headings])


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_the_papers_in_its_order(study, name):
    table = tidy(study, name)
    assert set(table["table"]) == {name}
    for _, lines in table.groupby("row"):
        assert list(lines["metric"]) == COLUMNS[name]
    subscripts = [metric.replace("AP", "AP<sub>", 1) + "</sub>" for metric in COLUMNS[name][1:]]
    assert [head.lower() for head in md_rows(study, name)[0][-6:]] == ["ap", *(part.lower() for part in subscripts)]


@pytest.mark.parametrize("name", COLUMNS)
def test_values_the_papers_and_the_difference(study, name):
    table = numbers(study, name)
    measured = table[table["kind"] == "ours"].drop(index="alpha_0.0", errors="ignore")
    assert len(measured) >= 3
    for metric in COLUMNS[name]:
        assert measured[f"{metric}_delta"].to_numpy() == pytest.approx(-SHIFT)
        assert (measured[metric] - measured[f"{metric}_paper"]).to_numpy() == pytest.approx(-SHIFT)


@pytest.mark.parametrize("name", COLUMNS)
def test_gains_over_the_baseline_are_the_papers(study, name):
    """Ours are the paper's values less a constant, so that the gains must be equal."""
    table = numbers(study, name).drop(index="alpha_0.0", errors="ignore")
    gaining = table[table["baseline"].notna() & (table["kind"] == "ours")]
    assert len(gaining) == {"table1": 3, "table2": 2, "table3": 11, "table4": 11, "table5": 2}[name]
    for metric in COLUMNS[name]:
        assert gaining[f"{metric}_gain"].to_numpy() == pytest.approx(gaining[f"{metric}_gain_paper"].to_numpy())


def test_cited_rows_have_the_papers_values_alone(study):
    cited = numbers(study, "table1").query("kind == 'cited'")
    assert len(cited) == 7
    assert cited["AP"].isna().all()
    assert cited["AP_paper"].notna().all()
    assert md_rows(study, "table1")[2][:5] == [r"YOLOv2 \[28\]", "DarkNet-19", "-", "(21.6)", "(44.0)"]


def test_tables_of_a_study_without_any_result(tmp_path):
    study = experiment(tmp_path)
    collect(study)
    for name in study.tables:
        assert [path.suffix for path in write_table(study, name)] == [".csv", ".md", ".tex", ".html"]
        assert numbers(study, name)["n"].sum() == 0


def test_row_of_the_paper_that_the_experiment_leaves_out(tmp_path):
    wanted = tables()
    del wanted["table2"]["rows"]["l2"]
    study = finished(tmp_path, tables=wanted)
    write_table(study, "table2")
    assert md_rows(study, "table2")[3][:2] == ["L2 loss", "– (35.1)"]
    assert "l2 (no run in this experiment)" in text(study, "table2", "md")


def test_row_that_is_neither_the_papers_nor_an_addition_is_refused(tmp_path):
    wanted = tables()
    wanted["table2"]["rows"]["l1"].pop("addition")
    with pytest.raises(InputError, match=r"l1"):
        write_table(finished(tmp_path, tables=wanted), "table2")


def test_voc_values_stand_beside_the_paper_by_both_protocols(tmp_path):
    wanted = tables()
    wanted["table5"]["columns"] = ["VOC07_AP", "VOC07_AP70"]

    def with_voc07(study) -> dict:
        values = paper_shaped(study)
        for metrics in values.values():
            metrics |= {"VOC07_AP": max(metrics["AP"] - 1, 0), "VOC07_AP70": None}
        return values

    study = finished(tmp_path, with_voc07, tables=wanted)
    write_table(study, "table5")
    row = numbers(study, "table5").loc["iou_aware_r50"]
    assert row[["AP_paper", "VOC07_AP_paper", "VOC07_AP70_paper"]].tolist() == [53.6, 53.6, 66.1]
    assert row[["AP_delta", "VOC07_AP_delta", "VOC07_AP_gain"]].tolist() == pytest.approx([-4.0, -5.0, 2.2])
    assert "VOC07: AP over 11 recalls" in text(study, "table5", "md")


def test_writing_again_gives_the_same_bytes(study):
    before = {path: path.read_bytes() for path in write_table(study, "table1")}
    assert {path: path.read_bytes() for path in write_table(study, "table1")} == before


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
