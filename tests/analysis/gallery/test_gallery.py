"""Which images the gallery shows and what it draws, against cases made to be told apart."""

import csv

import numpy as np
import pytest
from builders.detections import noisy, write_dataset, write_detections, write_truth
from builders.results import AWARE, BASELINE, experiment
from PIL import Image

from iou_aware import detections
from iou_aware.analysis.gallery import draw as gallery
from iou_aware.analysis.gallery.panels import chosen, representatives
from iou_aware.data.annotations import Annotations

RULES = list(gallery.RULES)


def test_the_most_confident_box_represents_an_object_even_if_another_fits_better(tmp_path):
    objects = [(1, 1, 0, 0, 10, 10, 0), (1, 1, 50, 50, 10, 10, 0), (1, 1, 80, 80, 10, 10, 1)]
    truth = Annotations.load(write_truth(tmp_path / "truth.json", objects))
    boxes = [
        [1, 0, 0, 10, 8, 0.9, 1],  # IoU 0.8
        [1, 0, 0, 10, 10, 0.5, 1],  # perfect, less confident
        [1, 0, 0, 10, 10, 0.99, 2],  # of another class
        [1, 50, 50, 10, 4, 0.95, 1],  # overlaps by less than half
        [1, 80, 80, 10, 10, 0.9, 1],  # in a crowd
    ]
    rows, ious = representatives(truth, np.array(boxes, dtype=float))
    assert rows.tolist() == [0, -1, -1]
    assert ious == pytest.approx([0.8, 0, 0])


def test_images_that_gained_most_come_first_and_then_those_that_lost_most():
    change = {1: 0.1, 2: 0.3, 3: 0.0, 4: -0.2, 5: -0.4, 6: 0.3, 7: 0.2}
    assert chosen(change) == [2, 6, 7, 5, 4]
    assert chosen({}) == []


def test_change_is_of_objects_that_both_rules_have_a_box_for(tmp_path):
    objects = [(1, 1, 0, 0, 10, 10, 0), (1, 1, 50, 50, 10, 10, 0), (2, 1, 0, 0, 10, 10, 1)]
    truth = Annotations.load(write_truth(tmp_path / "truth.json", objects, images=[1, 2, 3]))
    first = np.array([0, -1, -1]), np.array([0.6, 0.0, 0.0])
    second = np.array([1, 2, -1]), np.array([0.8, 0.9, 0.0])
    assert gallery.changes(truth, first, second) == {1: pytest.approx(0.1)}


def test_gallery_shows_the_image_that_changed_with_all_sides(tmp_path):
    """The second rule places the boxes of one image best."""
    study = experiment(tmp_path, rules=RULES, tables={})
    content = write_dataset(study)
    first = noisy(content, 1, 0.1)
    image = next(a["image_id"] for a in content["annotations"] if not a["iscrowd"])
    perfect = [[image, *a["bbox"], 0.99, a["category_id"]] for a in content["annotations"] if a["image_id"] == image]
    second = np.concatenate([first[first[:, 0] != image], perfect])
    write_detections(study, AWARE, "val", dict(zip(RULES, [first, second], strict=True)))
    write_detections(study, BASELINE, "val", {"cls": first})
    *pictures, table = gallery.write_gallery(study)
    lines = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [path.name for path in pictures] == [line["file"] for line in lines] == ["shapes-val-1.jpg"]
    assert (lines[0]["run"], lines[0]["baseline"], int(lines[0]["image_id"])) == (AWARE, BASELINE, image)
    truth = Annotations.load(study.paths.dataset_folder("shapes") / "val.json")
    objects = [index for index in truth.of_image[image] if not truth.crowd[index]]
    found = [detections.read(study.paths.detections(AWARE, "val"), rule).results for rule in RULES]
    before, after = (representatives(truth, results) for results in found)
    assert after[1][objects] == pytest.approx(1)
    kept = [after[1][index] - before[1][index] for index in objects if before[0][index] >= 0]
    assert float(lines[0]["change"]) == pytest.approx(sum(kept) / len(objects), abs=1e-4)
    assert lines[0]["text"].count("1.00") >= len(objects)
    with Image.open(pictures[0]) as picture:
        assert picture.width > 2.6 * picture.height  # three square panels and their titles
    (study.paths.gallery / "old.jpg").touch()
    assert gallery.write_gallery(study) == [*pictures, table]
    assert not (study.paths.gallery / "old.jpg").exists()


def test_gallery_of_what_is_not_predicted_is_empty(tmp_path, caplog):
    study = experiment(tmp_path, rules=["none"], tables={})
    (table,) = gallery.write_gallery(study)
    assert len(table.read_text().splitlines()) == 1
    assert "alpha=1.00 and alpha=0.50" in caplog.text
