"""Figures: what is drawn, that it is vector with text, and the same bytes every time."""

import xml.dom.minidom
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from builders.results import (
    AWARE,
    BASELINE,
    IOU_AWARE,
    SMALL_RUN,
    by_run,
    experiment,
    finished,
    own_table,
    paper_shaped,
    tables,
    write_evaluation,
    write_run,
)

from iou_aware.analysis import style
from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.figures.captions import figure_caption, figure_section
from iou_aware.analysis.figures.panels import read_panels
from iou_aware.analysis.figures.training import draw_training, load_history
from iou_aware.analysis.figures.write import write_figures
from iou_aware.analysis.premise.measure import TABLES, write_premise
from iou_aware.analysis.uncertainty.quantity import Measurements, Quantity
from iou_aware.common.messages import InputError
from iou_aware.evaluation.intervals import Interval

GAIN, EPOCH = "baseline (points)", "epoch"
# What is drawn of the paper's tables, with a word on each.
EXPECTED = {
    **{"alpha": "AP (%)", "alpha_gain": GAIN, "gain_per_class": GAIN, "gain_per_size": GAIN},
    **{"gain_per_threshold": GAIN, "training_marks_72x72": EPOCH},
    **{"training_shapes_72x72": EPOCH, "training_shapes_96x96": EPOCH},
}


def panels_of(study):
    return read_panels(study, Measurements(study))


def test_figures_are_vectors_with_text_and_a_caption_and_the_same_bytes_when_drawn_again(study):
    drawn = {path.stem: path.read_text() for path in write_figures(study)}
    assert {path.name for path in study.paths.figures.iterdir()} == {f"{name}.svg" for name in EXPECTED}
    for name, shown in EXPECTED.items():
        document = xml.dom.minidom.parseString(drawn[name])
        assert not document.getElementsByTagName("image")
        words = [part.firstChild.data for part in document.getElementsByTagName("text") if part.firstChild]
        assert any(shown in word for word in words), name
        assert figure_caption(name).endswith(".")
    stale = study.paths.figures / "alpha_table9.svg"
    stale.touch()
    assert {path.stem: path.read_text() for path in write_figures(study)} == drawn
    assert not stale.exists()


def test_tables_of_the_same_detections_become_one_panel_whose_gains_are_the_papers(study):
    """Ours are the paper's less a constant, so gains of both are those that the paper states."""
    models, losses, sweep, voc = found = panels_of(study)
    assert [panel.title for panel in found] == ["Table 1", "Table 2", "Table 3 and 4", "Table 5"]
    assert [panel.is_sweep for panel in found] == [False, False, True, False]
    (half,) = (series for series in sweep.series if series.label == "α = 0.5")
    assert set(half.row.paper) >= {"AP", "AP75", "APs", "AP60", "AP90"}
    assert [series.label for series in sweep.thinned().series] == ["α = 1", "α = 0.5", "α = 0.3"]
    assert [series.label for series in models.series] == ["ResNet-50-FPN", "ResNet-101-FPN", "ResNeXt-32x8d-101-FPN"]
    for metric, gains in {"AP": [1.0, 1.1, 1.6], "AP75": [1.7, 2.1, 2.3]}.items():
        assert [series.paper_gain(metric) for series in models.series] == pytest.approx(gains)
        assert [series.gain(metric).value for series in models.series] == pytest.approx(gains)
    assert voc.series[0].paper_gain("AP90") == pytest.approx(4.2)
    assert [series.label for series in losses.series] == ["L2 loss", "BCE loss", "L1 loss"]
    assert losses.series[2].paper_gain("AP") is None
    assert models.series[0].class_gains == pytest.approx({"red_cell": 1.0, "bar": 1.0})


def test_tables_of_the_same_detections_may_name_their_rows_differently(tmp_path):
    printed = tables()["table2"]
    rows = {f"my_{key}": row for key, row in printed["rows"].items()}
    own = {key: value for key, value in printed.items() if key != "paper"} | {"rows": rows, "columns": ["AP"]}
    values = paper_shaped(experiment(tmp_path, tables={"table2": printed}))
    study = finished(tmp_path, lambda _: values, tables={"mine": own, "table2": printed})
    (panel,) = panels_of(study)
    assert panel.title == "Mine and 2"
    assert [series.label for series in panel.series] == ["my_l2", "my_bce", "L1 loss"]
    assert [series.row.paper.get("AP") for series in panel.series] == [35.1, 35.4, None]
    assert [list(series.class_gains) for series in panel.series] == [["red_cell", "bar"]] * 3


def test_a_figure_has_a_section_and_a_caption_that_says_which_of_several_it_is():
    names = ["alpha_table3", "premise_density", "training_shapes_72x72"]
    assert [figure_section(name) for name in names] == ["Figures", "Premise", "Training"]
    assert figure_caption("alpha_table3") == f"{figure_caption('alpha').removesuffix('.')} (table3)."
    assert figure_caption("training_shapes_72x72").endswith(" (shapes, 72x72).")
    with pytest.raises(KeyError, match="scatter"):
        figure_caption("scatter")


def test_half_finished_study(tmp_path):
    """Nothing; then the baseline and alpha = 0.50 of one run: no sweep, but a gain, and the trainings."""
    study = experiment(tmp_path)
    collect(study)
    assert {path.stem: pd.read_csv(path).empty for path in write_premise(study)} == dict.fromkeys(TABLES, True)
    assert write_figures(study) == []
    assert study.paths.figures.is_dir()
    for name, rule, percent in [(BASELINE, "cls", 20.0), (AWARE, "alpha=0.50", 21.0)]:
        write_run(study, name)
        write_evaluation(study, name, "val", {rule: {"AP": percent, "AP50": percent + 9}})
    collect(study)
    drawn = {path.stem for path in write_figures(study)}
    assert drawn == {"gain_per_class", "gain_per_size", "gain_per_threshold", "training_shapes_72x72"}


