"""COCO annotation files: a bad one stops before anything is trained, and the message says where it is bad."""

import io
import json

import numpy as np
import pytest
from builders.data import COCO, HEIGHT, WIDTH, coco_content, converted, describe, picture, prepared, put, write_coco
from PIL import Image

from iou_aware.common.errors import InputError
from iou_aware.data.annotations import Annotations
from iou_aware.detections import Detections
from iou_aware.evaluation.export import write_results


def write(project, content=None, **keys):
    describe(project, **COCO | keys)
    return write_coco(project / "data" / "own", "train", content or coco_content())


def test_a_split_is_written_anew_with_what_is_needed(tmp_path):
    content = coco_content([(0, 0, 10, 10), (0, 0, 40, 40), (1.5, 2.25, 31.5, 32)])
    content["annotations"][1]["iscrowd"] = 1
    content["annotations"][2] |= {"category_id": 2, "segmentation": [[1, 2]], "id": 70}
    file = write(tmp_path, content)
    before = file.read_bytes()
    manifest = prepared(tmp_path)
    split = manifest.split("train")
    assert (split.annotations, split.images) == ("results/datasets/own/train.json", "data/own/train")
    assert file.read_bytes() == before
    written = converted(tmp_path, "train")
    assert (written["images"], written["categories"]) == (content["images"], content["categories"])
    assert written["annotations"][2] == {
        "id": 3,
        "image_id": 1,
        "category_id": 2,
        "bbox": [1.5, 2.25, 31.5, 32],
        "area": 31.5 * 32,
        "iscrowd": 0,
    }
    assert split.counts == {
        "images": 2,
        "boxes": 2,
        "ignored": 1,
        "classes": {"cat": 1, "dog": 1},
        "areas": {"small": 2, "medium": 0, "large": 0},
    }
    assert (manifest.classes, manifest.category_ids) == (["cat", "dog"], [1, 2])


def test_a_list_that_is_written_twice_is_refused(tmp_path):
    file = write(tmp_path)
    file.write_text(file.read_text().replace('"categories"', '"annotations": [], "categories"', 1))
    with pytest.raises(InputError, match=r"train\.json: .*key 'annotations' is written twice"):
        prepared(tmp_path)


def test_faults_are_told_of_names_that_are_no_unicode(tmp_path):
    content = coco_content()
    images = [image | {"file_name": "\ud800.jpg"} for image in content["images"]]
    write(tmp_path, content).write_text(json.dumps(content | {"images": images}))
    with pytest.raises(InputError, match=r"faults: (.|\n)*faults\.txt lists all of them"):
        prepared(tmp_path)


def test_areas_are_counted_with_cocos_limits(tmp_path):
    boxes = [(0, 0, 31, 32), (0, 0, 32, 32), (0, 0, 60, 40), (0, 0, 61, 41)]
    content = coco_content(boxes)
    content["annotations"][2]["area"] = 96 * 96
    content["annotations"][3]["area"] = 96 * 96 + 1
    write(tmp_path, content)
    assert prepared(tmp_path).split("train").counts["areas"] == {"small": 1, "medium": 2, "large": 1}


def every(key, **values):
    """Return a change of every entry of one of the file's lists."""
    return lambda content: [entry.update(values) for entry in content[key]]


def without(key, *fields):
    return lambda content: [entry.pop(field) for entry in content[key] for field in fields]


