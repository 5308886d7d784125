"""Sums over cells of a table: value, interval, seeds and noise, each worked out by hand from the same numbers."""

import math

import numpy as np
import pandas as pd
import pytest
from builders.results import SMALL_RUN, experiment, spread, write_results

from iou_aware.analysis.bootstrap import resamples
from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.uncertainty import intervals
from iou_aware.analysis.uncertainty.quantity import Measurements
from iou_aware.common.errors import InputError

NOISE = {"runs": 0.6, "rules": 0.2}
# AP by row and seed.
VALUES = {"baseline": (30.0, 31.0), "none": (31.0, 33.0), "half": (32.0, 34.5)}
AWARE = {"detector": "iou_aware_retinanet", "iou_loss": "bce"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two seeds of a baseline and an IoU-aware run, with resamples, whose rules and runs vary each for itself."""
    rows = {
        "baseline": {"detector": "retinanet"},
        "none": AWARE | {"rule": "none"},
        "half": AWARE | {"rule": "alpha=0.50"},
    }
    made = experiment(
        tmp_path_factory.mktemp("quantity"),
        runs=[SMALL_RUN | {"seed": [0, 1], "detector": "retinanet"}, SMALL_RUN | {"seed": [0, 1]} | AWARE],
        rules=["none", "alpha=0.50"],
        tables={"gains": {"caption": "Ours.", "split": "val", "columns": ["AP"], "select": SMALL_RUN, "rows": rows}},
    )
    values = {
        (run, row.rule): {"AP": VALUES[key][made.runs[run].seed]}
        for key, row in made.tables["gains"].rows.items()
        for run in row.runs
    }
    write_results(made, values)
    collect(made)
    for place, run in enumerate(made.runs):
        spread(made, run, 1.0 + place, alike=False)
    return made


def quantity(study, sums, **changes):
    given = {"table": study.tables["gains"], "paper": "table3", "noise": NOISE} | changes
    return Measurements(study.paths, study.runs).quantity("a number", sums, **given)


@pytest.mark.parametrize(
    ("terms", "noise"),
    [
        ([(1.0, "half")], "runs"),
        ([(1.0, "half"), (-1.0, "baseline")], "runs"),
        ([(1.0, "half"), (-1.0, "none")], "rules"),
        ([(1.0, "half"), (-0.5, "none")], "runs"),
        ([(2.0, "half"), (-1.0, "half"), (-1.0, "none")], "rules"),
    ],
)
def test_a_sum_has_the_mean_the_interval_and_the_noise_of_its_runs(study, terms, noise):
    found = quantity(study, [[(factor, row, "AP") for factor, row in terms]])
    by_seed = [sum(factor * VALUES[row][seed] for factor, row in terms) for seed in (0, 1)]
    assert found.value == pytest.approx(np.mean(by_seed))
    assert (found.seeds, found.span) == (2, pytest.approx((min(by_seed), max(by_seed))))
    drawn = np.zeros(1000)
    for factor, row in terms:
        of_row = study.tables["gains"].rows[row]
        frames = [resamples.load(study.paths.bootstrap(run, "val")) for run in of_row.runs]
        drawn += sum(factor / 2 * frame.loc[frame["rule"] == of_row.rule, "AP"].to_numpy() for frame in frames)
    expected = intervals.interval(found.value, drawn)
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))
    half = NOISE[noise] / math.sqrt(2)
    assert found.value - found.low == pytest.approx(math.hypot(found.value - expected.low, half))
    assert found.high - found.value == pytest.approx(math.hypot(expected.high - found.value, half))
    assert set(found.runs) == {run for _, row in terms for run in study.tables["gains"].rows[row].runs}


def test_one_of_several_sums_is_chosen(study):
    sums = [[(1.0, row, "AP"), (-1.0, "baseline", "AP")] for row in ("none", "half")]
    found = quantity(study, sums, choose=lambda values: values.max(-1))
    assert found.value == pytest.approx(2.75) and found.span == pytest.approx((2.0, 3.5))
    assert found.low < found.interval.low < found.value < found.interval.high < found.high


def test_the_papers_value_is_exact_to_what_it_prints(study):
    printed = pd.read_csv(study.paths.paper("table3"), index_col="row")["AP"]
    found = quantity(study, [[(1.0, "alpha_0.5", "AP"), (-1.0, "baseline", "AP")]])
    assert found.paper == round(printed["alpha_0.5"] - printed["baseline"], 1)
    assert found.missing == "Gains has no row alpha_0.5" and found.value is None
    assert quantity(study, [[(1.0, "half", "AP")]]).paper is None
    assert quantity(study, [[(1.0, "baseline", "AP")]], paper="table9").paper is None
    assert (
        quantity(study, [[(1.0, "half", "AP")]], table=None).missing == "table3 is not among this experiment's tables"
    )


def test_one_seed_has_no_range_and_a_metric_that_is_not_resampled_no_interval(study):
    found = quantity(study, [[(1.0, "half", "train_seconds"), (-1.1, "baseline", "train_seconds")]])
    assert found.interval is None and found.value == pytest.approx(-0.1 * 61.5)
    assert found.high - found.value == pytest.approx(NOISE["runs"] / math.sqrt(2))
    metrics = pd.read_csv(study.paths.metrics)
    every = study.paths.metrics.read_text()
    metrics[metrics["seed"] == 0].to_csv(study.paths.metrics, index=False)
    one = quantity(study, [[(1.0, "half", "AP")]])
    study.paths.metrics.write_text(every)
    assert (one.value, one.seeds, one.span) == (32.0, 1, None)


def test_a_cell_that_cannot_be_known_says_why(study):
    assert quantity(study, [[(1.0, "half", "spearman")]]).missing == "`iou-aware premise` has not run"
    run = study.tables["gains"].rows["half"].runs[0]
    assert (
        quantity(study, [[(1.0, "half", "VOC07_AP")]]).missing == f"no value of {run} under the rule alpha=0.50 on val"
    )


def test_a_run_of_another_experiment_is_named_with_its_line(study):
    runs = dict(list(study.runs.items())[:-1])
    with pytest.raises(
        InputError, match=rf"metrics\.csv, line 6: unknown run '{list(study.runs)[-1]}'.*experiment study"
    ):
        Measurements(study.paths, runs)
