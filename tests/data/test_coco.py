"""COCO annotation files: a bad one stops before anything is trained, and the message says where it is bad."""

import json

import pytest
from builders.data import COCO, HEIGHT, WIDTH, coco_content, converted, describe, picture, prepared, put, write_coco

from iou_aware.common.errors import InputError


def write(project, content=None, **keys):
    describe(project, **COCO | keys)
    return write_coco(project / "data" / "own", "train", content or coco_content())


def test_a_good_file_is_used_where_it_is(tmp_path):
    content = coco_content([(0, 0, 10, 10), (0, 0, 40, 40), (1.5, 2.25, 31.5, 32)])
    content["annotations"][1]["iscrowd"] = 1
    content["annotations"][2]["category_id"] = 2
    file = write(tmp_path, content)
    before = file.read_bytes()
    manifest = prepared(tmp_path)
    split = manifest.split("train")
    assert (split.annotations, split.images) == ("data/own/train.json", "data/own/train")
    assert file.read_bytes() == before
    assert split.counts == {
        "images": 2,
        "boxes": 2,
        "ignored": 1,
        "classes": {"cat": 1, "dog": 1},
        "areas": {"small": 2, "medium": 0, "large": 0},
    }
    assert (manifest.classes, manifest.category_ids) == (["cat", "dog"], [1, 2])


def test_areas_are_counted_with_cocos_limits(tmp_path):
    boxes = [(0, 0, 31, 32), (0, 0, 32, 32), (0, 0, 60, 40), (0, 0, 61, 41)]
    content = coco_content(boxes)
    content["annotations"][2]["area"] = 96 * 96
    content["annotations"][3]["area"] = 96 * 96 + 1
    write(tmp_path, content)
    assert prepared(tmp_path).split("train").counts["areas"] == {"small": 1, "medium": 2, "large": 1}


def test_what_every_evaluation_asks_for_is_filled_in(tmp_path):
    content = coco_content([(0, 0, 10, 10), (0, 0, 4, 5)])
    del content["annotations"][0]["area"], content["annotations"][1]["iscrowd"]
    content["annotations"][1]["area"] = 7
    write(tmp_path, content)
    manifest = prepared(tmp_path)
    assert manifest.split("train").annotations == "results/datasets/own/train.json"
    assert [(a["area"], a["iscrowd"]) for a in converted(tmp_path, "train")["annotations"]] == [(100, 0), (7, 0)]


