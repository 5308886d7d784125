"""Results files of other programs: what is wrong with them is refused, with its place, or noted."""

import contextlib
import json

import numpy as np
import pytest
from builders.detections import entries, noisy, renumbered, scene, write_truth

from iou_aware.common.messages import InputError
from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.results import read_results


def read(folder, truth: dict, results: list | str) -> np.ndarray:
    """Write ground truth and a results file, and read the results."""
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "A.json").write_text(results if isinstance(results, str) else json.dumps(results))
    return read_results(folder / "A.json", CocoEvaluator(folder / "truth.json"))


@pytest.fixture
def truth(tmp_path):
    return scene(tmp_path / "truth.json")


@pytest.fixture
def found(truth):
    return noisy(truth, 1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "cut short"),
        ('[{"image_id": 20', "cut short"),
        ("[]", "found an empty list"),
        ("3", "found a float"),
        ('{"images": [], "annotations": []}', "found annotations, not results"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_results_file_is_refused(tmp_path, truth, text, named):
    with pytest.raises(InputError, match=rf"A\.json: .*{named}.*expected a list of detections"):
        read(tmp_path, truth, text)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        (None, {}, "found image_id None, expected a number"),
        (None, [1, 2], "found image_id None"),
        ("image_id", "20", "found image_id '20', expected a number"),
        ("image_id", 20.5, "found image_id 20.5, expected a whole number"),
        ("image_id", 21, "found image_id 21 .1 such detections.*10 to 120"),
        ("category_id", 9, "found category_id 9 .*1 to 3"),
        ("bbox", [1, 2, 3], "four numbers"),
        ("bbox", [1, 2, 3, "4"], "four numbers"),
        ("bbox", [1, 2, float("nan"), 4], "found bbox .*nan.*expected finite"),
        ("bbox", [1, 2, 3, -4], "found bbox .*-4.*sides of 0 or more"),
        ("score", float("inf"), "found score inf"),
        ("score", -0.5, "found score -0.5, expected a number from 0 to 1"),
        ("score", None, "found score None"),
    ],
)
def test_a_malformed_detection_is_named(tmp_path, truth, found, key, value, named):
    results = entries(found)
    results[7] = results[7] | {key: value} if key else value
    with pytest.raises(InputError, match=rf"A\.json, entry 7: .*{named}"):
        read(tmp_path, truth, results)


@pytest.mark.parametrize("ids", [[1, 2, 3], [0, 1, 2], [1, 2, 7], [5, 6, 9], [0, 1, 90]])
@pytest.mark.parametrize("first", [0, 1])
def test_category_ids_that_count_the_classes_are_recognised(tmp_path, truth, found, ids, first):
    results = entries(found - np.eye(7)[6] * (1 - first))
    if ids[0] == first and ids[2] == first + 2:
        assert len(read(tmp_path, renumbered(truth, ids), results)) == len(found)
        return
    with pytest.raises(InputError, match=rf"category ids .* count the classes from {first}.*, {ids[0]} to {ids[2]}:"):
        read(tmp_path, renumbered(truth, ids), results)


def test_a_shift_shows_where_all_ids_exist(tmp_path, truth, found):
    """Detections of the first class only, one id too high: an id that the annotations have."""
    with pytest.raises(InputError, match="count the classes from 1"):
        read(tmp_path, renumbered(truth, [0, 1, 2]), entries(found[found[:, 6] == 1]))


def test_ids_that_fit_as_they_are_are_not_taken_for_others(tmp_path, truth, found):
    """Objects of two classes at one place: read as the next class, the ids fit nearly as well."""
    found[:, 6] = 1
    doubled = [one | {"id": one["id"] + 1000, "category_id": one["category_id"] + 1} for one in truth["annotations"]]
    truth["annotations"] += doubled
    assert len(read(tmp_path, renumbered(truth, [0, 1, 2]), entries(found))) == len(found)


def test_logits_and_crowded_images_are_noted(tmp_path, truth, found, caplog):
    logits = np.array(found)
    logits[:, 5] = 10 * found[:, 5] - 5
    assert np.array_equal(read(tmp_path, truth, entries(logits)), logits)
    assert "scores reach" in caplog.text and "no probabilities" in caplog.text
    caplog.clear()
    many = np.repeat(found[found[:, 0] == found[0, 0]], 50, axis=0)
    read(tmp_path, truth, entries(many))
    assert f"1 images have more than 100 detections, up to {len(many)}" in caplog.text
    assert "probabilities" not in caplog.text


def test_scores_of_0_and_1_flat_boxes_and_100_detections_are_fine(tmp_path, truth, found, caplog):
    full = np.repeat(found[:1], 100, axis=0)
    full[:, 5] = np.linspace(0, 1, 100)
    full[0, 3] = full[1, 4] = 0
    assert np.array_equal(read(tmp_path, truth, entries(full)), full)
    assert not caplog.records


@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("key", ["images", "categories"])
def test_ids_that_floats_cannot_tell_apart_are_refused(tmp_path, key, beyond):
    path = write_truth(tmp_path / "truth.json", [], **{key: [2**53 + beyond]})
    refused = pytest.raises(InputError, match=r"truth\.json: found ids beyond 2\^53")
    with refused if beyond else contextlib.nullcontext():
        CocoEvaluator(path)


def test_two_annotations_of_one_id_are_refused(tmp_path, truth):
    truth["annotations"][1]["id"] = truth["annotations"][0]["id"]
    with pytest.raises(InputError, match=r"truth\.json: .*the same id"):
        read(tmp_path, truth, [])
