"""What is wrong with annotation files: told before anything is trained, with its place, and all at once."""

import json
import re
from functools import reduce
from operator import getitem

import pytest
from builders.data import (
    HEIGHT,
    coco_content,
    converted,
    describe,
    picture,
    prepared,
    put,
    two_coco_splits,
    voc_object,
    voc_xml,
    write_own_coco,
    write_own_voc,
    write_voc,
)

from iou_aware.common.messages import InputError
from iou_aware.data.layouts.voc import read_annotation
from iou_aware.data.source import SourceImage

IMAGE = SourceImage(None, "a.jpg", None, "a.txt")


FRACTIONS = {"image_id": 1, "category_id": 1, "bbox": [0.1, 0.2, 0.5, 1.0]}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("images[1].id", 1, ", key images[1].id: the id 1 is duplicated, images[0] has it already"),
        ("images[1].file_name", "./1.jpg", ", key images[1].file_name: the file_name 1.jpg is duplicated, images[0]"),
        ("images[1].file_name", "../2.jpg", ", key images[1].file_name: found '../2.jpg', expected a path below"),
        ("images[0].id", None, ", key images[0].id: found None, expected a whole number or text"),
        ("images[1].width", -64, ", key images[1].width: found (-64, 48), expected whole numbers of pixels"),
        ("images[0].width", 65, ", key images[0] says 65x48"),
        ("images", [], ": `images` is empty"),
        ("categories", [], ": `categories` is empty"),
        ("categories[1].id", 1, ", key categories[1].id: the id 1 is duplicated"),
        ("categories[1].name", "cat", ", key categories: the names are not unique: 1 and 2 are 'cat'"),
        ("annotations[1]", [1], ", key annotations[1].image_id: found None"),
        ("annotations[1].category_id", 3, ", key annotations[1].category_id: the category 3 is unknown; expected 1"),
        ("annotations[1].image_id", 7, ", key annotations[1].image_id: the image 7 is unknown"),
        ("annotations[0].image_id", 1.5, ", key annotations[0].image_id: found 1.5, expected a whole number or text"),
        ("annotations[1].area", -3, ", key annotations[1].area: found -3, expected a number of square pixels"),
        ("annotations[1].area", "large", ", key annotations[1].area: found 'large'"),
        ("annotations[1].iscrowd", "perhaps", ", key annotations[1].iscrowd: found 'perhaps', expected 0 or 1"),
        ("annotations", None, ", key annotations: found nothing, expected a list"),
        ("annotations", [], ": the split has 2 images but no box to be found"),
        ("annotations", [FRACTIONS] * 2, ", key annotations[0].bbox: found [0.1, 0.2, 0.5, 1.0], and no box of the"),
    ],
)
def test_what_is_wrong_with_a_list_or_an_entry_is_named_by_its_key(tmp_path, key, value, told):
    content = coco_content([(0, 0, 10, 10), (5, 5, 10, 10)])
    content["annotations"][1]["category_id"] = 2
    *above, last = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", key)]
    reduce(getitem, above, content)[last] = value
    file = write_own_coco(tmp_path)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=re.escape(f"{file}{told}")):
        prepared(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ({"train.txt": None, "trian.txt": "a"}, r"train\.txt: there is no such image list; .* Did you mean 'trian'"),
        ({"train.txt": "\n\n"}, r"train\.txt: the image list is empty"),
        ({"train.txt": "a\n\na\n"}, r"line 3: the image 'a' is named a second time; first in .*train\.txt, line 1"),
        ({"train.txt": "a -1\n"}, r"a -1\.xml: there is no such annotation file, but an image list names it"),
        ({"train.txt": "../a"}, r"train\.txt, line 1: found '\.\./a', expected a path below"),
        ({"train.txt": "Z\xe4hler\n".encode("latin-1")}, r"train\.txt, line 1: cannot be read as 'utf-8'"),
        ({"Annotations/a.xml": None, "Annotations/a.xml/a": ""}, r"a\.xml: cannot be read \(it is no regular file\)"),
        ({"Annotations/a.xml": None}, r"a\.xml: there is no such annotation file, but an image list names it"),
        ({"JPEGImages/a.jpg": None}, r"a\.jpg: there is no such image, but .*a\.xml names it"),
        ({"JPEGImages/a.jpg": picture(HEIGHT, HEIGHT)}, r"a\.jpg: the image is 48x48 pixels, but .*a\.xml says 64x48"),
    ],
)
def test_what_is_missing_or_wrong_is_named(tmp_path, spoil, told):
    root = write_own_voc(tmp_path)
    for name, content in spoil.items():
        path = root / ("ImageSets/Main/" + name if name.endswith(".txt") else name)
        path.unlink() if content is None else put(path, content)
    with pytest.raises(InputError, match=told):
        prepared(tmp_path)
    assert not list(tmp_path.glob("results/**/*.json"))


