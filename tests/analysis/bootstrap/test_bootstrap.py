"""The bootstrap against pycocotools: evaluating duplicated images must give what weighting them gives."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders.detections import noisy, official, scene, write_dataset, write_detections
from builders.results import AWARE, BASELINE, experiment
from scipy import stats

from iou_aware.analysis.bootstrap import resamples
from iou_aware.common.messages import InputError
from iou_aware.evaluation import coco, resampled
from iou_aware.evaluation.lrp import errors, resampled_errors
from iou_aware.evaluation.matching import match, match_areas

IMAGES = 12


def duplicated(content: dict, found: np.ndarray, weights: np.ndarray) -> tuple[dict, np.ndarray]:
    """Return ground truth and detections with every image as often as its weight, under new ids in the same order."""
    images, annotations, results = [], [], []
    for image, times in zip(content["images"], weights, strict=True):
        for _ in range(times):
            new = len(images) + 1
            images.append(image | {"id": new})
            for annotation in content["annotations"]:
                if annotation["image_id"] == image["id"]:
                    annotations.append(annotation | {"id": len(annotations) + 1, "image_id": new})
            mine = found[found[:, 0] == image["id"]].copy()
            mine[:, 0] = new
            results.append(mine)
    return content | {"images": images, "annotations": annotations}, np.concatenate(results)


def drawn_metrics(path, found: np.ndarray, resamples: int) -> dict[str, np.ndarray]:
    """Return the metrics of detections in each resample."""
    evaluator = coco.CocoEvaluator(path)
    weights = list(resampled.draws(len(evaluator.image_ids), resamples))
    return resampled.distributions(match_areas(evaluator, found), weights)[0]


@pytest.mark.parametrize("seed", [0, 1])
def test_weighting_images_equals_evaluating_their_copies_with_pycocotools(tmp_path, seed):
    path = tmp_path / "truth.json"
    content = scene(path, seed)
    found = noisy(content, seed + 10)
    drawn = next(resampled.draws(IMAGES, 8))
    values = drawn_metrics(path, found, 8)
    matches = match(coco.CocoEvaluator(path), found)
    values["AR100"] = 100 * resampled.over_classes(resampled.recalls(matches, [drawn])).mean(axis=1)
    lrp = resampled_errors(matches, [drawn])
    for index, weights in enumerate(drawn):
        copy, results = duplicated(content, found, weights)
        copy_path = tmp_path / f"copy{index}.json"
        copy_path.write_text(json.dumps(copy))
        expected = coco.summarise(official(copy_path, results).eval)
        of_copies = match(coco.CocoEvaluator(copy_path), results)
        for name, error in errors(of_copies).items():
            assert lrp[name][index] == pytest.approx(error, abs=1e-9), name
        for metric in (*resampled.METRICS, "AR100"):
            wanted = np.nan if expected[metric] is None else expected[metric]
            assert values[metric][index] == pytest.approx(wanted, abs=1e-9, nan_ok=True), metric


def test_nothing_found_is_zero_and_no_object_is_no_value(tmp_path):
    path = tmp_path / "truth.json"
    scene(path)
    nothing = np.zeros((0, 7))
    assert coco.summarise(coco.CocoEvaluator(path).curves(nothing))["AP"] == 0
    assert (drawn_metrics(path, nothing, 4)["AP"] == 0).all()
    weights = np.eye(IMAGES, dtype=int)[:1]  # only the image without objects
    matches = match(coco.CocoEvaluator(path), nothing)
    assert np.isnan(resampled.average_precisions(matches, [weights])).all()
    assert np.isnan([*resampled.correlations(matches, [weights]).values()]).all()


def test_detections_on_unknown_images_are_refused_and_not_left_out(tmp_path):
    path = tmp_path / "truth.json"
    found = noisy(scene(path), 3)
    found[5, 0] = 7
    with pytest.raises(InputError, match=r"truth\.json, entry 5: found image_id 7 "):
        drawn_metrics(path, found, 4)


def test_recall_on_the_grid_is_compared_to_the_last_bit():
    grid = np.linspace(0, 1, 101)
    for objects, reached in enumerate(resampled._recalls_by_count(np.arange(1, 300)), start=1):
        recalls = np.array([found / objects for found in range(objects + 1)])
        assert np.array_equal(reached[: objects + 1], (grid <= recalls[:, None]).sum(axis=1))


def test_weighted_correlations_are_those_of_copies():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 8, 60) / 8, random.integers(0, 9, 60) / 9  # with many ties
    images = random.integers(0, 10, 60)
    weights = next(resampled.draws(10, 30, 3))
    weights[0] = 0
    matches = SimpleNamespace(true=np.ones((1, 60), bool), confidences=first, ious=second, images=images)
    spearman, pearson = resampled.correlations(matches, [weights]).values()
    assert np.isnan([spearman[0], pearson[0]]).all()
    for index, times in enumerate(weights[1:], 1):
        copies = [np.repeat(values, times[images]) for values in (first, second)]
        assert spearman[index] == pytest.approx(stats.spearmanr(*copies)[0])
        assert pearson[index] == pytest.approx(stats.pearsonr(*copies)[0])


def test_draws_are_as_many_as_images_and_the_same_for_equal_seeds():
    first, second = (np.concatenate(list(resampled.draws(7, 250, 5))) for _ in range(2))
    assert first.shape == (250, 7)
    assert (first.sum(axis=1) == 7).all()
    assert np.array_equal(first, second)
    assert not np.array_equal(first, np.concatenate(list(resampled.draws(7, 250, 6))))
    # Counts of draws with replacement: variance 1 - 1/I, not that of a subsample.
    assert first.var() == pytest.approx(1 - 1 / 7, abs=0.08)


def test_stage_writes_every_rule_and_metric_paired_between_runs(tmp_path):
    study = experiment(tmp_path, rules=["none", "alpha=0.50"], tables={})
    content = write_dataset(study)
    write_detections(study, BASELINE, "val", {"cls": noisy(content, 1)})
    write_detections(study, AWARE, "val", {"none": noisy(content, 0), "alpha=0.50": noisy(content, 1)})
    paths = [resamples.resample(study, name, "val", resamples=50) for name in (BASELINE, AWARE)]
    frame = resamples.load(paths[1])
    assert frame["rule"].value_counts().to_dict() == {"none": 50, "alpha=0.50": 50}
    by_rule = {rule: part.set_index("resample") for rule, part in frame.groupby("rule")}
    truth = study.paths.dataset_folder("shapes") / "val.json"
    for metric, expected in drawn_metrics(truth, noisy(content, 1), 50).items():
        # Stored confidences are float32, which keeps their order.
        assert by_rule["alpha=0.50"][metric].tolist() == pytest.approx(expected, nan_ok=True, abs=1e-4)
    spearman = by_rule["none"]["spearman"]
    assert (spearman != by_rule["none"]["pearson"]).any() and (spearman.abs() <= 1).all()
    about = {"resamples": 50, "seed": resampled.SEED, "images": IMAGES, "weights_sha256": "w" * 64}
    assert about.items() <= frame.attrs.items()
    cells = [(frame, "alpha=0.50", "AP"), (resamples.load(paths[0]), "cls", "AP"), (frame, "none", "AP50")]
    ours, theirs, other = resamples.means([([one], *cell) for one, *cell in cells]).T
    assert np.array_equal(ours, by_rule["alpha=0.50"]["AP"]) and np.array_equal(other, by_rule["none"]["AP50"])
    assert ours == pytest.approx(theirs)


def frame(values, **provenance) -> pd.DataFrame:
    """Return resamples of AP under one rule."""
    made = pd.DataFrame({"rule": "cls", "AP": values})
    made.attrs = {"path": "val.parquet"} | provenance
    return made


def test_what_is_not_resampled_has_no_mean():
    made = frame([1.0, 2.0])
    for missing in [([made], "none", "AP"), ([made], "cls", "VOC07_AP"), ([made, None], "cls", "AP")]:
        assert resamples.means([([made], "cls", "AP"), missing]) is None


def test_a_file_of_other_making_is_named_and_none_is_no_frame(tmp_path):
    path = tmp_path / "val.parquet"
    assert resamples.load(path) is None
    pq.write_table(pa.table({"rule": ["cls"], "AP": [1.0]}), path)
    with pytest.raises(InputError, match=r"val\.parquet: expected a file that `iou-aware bootstrap` wrote"):
        resamples.load(path)


@pytest.mark.parametrize("key", ["annotations_sha256", "resamples", "seed"])
def test_resamples_of_different_images_are_not_compared(key):
    about = {"annotations_sha256": 1, "resamples": 1, "seed": 1}
    both = frame([1.0], path="first", **about), frame([1.0], path="second", **about | {key: 2})
    with pytest.raises(InputError, match=f"first and second cannot.*their {key} are 1 and 2"):
        resamples.means([([one], "cls", "AP") for one in both])


def test_folds_of_cross_validation_are_drawn_apart_and_add_up():
    parts = np.random.default_rng(0).random((2, 5))
    folds = [frame(part, path=fold, annotations_sha256=fold, resamples=5, seed=fold) for fold, part in enumerate(parts)]
    assert resamples.means([(folds, "cls", "AP")]) == pytest.approx(parts.mean(0)[:, None])
    drawn = [np.concatenate(list(resampled.draws(9, 20, seed))) for seed in (resampled.SEED, resampled.SEED + 1)]
    assert abs(np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1]) < 0.3
