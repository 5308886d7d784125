"""COCO annotation files: what tools write is read as it is meant, and written anew in one form."""

import json
from itertools import chain

import pytest
from builders.data import COCO, WIDTH, coco_content, converted, prepared, two_coco_splits, write_coco, write_own_coco

from iou_aware.common.messages import InputError
from iou_aware.data.annotations import Annotations


def test_a_split_is_written_anew_with_what_is_needed(tmp_path):
    content = coco_content([(0, 0, 10, 10), (0, 0, 40, 40), (1.5, 2.25, 31.5, 32)])
    content["annotations"][1]["iscrowd"] = 1
    content["annotations"][2] |= {"category_id": 2, "area": 500.5}  # of a mask
    more = [annotation | {"id": 70, "segmentation": [[1, 2]]} for annotation in content["annotations"]]
    file = write_own_coco(tmp_path, content | {"annotations": more, "info": {}})
    before = file.read_bytes()
    manifest = prepared(tmp_path)
    split = manifest.split("train")
    assert (split.annotations, split.images) == ("results/datasets/own/train.json", "data/own/train")
    assert file.read_bytes() == before
    assert converted(tmp_path, "train") == content
    counts = {"images": 2, "boxes": 2, "ignored": 1, "classes": {"cat": 1, "dog": 1}}
    assert split.counts == counts | {"areas": {"small": 2, "medium": 0, "large": 0}}
    assert (manifest.classes, manifest.category_ids) == (["cat", "dog"], [1, 2])


def every(key, **values):
    """Return a change of every entry of one of the file's lists."""
    return lambda content: [entry.update(values) for entry in content[key]]


def box(number, **values):
    """Return a change of one annotation: of the first, which is to be found, or of the second, a crowd."""
    return lambda content: content["annotations"][number].update(values)


def without(key, field):
    return lambda content: [entry.pop(field) for entry in content[key]]


# What tools write beside or instead of the plain form, and what makes no difference.
SAME = {
    "Roboflow": lambda content: content.update(info=[], licenses=None),
    "no supercategory": every("categories", supercategory=None, keypoints=None),
    "score": every("annotations", score="0.9", attributes={"id": 3}, segmentation={}),
    "no area": without("annotations", "area"),
    "area 0": every("annotations", area=-0.0),
    "crowd null": box(0, iscrowd=None),
    "crowd false": box(0, iscrowd=" No ", ignore=0.0),
    "crowd true": box(1, iscrowd="true"),
    "to be ignored": box(1, iscrowd=0, ignore=1),
    "one annotation id": every("annotations", id=0),
    "no size": without("images", "width"),
    "size 0": every("images", width=0, height=None),
    "size as float": every("images", width=float(WIDTH)),
    "class in two lines": lambda content: content["categories"][0].update(name=" cat\n"),
    "dots and slashes": lambda content: content["images"][0].update(file_name=".//1.jpg"),
    "ids as float": every("annotations", image_id=1.0, category_id=1.0),
    "ids as text": every("annotations", image_id="1", category_id="1"),
}


@pytest.mark.parametrize("what", SAME)
def test_what_makes_no_difference_changes_nothing(tmp_path, what):
    content = coco_content([(0, 0, 10, 10), (3, 4, 30, 40)])
    content["annotations"][1]["iscrowd"] = 1
    write_own_coco(tmp_path, content)
    manifest = prepared(tmp_path)
    SAME[what](content)
    write_own_coco(tmp_path, content)
    assert prepared(tmp_path) == manifest


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_file_may_begin_with_a_byte_order_mark(tmp_path, encoding):
    content = coco_content()
    content["categories"][0]["name"] = "weiße Zelle"
    write_own_coco(tmp_path, content).write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert prepared(tmp_path).classes == ["weiße Zelle", "dog"]
    assert converted(tmp_path, "train")["categories"][0]["name"] == "weiße Zelle"