# What tools write beside or instead of the plain form, and what makes no difference.
SAME = {
    "Roboflow": lambda content: content.update(info={"year": "2024", "version": 1}, licenses=None),
    "CVAT": every("images", license=0, date_captured=0, coco_url=7),
    "lists for objects": lambda content: content.update(info=[], licenses={}),
    "no supercategory": every("categories", supercategory=None, keypoints=None),
    "flat polygon": every("annotations", segmentation=[1, 1, 9, 1, 9, 9]),
    "empty mask": every("annotations", segmentation={}),
    "score": every("annotations", score="0.9", attributes={"id": 3}),
    "no area": without("annotations", "area"),
    "area null": every("annotations", area=None),
    "area 0": every("annotations", area=0),
    "area -0.0": every("annotations", area=-0.0),
    "crowd null": every("annotations", iscrowd=None),
    "crowd false": every("annotations", iscrowd=False, ignore="0"),
    "no crowd": without("annotations", "iscrowd"),
    "no annotation ids": without("annotations", "id"),
    "one annotation id": every("annotations", id=0),
    "no size": without("images", "width", "height"),
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
    write(tmp_path, content)
    manifest = prepared(tmp_path)
    SAME[what](content)
    write(tmp_path, content)
    assert prepared(tmp_path) == manifest


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_file_may_begin_with_a_byte_order_mark(tmp_path, encoding):
    content = coco_content()
    content["categories"][0]["name"] = "weiße Zelle"
    write(tmp_path, content).write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
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
    """They count from 1 in the order of the source's, and come back where detections are handed on."""
    content = coco_content([(0, 0, 10, 10), (3, 4, 30, 40)], images=3)
    content["annotations"][1] |= {"image_id": 3, "category_id": 2}
    write(tmp_path, content)
    prepared(tmp_path)
    plain = converted(tmp_path, "train")
    for image in content["images"]:
        image["id"] = rename(image["id"])
    for category in content["categories"]:
        category["id"] = rename(category["id"])
    for annotation in content["annotations"]:
        annotation |= {key: rename(annotation[key]) for key in ("image_id", "category_id")}
    write(tmp_path, content)
    split = prepared(tmp_path).split("train")
    renamed = converted(tmp_path, "train")
    assert [image.pop("id") for image in renamed["images"]] == order
    sources = [rename(number) for number in (1, 2, 3)]
    assert [image.pop("source_id", number) for image, number in zip(renamed["images"], order, strict=True)] == sources
    assert [(image.pop("id"), image)[1] for image in plain["images"]] == renamed["images"]
    assert [a.pop("image_id") for a in renamed["annotations"]] == [order[0], order[2]]
    assert [(a.pop("image_id"), a)[1] for a in plain["annotations"]] == renamed["annotations"]

    annotations = Annotations.load(tmp_path / split.annotations)
    ids = annotations.source_images, annotations.source_categories
    boxes = annotations.boxes.astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    found = Detections(annotations.image_ids, annotations.category_ids, boxes, np.ones(2), np.ones(2), None)
    file = io.StringIO()
    write_results(file, [found], *ids)
    assert json.loads(file.getvalue()) == [
        {key: annotation[key] for key in ("image_id", "category_id", "bbox")} | {"score": 1.0}
        for annotation in content["annotations"]
    ]


def test_what_a_file_says_to_ignore_is_neither_trained_on_nor_measured(tmp_path):
    content = coco_content([(0, 0, 10, 10), (0, 0, 5, 5), (0, 0, 6, 6)])
    content["annotations"][1]["ignore"] = 1
    content["annotations"][2]["iscrowd"] = "true"
    write(tmp_path, content)
    counts = prepared(tmp_path).split("train").counts
    assert (counts["boxes"], counts["ignored"]) == (1, 2)
    assert [annotation["iscrowd"] for annotation in converted(tmp_path, "train")["annotations"]] == [0, 1, 1]


def test_backslashes_are_read_as_slashes_where_there_is_no_such_file(tmp_path):
    content = coco_content()
    file = write(tmp_path, content)
    (file.parent / "train" / "more").mkdir()
    for image, name in zip(content["images"], ["more\\1.jpg", "a\\b.jpg"], strict=True):
        image["file_name"] = name
        put(file.parent / "train" / (name if "b" in name else name.replace("\\", "/")), picture())
    file.write_text(json.dumps(content))
    prepared(tmp_path)
    assert [image["file_name"] for image in converted(tmp_path, "train")["images"]] == ["more/1.jpg", "a\\b.jpg"]


def change(content, what):
    images, annotations, categories = content["images"], content["annotations"], content["categories"]
    match what:
        case "image id":
            images[1]["id"] = 1
        case "category id":
            categories[1]["id"] = 1
        case "category name":
            categories[1]["name"] = "cat"
            annotations[1]["category_id"] = 2
        case "category unknown":
            annotations[1]["category_id"] = 3
        case "image unknown":
            annotations[1]["image_id"] = 7
        case "no images":
            content["images"] = []
        case "no categories":
            content["categories"] = []
        case "file twice":
            images[1]["file_name"] = "./1.jpg"
        case "fractions":
            for annotation in annotations:
                annotation["bbox"] = [0.1, 0.2, 0.5, 1.0]
        case "negative area":
            annotations[1]["area"] = -3
        case "crowd in words":
            annotations[1]["iscrowd"] = "perhaps"
        case "no annotations":
            del content["annotations"]
        case "nothing annotated":
            content["annotations"] = []
        case "area":
            annotations[1]["area"] = "large"
        case "no id":
            images[0]["id"] = None
        case "fraction of an id":
            annotations[0]["image_id"] = 1.5
        case "negative width":
            images[1]["width"] = -64
        case "not an object":
            annotations[1] = [1]
        case "size":
            images[1]["width"] = 65


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("image id", r"key images\[1\]\.id: the id 1 is duplicated, images\[0\] has it already"),
        ("category id", r"key categories\[1\]\.id: the id 1 is duplicated"),
        ("category name", r"key categories: the names are not unique"),
        ("category unknown", r"key annotations\[1\]\.category_id: the category 3 is unknown.*Known: 1 cat, 2 dog"),
        ("image unknown", r"key annotations\[1\]\.image_id: the image 7 is unknown"),
        ("no images", r"`images` is empty"),
        ("no categories", r"`categories` is empty"),
        ("file twice", r"key images\[1\]\.file_name: the file_name 1\.jpg is duplicated, images\[0\] has it already"),
        ("fractions", r"key annotations\[0\]\.bbox: found \[0\.1, .*expected .* in pixels\. Multiply fractions by"),
        ("negative area", r"key annotations\[1\]\.area: found -3, expected a number of square pixels"),
        ("crowd in words", r"key annotations\[1\]\.iscrowd: found 'perhaps', expected 0 or 1"),
        ("no annotations", r"key annotations: found nothing, expected a list"),
        ("nothing annotated", r"2 images but no box to be found.*labelled: false"),
        ("area", r"key annotations\[1\]\.area: found 'large'"),
        ("no id", r"key images\[0\]\.id: found None, expected a whole number or text"),
        ("fraction of an id", r"key annotations\[0\]\.image_id: found 1\.5, expected a whole number or text"),
        ("negative width", r"key images\[1\]\.width: found \(-64, 48\), expected whole numbers of pixels"),
        ("not an object", r"key annotations\[1\]\.image_id: found None"),
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
        (b"\xff\xfe\x00", "byte 2 is not utf-16-le text"),
        (b"[1, 2]", "found a JSON list, expected an object"),
        (b"[" * 100_000, "train.json: cannot be read as JSON"),
        (b'{"images": ' + b"1" * 5000 + b"}", "train.json: cannot be read as JSON"),
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
    with pytest.raises(InputError, match=r"train\.json: cannot be read \(it is no regular file\)"):
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
    ([10, 10, 0.6, 20], "is less than a pixel wide or high"),
    ([WIDTH, 10, 1, 5], "is outside"),
    ([10, -1, 5, 1], "is outside"),
    (None, "is not four numbers"),
    ([1, 2, 3], "is not four numbers"),
    ([1, 2, 3, "4"], "is not four numbers"),
    ([1, 2, 3, 10**400], "is not four numbers"),
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
    assert kept.counts["boxes"] == (1 if "finite" in why or "four" in why else 2)


def test_a_box_may_stick_out_by_a_pixel(tmp_path):
    write(tmp_path, coco_content([(-1, -1, WIDTH + 2, HEIGHT + 2)]))
    assert prepared(tmp_path).split("train").counts["boxes"] == 1


def test_an_unlabelled_split_needs_no_boxes(tmp_path):
    splits = COCO["splits"] | {"test": {"annotations": "test.json", "images": "test", "labelled": False}}
    write(tmp_path, splits=splits)
    content = coco_content()
    del content["annotations"]
    roboflow(content)
    write_coco(tmp_path / "data" / "own", "test", content)
    manifest = prepared(tmp_path)
    split = manifest.split("test")
    assert (split.labelled, split.counts["images"], split.counts["boxes"]) == (False, 2, 0)
    assert manifest.classes == ["cat", "dog"]


def test_an_optional_split_may_be_absent(tmp_path):
    splits = COCO["splits"] | {"test": {"annotations": "test.json", "images": "test", "optional": True}}
    write(tmp_path, splits=splits)
    manifest = prepared(tmp_path)
    assert list(manifest.splits) == ["train"]
    with pytest.raises(InputError, match="no split 'test', only train"):
        manifest.split("test")


def two_splits(tmp_path, change, **keys):
    """Write a train split of a cat and a dog, and a val split that is changed."""
    splits = {name: {"annotations": f"{name}.json", "images": name} for name in ("train", "val")}
    contents = [coco_content([(0, 0, 10, 10), (0, 0, 20, 20)]) for _ in splits]
    for content in contents:
        content["annotations"][1]["category_id"] = 2
    change(*contents)
    write(tmp_path, contents[0], splits=splits, **keys)
    write_coco(tmp_path / "data" / "own", "val", contents[1])
    return contents


def renumber(content, numbers):
    for category in content["categories"]:
        category["id"] = numbers[category["id"]]
    for annotation in content["annotations"]:
        annotation["category_id"] = numbers[annotation["category_id"]]


def roboflow(*contents, name="pets"):
    for content in contents:
        content["categories"].insert(0, {"id": 0, "name": name, "supercategory": "none"})


def lacking_cat(_, val):
    val["categories"], val["annotations"] = val["categories"][1:], val["annotations"][1:]


@pytest.mark.parametrize(
    ("change", "classes"),
    [
        (lambda train, val: val["categories"].reverse(), ["cat", "dog"]),
        (lambda train, val: renumber(val, {1: 2, 2: 1}), ["cat", "dog"]),
        (lambda train, val: train["categories"].reverse(), ["dog", "cat"]),
        (lambda train, val: renumber(train, {1: 1 << 40, 2: -3}), ["cat", "dog"]),
        (lacking_cat, ["cat", "dog"]),
        (roboflow, ["cat", "dog"]),
        (lambda *contents: roboflow(*contents, name="cat"), ["cat", "dog"]),
        (lambda *contents: roboflow(contents[0]), ["cat", "dog"]),
        (lambda train, val: train["categories"].append({"id": 0, "name": "cow"}), ["cat", "dog", "cow"]),
    ],
)
def test_classes_are_matched_by_name_across_splits(tmp_path, change, classes):
    two_splits(tmp_path, change)
    manifest = prepared(tmp_path)
    assert manifest.classes == classes
    for split in ("train", "val"):
        sizes = {a["bbox"][2]: classes[a["category_id"] - 1] for a in converted(tmp_path, split)["annotations"]}
        assert sizes.items() <= {10: "cat", 20: "dog"}.items()
        assert [entry["name"] for entry in converted(tmp_path, split)["categories"]] == classes


def test_some_of_the_classes_may_be_listed_in_any_order(tmp_path):
    two_splits(tmp_path, lambda train, val: None, classes=["dog", "cat"])
    assert prepared(tmp_path).classes == ["dog", "cat"]
    assert [a["category_id"] for a in converted(tmp_path, "val")["annotations"]] == [2, 1]
    two_splits(tmp_path, lambda train, val: None, classes=["dog"])
    split = prepared(tmp_path).split("val")
    assert (split.counts["classes"], split.unlisted) == ({"dog": 1}, {"cat": 1})
    assert [(a["category_id"], a["bbox"]) for a in converted(tmp_path, "val")["annotations"]] == [(1, [0, 0, 20, 20])]
    two_splits(tmp_path, lambda train, val: None, classes=["dog"], unlisted_classes="error")
    with pytest.raises(InputError, match=r"2 faults: 2 x class not listed"):
        prepared(tmp_path)


def test_a_listed_class_that_no_file_has_is_named(tmp_path):
    write(tmp_path, classes=["cat", "dogg"])
    with pytest.raises(
        InputError, match=r"key classes: no .* has the class 'dogg', only cat, dog\. Did you mean 'dog'"
    ):
        prepared(tmp_path)


def test_all_faults_are_told_at_once_and_listed_in_a_file(tmp_path):
    def spoil(train, val):
        train["annotations"] += [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 0, n]} for n in range(20)]
        train["annotations"][0]["image_id"] = 99
        val["images"][1]["width"] = 63
        val["images"][0] |= {"file_name": "gone.jpg"}

    two_splits(tmp_path, spoil)
    (tmp_path / "data" / "own" / "val" / "gone.jpg").unlink()
    with pytest.raises(InputError) as caught:
        prepared(tmp_path)
    told = str(caught.value)
    kinds = (
        "23 faults",
        "20 x box without area",
        "1 x image unknown",
        "1 x image missing",
        "1 x image of another size",
    )
    for part in (*kinds, "annotations[0].image_id", "val/gone.jpg", "val/2.jpg", "`invalid_boxes: exclude`"):
        assert part in told
    listed = (tmp_path / "results" / "datasets" / "own" / "faults.txt").read_text().splitlines()
    assert len(listed) == 23 and str(tmp_path / "results/datasets/own/faults.txt") in told
    assert [line for line in listed if "annotations[21].bbox" in line]
    assert len(told.splitlines()) < 15

    two_splits(tmp_path, lambda train, val: None)
    prepared(tmp_path)
    assert not (tmp_path / "results" / "datasets" / "own" / "faults.txt").exists()