WHOLE = json.dumps(coco_content(), indent=1).encode()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        *((WHOLE[: int(keep * len(WHOLE))], r"line \d+ column \d+") for keep in (0, 0.5, 0.999)),
        (b'{"images": [,]}', "line 1 column 13"),
        (b"\xff\xfe\x00", "utf-16-le.* position 2"),
        (b"[1, 2]", "found a list, expected an object"),
        (b"[" * 100_000, "recursion"),
        (b'{"images": ' + b"1" * 5000 + b"}", "digits"),
        (WHOLE.replace(b'"categories"', b'"annotations": [], "categories"', 1), "key 'annotations' is written twice"),
        (None, "it is no regular file"),
    ],
)
def test_what_is_no_coco_file_is_refused(tmp_path, content, told):
    file = write_own_coco(tmp_path)
    file.unlink()
    put(file / "inside" if content is None else file, content or b"")
    with pytest.raises(InputError, match=rf"train\.json: cannot be read as COCO's JSON \(.*{told}.*restore it"):
        prepared(tmp_path)


ENTITY = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><annotation>&b;</annotation>'
DECLARED = f'<?xml version="1.0" encoding="{{}}"?>{ENTITY}'
ENCODINGS = ("utf-16", "utf-16-le", "latin1")
TWO = voc_xml([voc_object("cat", 1, 1, 10, 20), voc_object("cat", 5, 6, 40, 40)])


@pytest.mark.parametrize(
    ("xml", "told"),
    [
        (ENTITY, "line 1: the file declares a DOCTYPE"),
        ('\n\n<!DOCTYPE x SYSTEM "file:///etc/passwd"><annotation/>', "line 3: the file declares a DOCTYPE"),
        *((DECLARED.format(name[:6]).encode(name), "DOCTYPE|not well") for name in ENCODINGS),
        ("<annotation>&b;</annotation>", "line 1: not well-formed XML \\(undefined entity"),
        (TWO[:-70], "line 11: not well-formed XML"),
        ("", "not well-formed XML"),
        ("<svg/>", "found <svg>, expected <annotation>"),
        (voc_xml([voc_object("", 1, 1, 5, 5)]), "line 3: object 0 has no <name>"),
        (voc_xml([voc_object("cat", 1, 1, 5, 5, difficult=2)]), "line 3: object 0 has '2' as <difficult>"),
        (voc_xml([], width=-1), "key size: found -1 by 48"),
        (voc_xml([], width="wide"), "key size: found wide by 48"),
        ('<?xml version="1.0" encoding="ansi"?><annotation/>', "line 1: cannot be read as 'ansi' .unknown encoding"),
        ("<annotation>\n\ud8ff</annotation>", "line 2: cannot be read as 'utf-8'"),
        # A box is not lost with its tags.
        (TWO.replace("</object>\n<object>", ""), "line 3: object 0 has 2 <name>"),
        (re.sub("(</?)object", r"\1Object", TWO), "2 of 2 <bndbox> stands in no <object>"),
        (TWO.replace("</object>\n<object>", "<object>").replace("</a", "</object></a"), "1 of 2 <bndbox> stands in no"),
        (TWO.replace("<xmin>", "<xmin>3</xmin><xmin>", 1), "line 3: object 0 has 2 <xmin>; expected one"),
    ],
)
def test_a_bad_annotation_file_is_named_with_its_line(tmp_path, xml, told):
    path, faults = put(tmp_path / "a.xml", xml if isinstance(xml, bytes) else xml.encode(errors="surrogatepass")), []
    with pytest.raises(InputError, match=told) as caught:
        read_annotation(path, IMAGE, faults)
        raise faults[0]
    assert str(path) in str(caught.value)


