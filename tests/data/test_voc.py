"""VOC annotations: the conversion keeps VOC's geometry and meaning, whatever tool wrote them."""

import numpy as np
import pytest
from builders.data import converted, describe, picture, prepared, put, voc_object, voc_xml, write_own_voc, write_voc
from pycocotools import mask

from iou_aware.common.messages import InputError
from iou_aware.data.layouts.voc import read_annotation
from iou_aware.data.source import SourceImage


def read(file):
    """Return the boxes of an annotation file."""
    return read_annotation(file, SourceImage(None, "", None, ""), [])[1]


def test_ious_in_coco_form_are_those_of_voc(tmp_path):
    """In those of VOC's development kit, the corners belong to the box."""
    corners = np.random.default_rng(0).integers(1, 200, (50, 2, 2))
    low, high = corners.min(1), corners.max(1) + 1
    objects = [voc_object("cat", *first, *last) for first, last in zip(low, high, strict=True)]
    boxes = [box.box for box in read(put(tmp_path / "a.xml", voc_xml(objects)))]
    sides = np.minimum(high[:, None], high) - np.maximum(low[:, None], low) + 1
    shared, areas = sides.clip(0).prod(-1), (high - low + 1).prod(-1)
    assert mask.iou(boxes, boxes, [0] * 50) == pytest.approx(shared / (areas[:, None] + areas - shared), abs=1e-12)


def test_conversion(tmp_path):
    root = tmp_path / "data" / "own"
    objects = [voc_object("cat", 1, 1, 10, 20), voc_object("dog", 5, 6, 64, 48, difficult=1)]
    write_voc(root / "VOC2007", {"trainval": {"000005": objects, "000002": []}})
    write_voc(root / "VOC2012", {"trainval": {"2008_1": [voc_object("ant", 2, 2, 4, 4)]}})
    sets = [{"folder": year, "list": "trainval"} for year in ("VOC2007", "VOC2012")]
    describe(tmp_path, splits={"trainval": {"sets": sets}}, train="trainval", evaluate=["trainval"])
    counts = prepared(tmp_path).split("trainval").counts
    names = ("VOC2007/JPEGImages/000005.jpg", "VOC2007/JPEGImages/000002.jpg", "VOC2012/JPEGImages/2008_1.jpg")
    keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
    boxes = [
        (1, 1, 2, [0, 0, 10, 20], 200, 0),
        (2, 1, 3, [4, 5, 60, 43], 60 * 43, 1),
        (3, 3, 1, [1, 1, 3, 3], 9, 0),
    ]
    assert converted(tmp_path, "trainval") == {
        "images": [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(names, 1)],
        "annotations": [dict(zip(keys, box, strict=True)) for box in boxes],
        "categories": [{"id": number, "name": name} for number, name in enumerate(("ant", "cat", "dog"), 1)],
    }
    assert (counts["images"], counts["boxes"], counts["ignored"]) == (3, 2, 1)
    assert counts["classes"] == {"ant": 1, "cat": 1, "dog": 0}