def change(content, what):
    images, annotations, categories = content["images"], content["annotations"], content["categories"]
    match what:
        case "image id":
            images[1]["id"] = 1
        case "annotation id":
            annotations[1]["id"] = 1
        case "category id":
            categories[1]["id"] = 1
        case "category name":
            categories[1]["name"] = "cat"
        case "category unknown":
            annotations[1]["category_id"] = 3
        case "image unknown":
            annotations[1]["image_id"] = 7
        case "no images":
            content["images"] = []
        case "no categories":
            content["categories"] = []
        case "file twice":
            images[1]["file_name"] = "1.jpg"
        case "fractions":
            for annotation in annotations:
                annotation["bbox"] = [0.1, 0.2, 0.5, 1.0]
        case "negative area":
            annotations[1]["area"] = -3
        case "crowd in words":
            annotations[1]["iscrowd"] = "no"
        case "no annotations":
            del content["annotations"]
        case "nothing annotated":
            content["annotations"] = []
        case "three numbers":
            annotations[1]["bbox"] = [1, 2, 3]
        case "text in a box":
            annotations[1]["bbox"] = [1, 2, 3, "4"]
        case "area":
            annotations[1]["area"] = "large"
        case "text as id":
            images[0]["id"] = "1"
        case "no width":
            del images[1]["width"]
        case "not an object":
            annotations[1] = [1]
        case "size":
            images[1]["width"] = 65


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("image id", r"key images\[1\]\.id: the id 1 is duplicated, images\[0\] has it already"),
        ("annotation id", r"key annotations\[1\]\.id: the id 1 is duplicated, annotations\[0\]"),
        ("category id", r"key categories\[1\]\.id: the id 1 is duplicated"),
        ("category name", r"key categories: the names are not unique"),
        ("category unknown", r"key annotations\[1\]\.category_id: the category 3 is unknown.*Known: 1 cat, 2 dog"),
        ("image unknown", r"key annotations\[1\]\.image_id: the image 7 is unknown \(annotation id 2\)"),
        ("no images", r"`images` is empty"),
        ("no categories", r"`categories` is empty"),
        ("file twice", r"key images\[1\]\.file_name: the file_name 1\.jpg is duplicated, images\[0\] has it already"),
        ("fractions", r"key annotations\[0\]\.bbox: found \[0\.1, .*expected .* in pixels\. Multiply fractions by"),
        ("negative area", r"key annotations\[1\]\.area: found -3, expected a number of square pixels"),
        ("crowd in words", r"key annotations\[1\]\.iscrowd: found 'no', expected 0 or 1"),
        ("no annotations", r"key annotations: found nothing, expected a list"),
        ("nothing annotated", r"2 images but no box to be found.*labelled: false"),
        ("three numbers", r"key annotations\[1\]\.bbox: found \[1, 2, 3\], expected four numbers"),
        ("text in a box", r"key annotations\[1\]\.bbox"),
        ("area", r"key annotations\[1\]\.area: found 'large'"),
        ("text as id", r"key images\[0\]\.id: found '1', expected int"),
        ("no width", r"key images\[1\]\.width: found None, expected int"),
        ("not an object", r"key annotations\[1\]\.id: found None"),
        ("size", r"2\.jpg: the image is 64x48 pixels, but .*key images\[1\] says 65x48"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, what, told):
    content = coco_content([(0, 0, 10, 10), (5, 5, 10, 10)])
    change(content, what)
    file = write(tmp_path, content)
    with pytest.raises(InputError, match=told) as caught:
        prepared(tmp_path)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("keep", [0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_file_cut_short_is_named_with_its_line(tmp_path, keep):
    file = write(tmp_path)
    text = json.dumps(coco_content(), indent=1)
    file.write_text(text[: int(keep * len(text))])
    with pytest.raises(InputError, match=r"train\.json, line \d+, column \d+: the file is cut short.*Restore"):
        prepared(tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "line 1, column 1"),
        (b'{"images": [,]}', "line 1, column 13: the file is not JSON"),
        (b"\xff\xfe\x00", "not UTF-8|not JSON|cut short"),
        (b"[1, 2]", "found a JSON list, expected an object"),
    ],
)
def test_what_is_no_coco_file_is_refused(tmp_path, content, told):
    file = write(tmp_path)
    file.write_bytes(content)
    with pytest.raises(InputError, match=told):
        prepared(tmp_path)


