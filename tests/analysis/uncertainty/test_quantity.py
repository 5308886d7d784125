"""Sums over cells of a table: value, interval, seeds and noise, each worked out by hand from the same numbers."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from builders.results import IOU_AWARE, SMALL_RUN, by_run, finished, own_table, spread
from scipy import stats

from iou_aware.analysis.bootstrap import resamples
from iou_aware.analysis.metrics import load_metrics
from iou_aware.analysis.uncertainty.quantity import Measurements
from iou_aware.common.messages import InputError
from iou_aware.evaluation import intervals

NOISE = {"runs": 0.6, "rules": 0.2}
# AP by row and seed.
VALUES = {"baseline": (30.0, 31.0), "none": (31.0, 33.0), "half": (32.0, 34.5)}
# Rows by the rule that they show.
KEYS = {"cls": "baseline", "none": "none", "alpha=0.50": "half"}
MODELS = {"cls": {"detector": "retinanet"}} | {rule: IOU_AWARE | {"rule": rule} for rule in ("none", "alpha=0.50")}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two seeds of a baseline and an IoU-aware run, with resamples, whose rules and runs vary each for itself."""
    made = finished(
        tmp_path_factory.mktemp("quantity"),
        by_run(lambda run, rule: {"AP": VALUES[KEYS[rule]][run.seed]}),
        runs=[run | {"seed": [0, 1]} for run in (SMALL_RUN | {"detector": "retinanet"}, SMALL_RUN | IOU_AWARE)],
        rules=["none", "alpha=0.50"],
        tables={"gains": own_table({key: MODELS[rule] for rule, key in KEYS.items()})},
    )
    for place, run in enumerate(made.runs):
        spread(made, run, 1.0 + place)
    return made


def quantity(study, sums, **changes):
    given = {"table": study.tables["gains"], "paper": "table3", "noise": NOISE} | changes
    return Measurements(study).quantity("a number", sums, **given)


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


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    """Three seeds of two IoU-aware runs and of two baselines, one of another backbone, without resamples."""
    rows = {"baseline": MODELS["cls"], "bce": MODELS["none"], "half": MODELS["alpha=0.50"]}
    rows |= {"deep": MODELS["cls"] | {"backbone": "deep"}, "l2": MODELS["none"] | {"iou_loss": "l2"}}
    random = np.random.default_rng(0)
    made = finished(
        tmp_path_factory.mktemp("seeded"),
        # Faster R-CNN is no detector that the IoU head is compared on: however it scatters, the others do not.
        by_run(lambda run, _: {"AP": 50 + random.normal(0, 9 if run.detector == "faster_rcnn" else 1)}),
        runs=[
            SMALL_RUN | run | {"seed": [0, 1, 2]}
            for run in (
                {"detector": "retinanet", "backbone": ["tiny", "deep"]},
                {"detector": "faster_rcnn"},
                IOU_AWARE | {"iou_loss": ["bce", "l2"]},
            )
        ],
        rules=["none", "alpha=0.50"],
        tables={"gains": own_table(rows)},
    )
    metrics = load_metrics(made.paths.metrics).set_index(["run", "rule"])["AP"]
    shown = [(key, row.runs, row.rule) for key, row in made.tables["gains"].rows.items()]
    shown.append(("l2 half", made.tables["gains"].rows["l2"].runs, "alpha=0.50"))
    by_seed = {key: np.array([metrics[run, rule] for run in runs]) for key, runs, rule in shown}
    return made, by_seed


def about_mean(*rows: np.ndarray) -> np.ndarray:
    return np.array([row - row.mean() for row in rows])


def test_three_seeds_of_a_difference_of_runs_measure_the_noise_by_what_each_run_has_of_its_own(seeded):
    """All runs of the backbone at that rule count; what a seed does to all three of them is taken away."""
    study, by_seed = seeded
    left = about_mean(by_seed["baseline"], by_seed["bce"], by_seed["l2"])
    squares = ((left - left.mean(0)) ** 2).sum()
    for row, over in [("bce", "baseline"), ("bce", "l2")]:
        found = quantity(study, [[(1.0, row, "AP"), (-1.0, over, "AP")]])
        half = stats.t.ppf(0.975, 4) * np.sqrt(squares / 4 * 2 / 3)
        assert (found.high - found.value, found.value - found.low) == pytest.approx((half, half))
    # The other backbone has no run beside its own, and says nothing of differences.
    twice = quantity(study, [[(2.0, "bce", "AP"), (-2.0, "baseline", "AP")]])
    assert twice.high - twice.value == pytest.approx(2 * half)


def test_three_seeds_of_two_rules_measure_the_noise_by_all_runs_that_have_both(seeded):
    study, by_seed = seeded
    found = quantity(study, [[(1.0, "half", "AP"), (-1.0, "bce", "AP")]])
    left = about_mean(by_seed["half"] - by_seed["bce"], by_seed["l2 half"] - by_seed["l2"])
    own = ((left - left.mean(0)) ** 2).sum()
    common, squares = (left**2).sum() - own, (left**2).sum()
    freedom = squares**2 / (common**2 / 2 + own**2 / 2)
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, freedom) * np.sqrt(squares / freedom / 3))


def test_rows_of_two_backbones_are_not_paired_and_a_number_that_no_training_changes_stays_sure(seeded):
    study, by_seed = seeded
    found = quantity(study, [[(1.0, "deep", "AP"), (-1.0, "baseline", "AP")]])
    left, other = about_mean(by_seed["baseline"]), about_mean(by_seed["deep"])
    squares = (left**2).sum() + (other**2).sum()
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 4) * np.sqrt(squares / 4 * 2 / 3))
    sure = quantity(study, [[(1.0, "half", "AP"), (-1.0, "bce", "AP")]], noise={"runs": 0.6, "rules": 0})
    assert sure.low == sure.value == sure.high


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
    elsewhere = quantity(study, [[(1.0, "half", "AP")]], table=None)
    assert elsewhere.missing == "table3 is not among this experiment's tables"


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
    unknown = quantity(study, [[(1.0, "half", "VOC07_AP")]])
    assert unknown.missing == f"no value of {run} under the rule alpha=0.50 on val"


def test_a_run_of_another_experiment_is_named_with_its_line(study):
    runs = dict(list(study.runs.items())[:-1])
    named = rf"metrics\.csv, line 6, column run: found '{list(study.runs)[-1]}'.*experiment study; run"
    with pytest.raises(InputError, match=named):
        Measurements(replace(study, runs=runs))