def test_boxes_of_an_objects_parts_are_not_the_objects(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    person = voc_object("person", 3, 3, 10, 20).replace("</object>", f"{part}</object>")
    (box,) = read(put(tmp_path / "a.xml", voc_xml([person])))
    assert (box.category, box.box) == ("person", [2, 2, 8, 18])


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>9</height></size>"])
def test_fractions_are_kept_and_a_size_that_is_not_stated_is_read_from_the_image(tmp_path, size):
    xml = write_own_voc(tmp_path) / "Annotations" / "a.xml"
    put(xml, f"<annotation>{size}{voc_object('cat', 1.5, 2, 10.25, 20)}</annotation>")
    prepared(tmp_path)
    content = converted(tmp_path, "train")
    assert content["annotations"][0]["bbox"] == [0.5, 1, 9.75, 19]
    assert (content["images"][0]["width"], content["images"][0]["height"]) == (64, 48)


def with_images(tmp_path, images, listed="a", file_name=None):
    """Prepare a split of one image of which there are the files given; return the one that is taken."""
    root = write_own_voc(tmp_path)
    (root / "JPEGImages" / "a.jpg").unlink()
    for name in images:
        put(root / "JPEGImages" / name, picture())
    put(root / "ImageSets" / "Main" / "train.txt", listed)
    if file_name:
        xml = root / "Annotations" / "a.xml"
        put(xml, xml.read_text().replace("<annotation>", f"<annotation><filename>{file_name}</filename>"))
    prepared(tmp_path)
    return converted(tmp_path, "train")["images"][0]["file_name"].removeprefix("JPEGImages/")


@pytest.mark.parametrize(
    ("images", "file_name", "taken"),
    [
        (["a.png"], None, "a.png"),
        (["a.PNG"], "a.jpg", "a.PNG"),
        (["a.bmp", "a.txt"], None, "a.bmp"),
        (["a.png", "a.jpg"], "a.png", "a.png"),
        (["a.png", "a.jpg"], "C:\\photos\\a.jpg", "a.jpg"),
        (["IMG_1.png"], "IMG_1.png", "IMG_1.png"),
        (["a.jpg", "b.jpg"], "b.jpg", "a.jpg"),
    ],
)
def test_the_image_is_that_of_the_lists_name_or_of_filename(tmp_path, images, file_name, taken):
    assert with_images(tmp_path, images, file_name=file_name) == taken


@pytest.mark.parametrize(
    ("images", "file_name", "told"),
    [
        (["a.png", "a.jpg"], None, "a.jpg and a.png are both there, and <filename> names none"),
        (["a.png", "a.jpg", "b.png"], "b.png", "both there, and <filename> names b.png"),
        (["c.png"], "b.png", "b.png: there is no such image, but .*a.xml names it"),
        ([], ".", "the image cannot be read .it is no regular file.; .*a.xml names it"),
    ],
)
def test_an_image_that_is_not_there_or_not_certain_is_named(tmp_path, images, file_name, told):
    with pytest.raises(InputError, match=told):
        with_images(tmp_path, images, file_name=file_name)


@pytest.mark.parametrize("listed", ["a.jpg", "a.JPG", "a.xml", ".\\a", "JPEGImages\\a.jpg", '"a"'])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_may_have_suffixes_backslashes_and_quotes(tmp_path, listed, encoding):
    assert with_images(tmp_path, ["a.jpg"], listed.encode(encoding)) == "a.jpg"


def test_an_image_without_an_annotation_file_is_a_negative_where_that_is_asked_for(tmp_path):
    write_voc(tmp_path / "data" / "own", {"train": {"a": [voc_object("cat", 1, 1, 10, 20)], "b": []}})
    (tmp_path / "data" / "own" / "Annotations" / "b.xml").unlink()
    describe(tmp_path)
    with pytest.raises(InputError, match=r"b\.xml: there is no such .*`missing_annotations: negative`"):
        prepared(tmp_path)
    describe(tmp_path, missing_annotations="negative")
    counts = prepared(tmp_path).split("train").counts
    assert (counts["images"], counts["boxes"]) == (2, 1)
    assert converted(tmp_path, "train")["images"][1]["width"] == 64
    describe(tmp_path, invalid_images="exclude")
    split = prepared(tmp_path).split("train")
    assert (split.counts["images"], [image["image"] for image in split.excluded]) == (1, ["JPEGImages/b.jpg"])


@pytest.mark.parametrize(
    "declared", ["gb2312", "GBK", "utf8", "utf-16", "shift_jis", "utf-8/utf-8-sig", "utf-16/utf-8"]
)
def test_a_file_may_be_in_any_encoding_that_it_declares(tmp_path, declared):
    declared, _, encoding = declared.partition("/")
    text = f'<?xml version="1.0" encoding="{declared}"?>\n' + voc_xml([voc_object("中", 1, 1, 5, 5)])
    (box,) = read(put(tmp_path / "a.xml", text.encode(encoding or declared)))
    assert (box.category, box.line) == ("中", 4)


def test_a_class_that_is_not_listed_is_named_with_the_closest(tmp_path):
    write_own_voc(tmp_path, voc_object("catt", 1, 1, 10, 20), voc_object("cat", 1, 1, 10, 30), classes=["cat", "dog"])
    with pytest.raises(InputError, match=r"a\.xml, line 3: the class 'catt' is unknown\. Did you mean 'cat'"):
        prepared(tmp_path)
    describe(tmp_path, classes=["cat", "dog"], unlisted_classes="exclude")
    split = prepared(tmp_path).split("train")
    assert (split.counts["classes"], split.unlisted) == ({"cat": 1, "dog": 0}, {"catt": 1})