def test_upper_bound_has_a_figure_of_its_own_and_stays_out_of_the_others(tmp_path):
    alphas, oracles = ([f"{kind}={tenths / 10:.2f}" for tenths in (10, 5, 0)] for kind in ("alpha", "oracle"))
    runs = [SMALL_RUN | {"detector": "retinanet"}, SMALL_RUN | IOU_AWARE | {"rules": oracles}]
    rows = {"baseline": {"detector": "retinanet"}} | {rule: IOU_AWARE | {"rule": rule} for rule in alphas}
    bounds = {rule: IOU_AWARE | {"rule": rule} for rule in oracles}
    wanted = {"sweep": own_table(rows), "bound": own_table(rows | bounds)}
    values = by_run(lambda _, rule: {"AP": 90.0 + oracles.index(rule) if rule in oracles else 30.0})
    study = finished(tmp_path, values, rules=alphas, runs=runs, tables=wanted)
    drawn = {path.stem for path in write_figures(study)}
    assert drawn == {"oracle", *EXPECTED} - {"training_marks_72x72", "training_shapes_96x96"}
    assert "Paper" not in (study.paths.figures / "alpha.svg").read_text()
    sweep, bound = panels_of(study)
    swept = {series.row.rule.alpha: series.row.ours["AP"] for series in bound.by_alpha("oracle")}
    assert list(swept.items()) == [(0.0, 92.0), (0.5, 91.0), (1.0, 90.0)]
    assert (sweep.is_bound, bound.is_bound, sweep.is_sweep) == (False, True, True)
    assert [series.row.rule.alpha for series in sweep.by_alpha()] == [0.0, 0.5, 1.0]
    # As long as the oracle is not measured, its table draws nothing that the other does not.
    write_evaluation(study, AWARE, "val", {rule: {"AP": 30.0} for rule in alphas})
    collect(study)
    assert {path.stem for path in write_figures(study)} == drawn - {"oracle"}
    gains = study.paths.figures / "alpha_gain.svg"
    assert "and another training" in gains.read_text()
    # Seeds that are folds differ by the images that they leave out as well.
    write_figures(replace(study, datasets={name: replace(one, folds=2) for name, one in study.datasets.items()}))
    assert "and another fold" in gains.read_text()


def training_of(study, name: str):
    """Return one figure of the trainings."""
    with style.styled():
        figures = draw_training({run: study.paths.history(name) for name, run in study.runs.items()})
        return next(figure for drawn, figure in figures if drawn == name)


def test_training_curves_show_every_loss_and_run(study):
    figure = training_of(study, "training_shapes_72x72")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["loss", "loss_cls", "loss_bbox", "loss_iou"]
    assert [sum(bool(len(line.get_xdata())) for line in ax.get_lines()) for ax in figure.axes] == [4, 4, 4, 3]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["retinanet", "iou aware retinanet, l2", "iou aware retinanet, bce", "iou aware retinanet, l1"]
    first = figure.axes[0].get_lines()[0].get_xydata().tolist()
    assert first == [[0.5, 0.9], [1.0, 0.8], [1.5, 0.7], [2.0, 0.6]]


def test_seeds_of_a_model_look_alike_and_stand_in_the_legend_once(tmp_path):
    study = experiment(tmp_path, runs=[SMALL_RUN | {"detector": "retinanet", "seed": [0, 1]}], tables={})
    for name in study.runs:
        write_run(study, name)
    figure = training_of(study, "training_shapes_72x72")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["retinanet"]
    assert {line.get_color() for ax in figure.axes for line in ax.get_lines()} == {style.COLOURS[0]}
    assert [len(ax.get_lines()) for ax in figure.axes] == [2, 2, 2]


@pytest.mark.parametrize("line", [True, False])
def test_a_measured_number_has_the_band_of_its_images_that_of_all_and_a_thin_line_per_seed(line):
    """Of a place without a value nothing is drawn."""
    points = [(2, Quantity("", missing="not trained"))]
    for place, value in [(0, 1.0), (1, 2.0), (3, 4.0)]:
        sure, seeds = Interval(value - 1, value + 2), {0: value, 1: value}
        points.append((place, Quantity("", value, None, sure, 2, None, value - 3, value + 4, by_seed=seeds)))
    figure, ax = plt.subplots()
    style.plot_measured(ax, points, line, color="red")
    mean, *seeds = ax.get_lines()
    assert mean.get_xydata().tolist() == [[0, 1], [1, 2], [3, 4]]
    assert [one.get_ydata().tolist() for one in seeds] == ([[1, 2, 4]] * 2 if line else [])
    drawn = []
    for part in ax.collections:
        corners = np.concatenate([path.vertices for path in part.get_paths()])
        drawn.append([sorted({y for x, y in corners if x == place}) for place in (0, 1, 3)])
    assert drawn == [[[-2, 5], [-1, 6], [1, 8]], [[0, 3], [1, 4], [3, 6]]]
    plt.close(figure)


@pytest.mark.parametrize("content", ["", "iteration,loss\n1,1\n", "epoch,iteration,loss\n1,1,x\n"])
def test_malformed_history_is_named(tmp_path, content):
    path = tmp_path / "history.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=r"history\.csv"):
        load_history(path)


def test_series_are_told_apart_without_colour():
    looks = [style.series(index) for index in range(len(style.COLOURS))]
    assert len({look["marker"] for look in looks}) == len({look["color"] for look in looks}) == len(style.DASHES)
    assert len(set(style.DASHES)) == len(style.DASHES)
