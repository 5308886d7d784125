"""The comparison of detections: against pycocotools, and a brute-force derivative of AP."""

import json

import numpy as np
import pandas as pd
import pytest
from builders.detections import noisy, official, scene
from scipy import stats

from iou_aware.common.messages import InputError
from iou_aware.evaluation.coco import CocoEvaluator, summarise, summarise_classes
from iou_aware.evaluation.comparison import compare, differences, holm
from iou_aware.evaluation.intervals import interval
from iou_aware.evaluation.matching import match, match_areas
from iou_aware.evaluation.resampled import average_precisions, distributions, draws, influences

IMAGES = 40


@pytest.fixture
def sides(tmp_path):
    """Ground truth, and detections of a good and of a worse detector."""
    content = scene(tmp_path / "truth.json", images=IMAGES)
    evaluator = CocoEvaluator(tmp_path / "truth.json")
    return evaluator, {"good": noisy(content, 1, 0.02), "worse": noisy(content, 2, 0.12)}


def test_metrics_are_those_of_pycocotools_with_paired_intervals(sides):
    evaluator, sets = sides
    found = compare(evaluator, sets, resamples=200)
    curves = [official(evaluator.annotations, one).eval for one in sets.values()]
    first, second = map(summarise, curves)
    metrics = found.metrics.set_index("metric")
    for metric, expected in first.items():
        row = metrics.loc[metric]
        assert (row["first"], row["value"]) == (expected, second[metric])
        assert row["difference"] == second[metric] - expected
    weights = list(draws(IMAGES, 200))
    drawn = [distributions(match_areas(evaluator, one), weights)[0]["AP75"] for one in sets.values()]
    student = stats.t(IMAGES - 1, second["AP75"] - first["AP75"], (drawn[1] - drawn[0]).std())
    ap75 = metrics.loc["AP75"]
    assert (ap75["low"], ap75["high"]) == pytest.approx(student.interval(0.95))
    assert ap75["p"] == pytest.approx(2 * student.sf(0))
    assert metrics.at["AP75", "verdict"] == metrics.at["AR100", "verdict"] == "surely lower"
    assert metrics.at["olrp", "verdict"] == "surely higher"
    classes = found.classes.set_index("category_id")
    for place, one in enumerate(zip(*map(summarise_classes, curves), strict=True), 1):
        expected = [np.nan if side["AP"] is None else side["AP"] for side in one]
        assert classes.loc[place, ["first", "value"]].tolist() == pytest.approx(expected, nan_ok=True)
    assert classes["verdict"].tolist() == ["surely lower", "surely lower", ""]  # the third class has no object
    shown = ["detections", "class", "first", "value", "difference", "low", "high", "p", "p_holm", "verdict"]
    assert list(classes) == shown
    assert list(found.images)[:3] == ["detections", "image_id", "file_name"]


def test_equal_detections_are_equal_everywhere_and_logits_of_the_same_order_but_in_calibration(sides):
    evaluator, sets = sides
    one, logits = sets["good"].copy(), sets["good"].copy()
    one[:, 5] /= one[:, 5].max()
    logits[:, 5] = 1.5 * one[:, 5]
    found = compare(evaluator, {"one": one, "same": one.copy(), "logits": logits}, resamples=20)
    verdicts = found.metrics.pivot(index="metric", columns="detections", values="verdict")
    assert set(verdicts["same"]) == {"equal"}
    assert verdicts["logits"][["AP", "spearman", "laece"]].tolist() == ["equal", "equal", ""]
    assert found.metrics.loc[found.metrics["metric"] == "laece", "value"].isna().tolist() == [False, True]
    assert found.classes["p_holm"].dropna().tolist() == [1.0] * 4
    assert not found.images["influence"].any()
    with pytest.raises(InputError, match="found 1 set"):
        compare(evaluator, {"one": sets["good"]})


