"""Tables: the paper's rows, labels, order and values; ours beside, with gains, intervals, seeds, verdicts and gaps."""

import re

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
from iou_aware.common.errors import InputError

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


def test_row_of_the_paper_that_the_experiment_leaves_out(study, tmp_path):
    assert md_rows(study, "table1")[2][:5] == [r"YOLOv2 \[28\]", "DarkNet-19", "-", "(21.6)", "(44.0)"]
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
    ("comparison", "shift", "gain", "value"),
    [
        ("pattern", 0.0, REPRODUCED, NOT_COMPARED),
        ("pattern", -1.6, INCONCLUSIVE, NOT_COMPARED),
        ("values", 0.0, REPRODUCED, CONTRADICTED),
        ("values", 4.0, CONTRADICTED, REPRODUCED),
    ],
)
def test_gains_are_judged_by_sign_and_where_sizes_can_be_met_by_size_as_values_are(
    tmp_path, comparison, shift, gain, value
):
    """All made-up values are 4.0 below the paper's; its gain with ResNeXt is 1.6, noise 0.3."""
    found = written_table(shifted(tmp_path, shift, comparison=comparison), "table1").loc[("iou_aware_x101", "AP")]
    assert (found["gain_verdict"], found["verdict"]) == (gain, value)


def test_verdicts_are_those_of_the_claims(tmp_path):
    study = shifted(tmp_path, -1.1)
    findings = judge(study)["coco-ap-gain"]["findings"]
    found = written_table(study, "table1").xs("AP", level="metric").loc[ROWS]
    assert found["gain_verdict"].tolist() == [finding.verdict for finding in findings]
    assert found["gain"].tolist() == [finding.quantity.value for finding in findings]
    assert len(set(found["gain_verdict"])) > 1


def test_trainings_on_voc_differ_by_more(tmp_path):
    shift = -0.6  # which leaves 1.6 of 2.2 AP, and of 1.1 half a point
    found = written_table(shifted(tmp_path, shift, "table5"), "table5").xs("AP", level="metric")
    assert found["gain_verdict"].dropna().tolist() == [REPRODUCED, INCONCLUSIVE]


def test_a_gain_has_the_interval_of_the_paired_resamples_of_the_same_weights(tmp_path):
    study = finished(tmp_path)
    runs = [name for name, run in study.runs.items() if run.scale == COCO_RUN["scale"]]
    for name in runs:
        spread(study, name, 3.0 if study.runs[name].is_iou_aware else 1.0)
    found = written_table(study, "table1").xs("AP", level="metric").loc[ROWS]
    # Both move alike with the images, so that of the difference two of the three points are left.
    assert (found["gain_high"] - found["gain_low"]).tolist() == pytest.approx([2.0] * 3, rel=0.1)
    assert (found["gain_low"] < found["gain"]).all() and (found["gain"] < found["gain_high"]).all()
    heads, _, *rows = md_rows(study, "table1", part=1)
    ours = next(place for place, row in enumerate(rows) if "IoU-aware" in row[0])
    low, high = (f"{found.loc['iou_aware_r50', end]:+.2f}".replace("-", "−") for end in ("gain_low", "gain_high"))
    assert rows[ours + 1][0] == "AP" and rows[ours + 1][heads.index("95 % interval")] == f"{low} … {high}"
    assert all("1,000 resamples" in text(study, "table1", suffix) for suffix in ("md", "tex", "html"))
    spread(study, runs[-1], 1.0, weights="x")
    with pytest.raises(InputError, match=r"weights xxx"):
        write_table(study, "table1")


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    """A study of one backbone with three seeds of each model, one of them not trained yet."""
    wanted = tables()["table1"]
    wanted["rows"] = {key: row for key, row in wanted["rows"].items() if key in ("retinanet_r50", "iou_aware_r50")}
    run = COCO_RUN | {"backbone": "tiny", "seed": [0, 1, 2]}
    study = finished(
        tmp_path_factory.mktemp("seeded"),
        by_run(lambda run, _: {"AP": 30.0 + run.seed * (1 if run.is_iou_aware else 0.5)}),
        runs=[run | {"detector": "retinanet"}, run | IOU_AWARE],
        rules=["alpha=0.50"],
        tables={"table1": wanted},
    )
    name = next(name for name, run in study.runs.items() if run.is_iou_aware and run.seed == 2)
    study.paths.evaluation(name, "val").unlink()
    study.paths.seal(name).unlink()
    collect(study)
    write_table(study, "table1")
    return study


def test_seeds_have_number_mean_and_range_and_no_interval(seeded):
    found = written_table(seeded, "table1")
    base, ours = found.loc[("retinanet_r50", "AP")], found.loc[("iou_aware_r50", "AP")]
    assert base[["n", "seeds", "ours", "lowest", "highest"]].tolist() == [3, 3, 30.5, 30.0, 31.0]
    assert ours[["n", "seeds", "ours", "lowest", "highest"]].tolist() == [2, 3, 30.5, 30.0, 31.0]
    # The range of a gain is over the seeds that both have.
    assert ours[["gain", "gain_lowest", "gain_highest"]].tolist() == [0.0, 0.0, 0.5]
    assert found[["low", "high", "gain_low", "gain_high"]].isna().all(axis=None)


def test_every_number_of_ours_is_a_link_to_its_run_and_a_mean_names_all(study, seeded):
    found = written_table(study, "table2").loc["l1"]
    main, comparison = text(study, "table2", "html").split("<details")
    runs = [run for row in study.tables["table2"].rows.values() for run in row.runs]
    rows = [links for row in main.split("<tr") if (links := re.findall('href="../report/index.html#run-(.+?)"', row))]
    # Four rows with values, three with gains.
    assert rows == [[run] * 6 for run in [*runs, *runs[1:]]]
    assert set(re.findall('<a href="../report/index.html#run-(.+?)"', comparison)) == set(runs)
    # What the paper does not say has no verdict.
    assert found["gain"].notna().all()
    assert found[["verdict", "gain_verdict", "paper", "gain_paper"]].isna().all(axis=None)

    main, comparison = text(seeded, "table1", "html").split("<details")
    row = seeded.tables["table1"].rows["iou_aware_r50"]
    assert f'title="mean of {row.runs[0]}, {row.runs[1]}"' in main
    assert re.findall(r"<small>alpha=0.50: (.*?)</small>", comparison) == [
        ", ".join(f'<a href="../report/index.html#run-{run}">{run}</a>' for run in row.runs[:2])
    ]


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