def test_invalid_images_are_left_out_with_their_boxes_where_that_is_asked_for(tmp_path):
    content = coco_content([(0, 0, 10, 10), (0, 0, 20, 20), (0, 0, 30, 30)], images=3)
    for number, annotation in enumerate(content["annotations"], start=1):
        annotation["image_id"] = number
    content["images"][1]["width"] = 63
    write(tmp_path, content)
    with pytest.raises(
        InputError, match=r"2\.jpg: the image is 64x48 pixels.*`invalid_images: exclude` in .*own\.yaml"
    ):
        prepared(tmp_path)
    write(tmp_path, content, invalid_images="exclude")
    split = prepared(tmp_path).split("train")
    (named,) = split.excluded
    assert (named["image"], "64x48" in named["why"], split.counts["images"], split.counts["boxes"]) == (
        "2.jpg",
        True,
        2,
        2,
    )
    written = converted(tmp_path, "train")
    assert [(image["id"], image["file_name"], image.get("source_id")) for image in written["images"]] == [
        (1, "1.jpg", None),
        (2, "3.jpg", 3),
    ]
    assert [(a["id"], a["image_id"], a["bbox"][2]) for a in written["annotations"]] == [(1, 1, 10), (2, 2, 30)]


def test_a_split_of_which_no_image_can_be_used_is_refused(tmp_path):
    splits = COCO["splits"] | {"test": {"annotations": "test.json", "images": "test", "labelled": False}}
    write(tmp_path, splits=splits, invalid_images="exclude")
    content = coco_content()
    write_coco(tmp_path / "data" / "own", "test", content)
    for image in content["images"]:
        (tmp_path / "data" / "own" / "test" / image["file_name"]).unlink()
    with pytest.raises(InputError, match=r"none of the 2 images of the split 'test' can be used\. The first: .*1\.jpg"):
        prepared(tmp_path)