@pytest.mark.parametrize(
    ("rename", "order"),
    [
        (lambda number: number - 1, [1, 2, 3]),
        (lambda number: -number, [3, 2, 1]),
        (lambda number: 1 << 127 | 1 << number, [1, 2, 3]),
        (lambda number: 20240405123456789 + number, [1, 2, 3]),
        (lambda number: f"img-{9 - number}", [1, 2, 3]),
    ],
)
def test_ids_are_names(tmp_path, rename, order):
    """They count from 1 in the order of the source's, and are kept for where detections are handed on."""
    content = coco_content([(0, 0, 10, 10), (3, 4, 30, 40)], images=3)
    content["annotations"][1] |= {"image_id": 3, "category_id": 2}
    for entry in chain(*content.values()):
        entry |= {key: rename(value) for key, value in entry.items() if key in ("id", "image_id", "category_id")}
    write_own_coco(tmp_path, content)
    held = Annotations.load(tmp_path / prepared(tmp_path).split("train").annotations)
    assert list(held.file_names.items()) == [(number, f"{index}.jpg") for index, number in enumerate(order, 1)]
    assert held.source_images == {number: rename(index) for index, number in enumerate(order, 1)}
    assert (held.classes, held.source_categories) == ({1: "cat", 2: "dog"}, {1: rename(1), 2: rename(2)})
    assert (held.ids.tolist(), held.image_ids.tolist(), held.category_ids.tolist()) == ([1, 2], order[::2], [1, 2])
    assert held.boxes.tolist() == [[0, 0, 10, 10], [3, 4, 30, 40]]


def test_an_unlabelled_split_needs_no_boxes_and_an_optional_one_may_be_absent(tmp_path):
    more = {"test": {"annotations": "test.json", "images": "test", "labelled": False}}
    more["extra"] = {"annotations": "extra.json", "images": "extra", "optional": True}
    write_own_coco(tmp_path, splits=COCO["splits"] | more)
    content = coco_content()
    del content["annotations"]
    roboflow(content)
    write_coco(tmp_path / "data" / "own", "test", content)
    manifest = prepared(tmp_path)
    split = manifest.split("test")
    assert (split.labelled, split.counts["images"], split.counts["boxes"]) == (False, 2, 0)
    assert (list(manifest.splits), manifest.classes) == (["train", "test"], ["cat", "dog"])
    with pytest.raises(InputError, match="split 'extra'"):
        manifest.split("extra")


def swap_ids(_, val):
    for key, name in (("categories", "id"), ("annotations", "category_id")):
        for entry in val[key]:
            entry[name] = 3 - entry[name]


def roboflow(*contents, name="pets"):
    for content in contents:
        content["categories"].insert(0, {"id": 0, "name": name, "supercategory": "none"})


@pytest.mark.parametrize(
    ("change", "classes"),
    [
        (lambda train, val: val["categories"].reverse(), ["cat", "dog"]),
        (swap_ids, ["cat", "dog"]),
        (lambda train, val: train["categories"].reverse(), ["dog", "cat"]),
        (lambda train, val: [val[key].pop(0) for key in ("categories", "annotations")], ["cat", "dog"]),
        (roboflow, ["cat", "dog"]),
        (lambda *contents: roboflow(*contents, name="cat"), ["cat", "dog"]),
        (lambda *contents: roboflow(contents[0]), ["cat", "dog"]),
        (lambda train, val: train["categories"].append({"id": 0, "name": "cow"}), ["cat", "dog", "cow"]),
    ],
)
def test_classes_are_matched_by_name_across_splits(tmp_path, change, classes):
    two_coco_splits(tmp_path, change)
    manifest = prepared(tmp_path)
    assert manifest.classes == classes
    for split in ("train", "val"):
        sizes = {a["bbox"][2]: classes[a["category_id"] - 1] for a in converted(tmp_path, split)["annotations"]}
        assert sizes.items() <= {10: "cat", 20: "dog"}.items()
        assert [entry["name"] for entry in converted(tmp_path, split)["categories"]] == classes


def test_some_of_the_classes_may_be_listed_in_any_order(tmp_path):
    two_coco_splits(tmp_path, lambda train, val: None, classes=["dog", "cat"])
    assert prepared(tmp_path).classes == ["dog", "cat"]
    assert [a["category_id"] for a in converted(tmp_path, "val")["annotations"]] == [2, 1]
    two_coco_splits(tmp_path, lambda train, val: None, classes=["dog"])
    split = prepared(tmp_path).split("val")
    assert (split.counts["classes"], split.unlisted) == ({"dog": 1}, {"cat": 1})
    assert [(a["category_id"], a["bbox"]) for a in converted(tmp_path, "val")["annotations"]] == [(1, [0, 0, 20, 20])]
    two_coco_splits(tmp_path, lambda train, val: None, classes=["dog"], unlisted_classes="error")
    with pytest.raises(InputError, match=r"2 faults:\n  2 x class not listed"):
        prepared(tmp_path)


def test_a_listed_class_that_no_file_has_is_named(tmp_path):
    write_own_coco(tmp_path, classes=["cat", "dogg"])
    with pytest.raises(InputError, match=r"no .* has the class 'dogg', only cat, dog\. Did you mean 'dog'"):
        prepared(tmp_path)
