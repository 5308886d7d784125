"""What stands beside a number: the paper's, the gain and its interval, seeds, verdict and run; and what is missing."""

import re

import pytest
from builders.results import (
    COCO_RUN,
    IOU_AWARE,
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
from iou_aware.analysis.tables.write import write_table
from iou_aware.analysis.uncertainty.verdict import CONTRADICTED, INCONCLUSIVE, NOT_COMPARED, NOT_RUN, REPRODUCED
from iou_aware.common.errors import InputError

ROWS = ["iou_aware_r50", "iou_aware_r101", "iou_aware_x101"]


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
    found = written_table(study, "table1").xs("AP", level="metric")
    assert found.loc["retinanet_r50", "ours"] == 31.9
    assert found.loc[ROWS, "gain_verdict"].tolist() == [NOT_RUN] * 3
    assert "is not trained" in found.loc["iou_aware_r50", "gain_why"]
    assert "is not predicted on val" in found.loc["iou_aware_r101", "why"]
    assert found.loc["yolov2", ["verdict", "why"]].isna().all()
    for suffix in ("md", "tex", "html"):
        assert text(study, "table1", suffix).count("is not trained") >= 7