def test_a_folder_in_place_of_the_annotations_is_named(tmp_path):
    file = write(tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.raises(InputError, match=r"train\.json: cannot be read \(Is a directory\)"):
        prepared(tmp_path)


BAD = [
    ([10, 10, 0, 5], "has no area"),
    ([10, 10, 5, 0], "has no area"),
    ([10, 10, -3, 5], "has no area"),
    ([50, 10, 20, 5], "is outside of its image of 64x48 pixels"),
    ([-2, 10, 20, 5], "is outside"),
    ([10, 40, 20, 10], "is outside"),
    ([float("nan"), 10, 20, 5], "is not finite"),
    ([10, 10, float("inf"), 5], "is not finite"),
]


@pytest.mark.parametrize(("box", "why"), BAD)
def test_an_invalid_box_stops_is_left_out_or_is_kept_but_always_named(tmp_path, box, why):
    content = coco_content([(0, 0, 10, 10), (0, 0, 5, 5)])
    content["annotations"][1]["bbox"] = box
    write(tmp_path, content)
    with pytest.raises(InputError) as caught:
        prepared(tmp_path)
    place = f"{tmp_path}/data/own/train.json, key annotations[1].bbox: box (cat) of image 1.jpg"
    for part in (place, f"(x, y, width, height) {why}", "`invalid_boxes: exclude`", "own.yaml"):
        assert part in str(caught.value)

    write(tmp_path, content, invalid_boxes="exclude")
    split = prepared(tmp_path).split("train")
    assert [annotation["id"] for annotation in converted(tmp_path, "train")["annotations"]] == [1]
    assert [(named["index"], named["image"], named["why"]) for named in split.invalid] == [
        (1, "1.jpg", split.invalid[0]["why"])
    ]
    assert split.annotations == "results/datasets/own/train.json"

    write(tmp_path, content, invalid_boxes="keep")
    kept = prepared(tmp_path).split("train")
    assert kept.invalid == split.invalid
    assert kept.counts["boxes"] == (1 if "finite" in why else 2)


def test_a_box_may_stick_out_by_a_pixel(tmp_path):
    write(tmp_path, coco_content([(-1, -1, WIDTH + 2, HEIGHT + 2)]))
    assert prepared(tmp_path).split("train").counts["boxes"] == 1


def test_an_unlabelled_split_needs_no_boxes(tmp_path):
    splits = COCO["splits"] | {"test": {"annotations": "test.json", "images": "test", "labelled": False}}
    write(tmp_path, splits=splits)
    content = coco_content()
    del content["annotations"]
    write_coco(tmp_path / "data" / "own", "test", content)
    split = prepared(tmp_path).split("test")
    assert (split.labelled, split.counts["images"], split.counts["boxes"]) == (False, 2, 0)


def test_an_optional_split_may_be_absent(tmp_path):
    splits = COCO["splits"] | {"test": {"annotations": "test.json", "images": "test", "optional": True}}
    write(tmp_path, splits=splits)
    manifest = prepared(tmp_path)
    assert list(manifest.splits) == ["train"]
    with pytest.raises(InputError, match="no split 'test', only train"):
        manifest.split("test")


def test_splits_must_agree_on_their_categories(tmp_path):
    write(tmp_path, splits=COCO["splits"] | {"val": {"annotations": "val.json", "images": "val"}})
    content = coco_content()
    content["categories"].reverse()
    write_coco(tmp_path / "data" / "own", "val", content)
    with pytest.raises(
        InputError, match=r"val\.json, key categories: found \(id, name\) \(2, 'dog'\), expected \(1, 'cat'\)"
    ):
        prepared(tmp_path)


def test_listed_classes_are_checked_against_the_file(tmp_path):
    write(tmp_path, classes=["cat", "dogg"])
    with pytest.raises(InputError, match=r"key classes.*'dogg' is not in the file\. Did you mean 'dog'"):
        prepared(tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "there is no such image, but .*key images\\[1\\] names it"),
        (b"", "is not an image"),
        (b"<html>not found</html>", "is not an image"),
        (picture()[: len(picture()) // 2], "cannot be read"),
        (picture()[:100], "cannot be read|is not an image"),
        (picture(form="PNG")[:120], "cannot be read"),
    ],
)
def test_an_image_that_is_missing_or_unreadable_is_named(tmp_path, content, told):
    write(tmp_path)
    path = tmp_path / "data" / "own" / "train" / "2.jpg"
    path.unlink()
    if content is not None:
        put(path, content)
    with pytest.raises(InputError, match=told) as caught:
        prepared(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["../secret.jpg", "a/../../secret.jpg", "{}/secret.jpg", "a\0b.jpg", ".."])
def test_an_image_outside_of_its_folder_is_named(tmp_path, name):
    """Also where the image is there: whoever sends annotations does not choose which files are read."""
    content = coco_content()
    file = write(tmp_path, content)
    for folder in (tmp_path / "data" / "own", tmp_path):
        put(folder / "secret.jpg", picture())
    content["images"][1]["file_name"] = name.format(tmp_path)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"train\.json, key images\[1\]\.file_name: found .*expected a path below"):
        prepared(tmp_path)


def test_an_image_in_a_folder_of_its_folder_is_fine(tmp_path):
    content = coco_content()
    content["images"][0]["file_name"] = "more/..1.jpg"
    write(tmp_path, content)
    assert prepared(tmp_path).split("train").counts["images"] == 2