@pytest.mark.parametrize("images", [9, 10])
def test_a_class_on_few_images_is_not_judged(tmp_path, images):
    content = scene(tmp_path / "truth.json", images=30)
    boxes = content["annotations"]
    ids = sorted({one["image_id"] for one in boxes if one["category_id"] == 1 and not one["iscrowd"]})
    content["annotations"] = [one for one in boxes if one["category_id"] == 2 or one["image_id"] in ids[:images]]
    (tmp_path / "truth.json").write_text(json.dumps(content))
    sets = {name: noisy(content, seed) for seed, name in enumerate("AB")}
    classes = compare(CocoEvaluator(tmp_path / "truth.json"), sets, resamples=20).classes
    assert classes["difference"].notna().tolist() == [True, True, False]
    assert classes["p"].notna().tolist() == (classes["verdict"] != "").tolist() == [images == 10, True, False]


def test_equal_detectors_seldom_differ_where_resampling_is_biased():
    """A sum of absolute values, as LaECE is, is larger on resamples than on the images themselves."""
    random, trials = np.random.default_rng(0), 1000
    weights = np.vstack([np.ones((1, IMAGES)), *draws(IMAGES, 200)])

    def gaps() -> pd.DataFrame:
        return pd.DataFrame(abs(np.tensordot(weights, random.normal(size=(IMAGES, 10, trials)), 1)).sum(1))

    first, second = gaps(), gaps()
    assert differences(first, second, IMAGES)["verdict"].isin(["surely higher", "surely lower"]).mean() < 0.06
    changes = (second - first).to_numpy()
    mirrored = [interval(change[0], change[1:]) for change in changes.T]
    assert np.mean([one.low > 0 or one.high < 0 for one in mirrored]) > 0.08


def test_a_metric_that_most_resamples_lack_has_no_verdict():
    first, second = pd.DataFrame({"APs": [1.0, 1.0, 2.0, 3.0]}), pd.DataFrame({"APs": [2.0, np.nan, np.nan, 5.0]})
    row = differences(first, second, 9).loc["APs"]
    assert (row["difference"], row["verdict"]) == (1.0, "") and np.isnan([row["low"], row["p"]]).all()
    second.loc[2] = 4.0
    assert differences(first, second, 9).at["APs", "verdict"] == "surely higher"
    half = [pd.concat([one, one.iloc[1:2]]) for one in (first, second)]
    assert differences(*half, 9).at["APs", "verdict"] == "surely higher"


def test_holm_by_hand():
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.005])
    # 4 x 0.005; 3 x 0.01; 2 x 0.03; and the last not below that before it
    assert holm(p) == pytest.approx([0.03, np.nan, 0.06, 0.06, 0.02], nan_ok=True)
    assert holm(np.array([0.4, 0.9])).tolist() == [0.8, 0.9]
    assert np.isnan(holm(np.full(2, np.nan))).all()


def mean_precision(matches, weights: np.ndarray) -> float:
    """Return the mean over classes, thresholds and objects of the best precision at or behind each, in percent."""
    values = []
    for k in np.unique(matches.object_classes):
        objects = weights[matches.object_images[matches.object_classes == k]].sum()
        mine = np.flatnonzero(matches.classes == k)
        for true, ignored in zip(matches.true, matches.ignored, strict=True):
            right = seen = 0.0
            steps = []
            for i in mine:
                weight = weights[matches.images[i]]
                seen += weight * ~ignored[i]
                right += weight * true[i]
                steps.append((weight * true[i], right / seen if seen else 0.0))
            values.append(
                sum(gain * max(steps[i:], key=lambda s: s[1])[1] for i, (gain, _) in enumerate(steps)) / objects
            )
    return 100 * float(np.mean(values))


def test_influence_is_the_derivative_and_gives_the_spread_of_the_bootstrap(sides):
    evaluator, sets = sides
    matches = match(evaluator, sets["worse"], thresholds=np.array([0.5, 0.75]))
    found, once = influences(matches), np.ones(IMAGES)
    step = 1e-6
    plain = mean_precision(matches, once)
    by_hand = [(mean_precision(matches, once + step * np.eye(IMAGES)[i]) - plain) / step for i in range(IMAGES)]
    assert found == pytest.approx(np.array(by_hand), abs=1e-3)
    assert found.sum() == pytest.approx(0, abs=1e-9)
    drawn = np.nanmean(average_precisions(matches, draws(IMAGES, 1000)), axis=(1, 2))
    assert np.sqrt((found**2).sum()) == pytest.approx(100 * drawn.std(), rel=0.15)