@pytest.mark.parametrize(
    ("orientation", "size", "accepted"),
    [
        (6, (HEIGHT, WIDTH), True),
        (6, (WIDTH, HEIGHT), False),
        (0, (WIDTH, HEIGHT), True),
        (1, (WIDTH, HEIGHT), True),
        (3, (WIDTH, HEIGHT), True),
    ],
)
def test_images_that_exif_turns_are_trained_on_only_with_the_size_that_is_seen(tmp_path, orientation, size, accepted):
    content = coco_content()
    content["images"][0] |= dict(zip(("width", "height"), size, strict=True))
    file = write(tmp_path, content)
    exif = Image.Exif()
    exif[0x0112] = orientation
    put(file.parent / "train" / "1.jpg", picture(exif=exif))
    if accepted:
        assert prepared(tmp_path).split("train").turned == (["1.jpg"] if orientation > 1 else [])
        return
    with pytest.raises(InputError, match=r"1\.jpg: a detector sees .* turned by EXIF, 48x64 pixels, but .* says 64x48"):
        prepared(tmp_path)


def test_images_that_training_leaves_out_or_that_may_be_cut_are_named(tmp_path):
    content = coco_content()
    content["images"][1] |= {"width": 31, "height": 40}
    file = write(tmp_path, content)
    put(file.parent / "train" / "2.jpg", picture(31, 40))
    whole = picture()
    put(file.parent / "train" / "1.jpg", whole[: len(whole) // 2] + bytes(600) + b"\xff\xd9")
    split = prepared(tmp_path).split("train")
    assert (split.small, split.padded) == (["2.jpg"], ["1.jpg"])
    assert (split.flattest["file_name"], split.flattest["width"], split.flattest["height"]) == ("1.jpg", WIDTH, HEIGHT)


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
