"""The collected numbers as frames for notebooks: complete, and gains that agree with the tables'."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from iou_aware.analysis.metrics import load_metrics
from iou_aware.analysis.report import frames


@pytest.fixture(scope="module")
def metrics(study):
    return load_metrics(study.paths.metrics)


def test_every_value_of_the_metrics_is_a_line(study, metrics):
    lines = frames.long(study.runs, metrics, ("AP", "AP75"))
    assert len(lines) == metrics[["AP", "AP75"]].notna().sum().sum()
    lines = lines[lines["metric"] == "AP"].set_index(["run", "rule"])
    assert lines["value"].to_dict() == metrics.set_index(["run", "rule"])["AP"].to_dict()


def test_a_table_has_the_papers_value_where_it_is_printed(study):
    lines = frames.table(study.paths.table("table1", "csv")).set_index(["row", "metric"])["paper"]
    paper = pd.read_csv(study.paths.paper("table1")).set_index("row")
    assert lines.xs("AP75", level="metric")[paper.index].equals(paper["AP75"].rename("paper"))
    assert frames.table(study.paths.table("table9", "csv")).empty


def test_a_sweep_has_every_alpha_of_every_iou_aware_run_and_nothing_else(study, metrics):
    alone = metrics[metrics["rule"] == "alpha=0.50"]
    oracle = pd.concat([metrics, alone.assign(rule="oracle=0.50")], ignore_index=True)
    sweep = frames.sweep(study.runs, oracle)
    assert set(sweep["run"]) == {name for name, run in study.runs.items() if run.is_iou_aware}
    for _, part in sweep.groupby(["run", "metric"]):
        assert part["alpha"].is_monotonic_increasing and part["alpha"].is_unique
    assert sweep["model"].nunique() == sweep["run"].nunique()


def test_what_is_drawn_is_closed_and_the_callers_style_left_alone(study, metrics):
    before, opened = dict(plt.rcParams), plt.get_fignums()

    def draw(data):
        figure, ax = plt.subplots()
        ax.plot(data["alpha"], data["value"])
        return figure

    shown = frames.shown(frames.sweep(study.runs, metrics), draw, "AP & more")
    assert shown.startswith("<figure>") and 'alt="AP &amp; more"' in shown
    assert plt.get_fignums() == opened and dict(plt.rcParams) == before


def test_what_cannot_be_drawn_is_said():
    assert "AP by alpha" in frames.shown(pd.DataFrame(), lambda data: 1 / 0, "AP by alpha")
    said = frames.shown(pd.DataFrame({"value": [1.0]}), lambda data: 1 / 0, "AP by alpha")
    assert "ZeroDivisionError: division by zero" in said and "AP by alpha" in said