def test_a_corner_that_is_absent_is_named(tmp_path):
    path = put(tmp_path / "a.xml", TWO.replace("xmin>", "left>", 2))
    assert [box.defect and box.defect[1] for box in read_annotation(path, IMAGE, [])[1]] == ["has no <xmin>", None]


def test_the_same_image_in_two_lists_of_a_split_is_refused(tmp_path):
    write_voc(tmp_path / "data" / "own", {"train": {"a": []}, "val": {"a": []}})
    describe(tmp_path, splits={"train": {"sets": [{"folder": ".", "list": name} for name in ("train", "val")]}})
    with pytest.raises(InputError, match=r"val\.txt, line 1: the image 'a' is .*; first in .*train\.txt, line 1"):
        prepared(tmp_path)


def test_all_faults_are_told_at_once_and_listed_in_a_file(tmp_path):
    def spoil(train, val):
        train["annotations"] += [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 0, n]} for n in range(20)]
        train["annotations"][0]["image_id"] = 99
        val["images"][1]["width"] = 63

    two_coco_splits(tmp_path, spoil)
    file = tmp_path / "data" / "own" / "val.json"
    file.write_text(file.read_text().replace("1.jpg", r"\ud800.jpg"))  # which is no Unicode
    with pytest.raises(InputError) as caught:
        prepared(tmp_path)
    told = str(caught.value)
    kinds = ("20 x box without area", "1 x image unknown", "1 x image unreadable", "1 x image of another size")
    listed = tmp_path / "results" / "datasets" / "own" / "faults.txt"
    for part in (*kinds, "annotations[0].image_id", "val/2.jpg", "`invalid_boxes: exclude`", str(listed)):
        assert part in told
    assert len(told.splitlines()) < 15
    lines = listed.read_text().splitlines()
    assert len(lines) == 23 and [line for line in lines if "annotations[21]" in line]

    two_coco_splits(tmp_path, lambda *_: None)
    prepared(tmp_path)
    assert not listed.exists()


def test_invalid_images_are_left_out_with_their_boxes_where_that_is_asked_for(tmp_path):
    content = coco_content([(0, 0, 10, 10), (0, 0, 20, 20), (0, 0, 30, 30)], images=3)
    for number, annotation in enumerate(content["annotations"], start=1):
        annotation["image_id"] = number
    content["images"][1]["width"] = 63
    write_own_coco(tmp_path, content)
    with pytest.raises(InputError, match=r"2\.jpg: the image is 64x48.*`invalid_images: exclude` in .*own\.yaml"):
        prepared(tmp_path)
    write_own_coco(tmp_path, content, invalid_images="exclude")
    split = prepared(tmp_path).split("train")
    (named,) = split.excluded
    assert named["image"] == "2.jpg" and "64x48" in named["why"]
    assert (split.counts["images"], split.counts["boxes"]) == (2, 2)
    written = converted(tmp_path, "train")
    images = [(image["id"], image["file_name"], image.get("source_id")) for image in written["images"]]
    assert images == [(1, "1.jpg", None), (2, "3.jpg", 3)]
    assert [(a["id"], a["image_id"], a["bbox"][2]) for a in written["annotations"]] == [(1, 1, 10), (2, 2, 30)]


def test_a_split_of_which_no_image_can_be_used_is_refused(tmp_path):
    content = coco_content(images=1)
    content["images"][0]["width"] = 63
    write_own_coco(tmp_path, content, invalid_images="exclude")
    with pytest.raises(InputError, match=r"none of the 1 images of the split 'train' can be used\. .*1\.jpg"):
        prepared(tmp_path)
