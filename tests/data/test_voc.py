"""VOC annotations: the conversion keeps VOC's geometry and meaning, and nothing bad gets through unnamed."""

import json

import pytest
from builders.data import HEIGHT, WIDTH, converted, describe, picture, prepared, put, voc_object, voc_xml, write_voc
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from iou_aware.common.errors import InputError
from iou_aware.data.layouts.voc_xml import line_of, read_annotation

corners = st.tuples(*[st.integers(1, 200)] * 4).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]) + 1, max(c[1], c[3]) + 1)
)


def voc_iou(a, b):
    """Return the IoU of VOC's development kit: corners belong to the box."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.fixture(scope="module")
def xml(tmp_path_factory):
    return tmp_path_factory.mktemp("voc") / "a.xml"


def boxes_of(xml, *boxes):
    put(xml, voc_xml([voc_object("cat", *box) for box in boxes]))
    return [box.box for box in read_annotation(xml, 0, []).boxes]


@given(corners, corners)
def test_ious_in_coco_form_are_those_of_voc(xml, a, b):
    boxes = boxes_of(xml, a, b)
    assert mask.iou([boxes[0]], [boxes[1]], [0])[0, 0] == pytest.approx(voc_iou(a, b), abs=1e-12)


@given(corners)
def test_a_box_covers_the_pixels_that_voc_counts(xml, box):
    ((x, y, width, height),) = boxes_of(xml, box)
    assert (x, y) == (box[0] - 1, box[1] - 1)
    assert width * height == (box[2] - box[0] + 1) * (box[3] - box[1] + 1)


def write(tmp_path, *objects, name="a"):
    write_voc(tmp_path / "data" / "own", {"train": {name: list(objects)}})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"</object>\n<object>": ""}, r"a\.xml, line 3: object 0 has 2 <name>"),
        ({"<object>": "<Object>", "</object>": "</Object>"}, r"a\.xml: 1 of 2 <bndbox> stands in no <object>"),
        (
            {"</object>\n<object>": "<object>", "</annotation>": "</object></annotation>"},
            r"1 of 2 <bndbox> stands in no",
        ),
        ({"<annotation>": "<annotation><bndbox/>"}, r"a\.xml: 1 of 3 <bndbox> stands in no <object>"),
        ({"<xmin>": "<xmin>3</xmin><xmin>"}, r"a\.xml, line 3: object 0 has 2 <xmin>; expected one"),
        ({"<bndbox>": "<box>", "</bndbox>": "</box>"}, r"a\.xml, line 3: box 0 .* has no <xmin>"),
    ],
)
def test_a_box_is_not_lost_with_its_tags(tmp_path, changes, told):
    describe(tmp_path)
    write(tmp_path, voc_object("cat", 1, 1, 10, 20), voc_object("cat", 5, 6, 40, 40))
    xml = tmp_path / "data" / "own" / "Annotations" / "a.xml"
    for before, after in changes.items():
        xml.write_text(xml.read_text().replace(before, after, 1))
    with pytest.raises(InputError, match=told):
        prepared(tmp_path)


def test_conversion(tmp_path):
    root = tmp_path / "data" / "own"
    objects = [voc_object("cat", 1, 1, 10, 20), voc_object("dog", 5, 6, WIDTH, HEIGHT, difficult=1)]
    write_voc(root / "VOC2007", {"trainval": {"000005": objects, "000002": []}})
    write_voc(root / "VOC2012", {"trainval": {"2008_1": [voc_object("ant", 2, 2, 4, 4)]}})
    sets = [{"folder": year, "list": "trainval"} for year in ("VOC2007", "VOC2012")]
    describe(tmp_path, splits={"trainval": {"sets": sets}}, train="trainval", evaluate=["trainval"])
    manifest = prepared(tmp_path)
    content = converted(tmp_path, "trainval")
    assert [(image["id"], image["file_name"]) for image in content["images"]] == [
        (1, "VOC2007/JPEGImages/000005.jpg"),
        (2, "VOC2007/JPEGImages/000002.jpg"),
        (3, "VOC2012/JPEGImages/2008_1.jpg"),
    ]
    assert {(image["width"], image["height"]) for image in content["images"]} == {(WIDTH, HEIGHT)}
    assert content["categories"] == [{"id": 1, "name": "ant"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "dog"}]
    assert [
        (a["id"], a["image_id"], a["category_id"], a["bbox"], a["area"], a["iscrowd"]) for a in content["annotations"]
    ] == [
        (1, 1, 2, [0, 0, 10, 20], 200, 0),
        (2, 1, 3, [4, 5, WIDTH - 4, HEIGHT - 5], (WIDTH - 4) * (HEIGHT - 5), 1),
        (3, 3, 1, [1, 1, 3, 3], 9, 0),
    ]
    counts = manifest.split("trainval").counts
    assert (counts["images"], counts["boxes"], counts["ignored"]) == (3, 2, 1)
    assert counts["classes"] == {"ant": 1, "cat": 1, "dog": 0}


def test_a_difficult_object_is_neither_missed_nor_a_false_alarm(tmp_path):
    write(tmp_path, voc_object("cat", 1, 1, 20, 20), voc_object("cat", 31, 1, 50, 20, difficult=1))
    describe(tmp_path)
    manifest = prepared(tmp_path)
    truth = COCO(str(tmp_path / manifest.split("train").annotations))
    found = [[30, 0, 20, 20], [0, 0, 20, 20]]
    detections = [
        {"image_id": 1, "category_id": 1, "bbox": box, "score": 1 - rank / 10} for rank, box in enumerate(found)
    ]
    for some in (detections, detections[1:]):
        evaluation = COCOeval(truth, truth.loadRes(some), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1)


def test_classes_keep_the_order_they_are_listed_in(tmp_path):
    write(tmp_path, voc_object("cat", 1, 1, 10, 20), voc_object("ant", 1, 1, 10, 20))
    describe(tmp_path, classes=["dog", "cat", "ant"])
    manifest = prepared(tmp_path)
    assert (manifest.classes, manifest.category_ids) == (["dog", "cat", "ant"], [1, 2, 3])
    assert [annotation["category_id"] for annotation in converted(tmp_path, "train")["annotations"]] == [2, 3]


def test_boxes_of_an_objects_parts_are_not_the_objects(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    write(tmp_path, voc_object("person", 3, 3, 10, 20).replace("</object>", f"{part}</object>"))
    describe(tmp_path)
    assert prepared(tmp_path).classes == ["person"]
    assert [annotation["bbox"] for annotation in converted(tmp_path, "train")["annotations"]] == [[2, 2, 8, 18]]


def test_fractions_are_kept_and_a_missing_size_is_read_from_the_image(tmp_path):
    write(tmp_path)
    xml = f"<annotation>{voc_object('cat', 1.5, 2, 10.25, 20)}</annotation>"
    put(tmp_path / "data" / "own" / "Annotations" / "a.xml", xml)
    describe(tmp_path)
    prepared(tmp_path)
    content = converted(tmp_path, "train")
    assert content["annotations"][0]["bbox"] == [0.5, 1, 9.75, 19]
    assert (content["images"][0]["width"], content["images"][0]["height"]) == (WIDTH, HEIGHT)


def with_images(tmp_path, images, listed="a", file_name=None, **keys):
    """Write a split of one image whose files are as given; return what is prepared of it."""
    write(tmp_path, voc_object("cat", 1, 1, 10, 20))
    root = tmp_path / "data" / "own"
    (root / "JPEGImages" / "a.jpg").unlink()
    for name, form in images.items():
        put(root / "JPEGImages" / name, picture(form=form))
    put(root / "ImageSets" / "Main" / "train.txt", listed)
    named = "" if file_name is None else f"<filename>{file_name}</filename>"
    xml = root / "Annotations" / "a.xml"
    put(xml, xml.read_text().replace("<annotation>", f"<annotation>{named}"))
    describe(tmp_path, **keys)
    prepared(tmp_path)
    return converted(tmp_path, "train")["images"][0]["file_name"].removeprefix("JPEGImages/")


@pytest.mark.parametrize(
    ("images", "file_name", "taken"),
    [
        ({"a.png": "PNG"}, None, "a.png"),
        ({"a.PNG": "PNG"}, "a.jpg", "a.PNG"),
        ({"a.jfif": "JPEG"}, "a.jfif", "a.jfif"),
        ({"a.tif": "TIFF"}, "a.tif", "a.tif"),
        ({"a.webp": "WEBP"}, None, "a.webp"),
        ({"a.bmp": "BMP", "a.txt": "BMP"}, None, "a.bmp"),
        ({"a.png": "PNG", "a.jpg": "JPEG"}, "a.png", "a.png"),
        ({"a.png": "PNG", "a.jpg": "JPEG"}, "C:\\photos\\a.jpg", "a.jpg"),
        ({"IMG_1.png": "PNG"}, "IMG_1.png", "IMG_1.png"),
        ({"a.jpg": "JPEG", "b.jpg": "JPEG"}, "b.jpg", "a.jpg"),
    ],
)
def test_the_image_is_that_of_the_lists_name_or_of_filename(tmp_path, images, file_name, taken):
    assert with_images(tmp_path, images, file_name=file_name) == taken


@pytest.mark.parametrize(
    ("images", "file_name", "told"),
    [
        ({"a.png": "PNG", "a.jpg": "JPEG"}, None, "a.jpg and a.png are both there, and <filename> names none"),
        ({"a.png": "PNG", "a.jpg": "JPEG"}, "b.png", "both there, and <filename> names b.png"),
        ({"c.png": "PNG"}, "b.png", "there is no such image, .jpg or the like, nor b.png, which <filename> names"),
        ({}, "a.png", "a.png: there is no such image, but .*a.xml names it"),
    ],
)
def test_an_image_that_is_not_there_or_not_certain_is_named(tmp_path, images, file_name, told):
    with pytest.raises(InputError, match=told):
        with_images(tmp_path, images, file_name=file_name)


@pytest.mark.parametrize("listed", ["a.jpg", "a.JPG", "a.xml", ".\\a", "JPEGImages\\a.jpg", '"a"'])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_may_have_suffixes_backslashes_and_quotes(tmp_path, listed, encoding):
    assert with_images(tmp_path, {"a.jpg": "JPEG"}, listed.encode(encoding)) == "a.jpg"


def test_an_image_without_an_annotation_file_is_a_negative_where_that_is_asked_for(tmp_path):
    write_voc(tmp_path / "data" / "own", {"train": {"a": [voc_object("cat", 1, 1, 10, 20)], "b": []}})
    (tmp_path / "data" / "own" / "Annotations" / "b.xml").unlink()
    describe(tmp_path)
    with pytest.raises(InputError, match=r"b\.xml: there is no such .*`missing_annotations: negative`"):
        prepared(tmp_path)
    describe(tmp_path, missing_annotations="negative")
    counts = prepared(tmp_path).split("train").counts
    assert (counts["images"], counts["boxes"]) == (2, 1)
    assert converted(tmp_path, "train")["images"][1]["width"] == WIDTH
    describe(tmp_path, invalid_images="exclude")
    split = prepared(tmp_path).split("train")
    assert (split.counts["images"], [image["image"] for image in split.excluded]) == (1, ["JPEGImages/b.jpg"])


def test_all_faults_of_all_files_are_told_at_once(tmp_path):
    objects = {name: [voc_object("cat", 1, 1, 10, 20)] for name in "abcde"}
    write_voc(tmp_path / "data" / "own", {"train": objects})
    root = tmp_path / "data" / "own"
    put(root / "Annotations" / "a.xml", "<annotation>")
    put(root / "Annotations" / "b.xml", voc_xml([voc_object("", 1, 1, 5, 5), voc_object("dog", 5, 5, 5, 5)]))
    put(root / "JPEGImages" / "c.jpg", b"")
    put(root / "ImageSets" / "Main" / "train.txt", "a\nb\na\nc\nd\n../e\n")
    describe(tmp_path, classes=["cat"])
    with pytest.raises(InputError, match=r"6 faults: ") as caught:
        prepared(tmp_path)
    kinds = ("file unreadable", "object incomplete", "class not listed", "image unreadable")
    for kind in (*kinds, "image listed twice", "name outside the folder"):
        assert f"1 x {kind}" in str(caught.value)


ENTITY = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x SYSTEM "file:///etc/passwd">'


@pytest.mark.parametrize(
    ("xml", "told"),
    [
        (ENTITY + "<annotation>&b;</annotation>", "line 1: the file declares a DOCTYPE"),
        ("\n\n" + OUTSIDE + "<annotation/>", "line 3: the file declares a DOCTYPE"),
        ("<annotation>&b;</annotation>", "line 1: not well-formed XML \\(undefined entity"),
        (voc_xml([voc_object("cat", 1, 1, 5, 5)])[:-60], "line 6: not well-formed XML"),
        ("", "not well-formed XML"),
        ("\0\0\0", "not well-formed XML"),
        ("<svg/>", "found <svg>, expected <annotation>"),
        (voc_xml([voc_object("", 1, 1, 5, 5)]), "line 3: object 0 has no <name>"),
        (voc_xml([voc_object("cat", 1, 1, 5, 5, difficult=2)]), "line 3: object 0 has '2' as <difficult>"),
        (voc_xml([], width=-1), "key size: found -1 by 48"),
        (voc_xml([], width="wide"), "key size: found wide by 48"),
        (
            '<?xml version="1.0" encoding="ansi"?>' + voc_xml([]),
            "line 1: the encoding 'ansi', which the file declares, is",
        ),
        ("<annotation>\n\ud8ff</annotation>", "line 2: found bytes that are not utf-8 text"),
    ],
)
def test_a_bad_annotation_file_is_named_with_its_line(tmp_path, xml, told):
    path, faults = put(tmp_path / "a.xml", xml.encode(errors="surrogatepass")), []
    with pytest.raises(InputError, match=told) as caught:
        read_annotation(path, 0, faults)
        raise faults[0]
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("encoding", ["gb2312", "GBK", "utf8", "utf-16", "utf-8-sig", "shift_jis"])
def test_a_file_may_be_in_any_encoding_that_it_declares(tmp_path, encoding):
    text = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>\n' + voc_xml(
        [voc_object("中", 1, 1, 5, 5)]
    )
    path = put(tmp_path / "a.xml", text.encode(encoding))
    assert [box.category for box in read_annotation(path, 0, []).boxes] == ["中"]
    assert line_of(path, 0) == 4


def test_a_declaration_of_utf_16_in_a_file_that_is_not_is_passed_over(tmp_path):
    path = put(tmp_path / "a.xml", '<?xml version="1.0" encoding="utf-16"?>' + voc_xml([voc_object("ö", 1, 1, 5, 5)]))
    assert [box.category for box in read_annotation(path, 0, []).boxes] == ["ö"]


@pytest.mark.parametrize(
    ("difficult", "ignored"), [("", 0), ("0", 0), ("False", 0), (" no ", 0), ("1", 1), ("True", 1)]
)
def test_difficult_is_read_as_tools_write_it(tmp_path, difficult, ignored):
    write(tmp_path, voc_object("cat", 1, 1, 10, 20), voc_object("cat", 1, 1, 10, 20, difficult=difficult))
    describe(tmp_path)
    assert prepared(tmp_path).split("train").counts["ignored"] == ignored


@pytest.mark.parametrize("width", [0, "", " "])
def test_a_size_that_is_not_stated_is_read_from_the_image(tmp_path, width):
    write(tmp_path, voc_object("cat", 1, 1, 10, 20))
    put(tmp_path / "data" / "own" / "Annotations" / "a.xml", voc_xml([voc_object("cat", 1, 1, 10, 20)], width=width))
    describe(tmp_path)
    prepared(tmp_path)
    (image,) = converted(tmp_path, "train")["images"]
    assert (image["width"], image["height"]) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "iso-8859-1"])
def test_entities_do_not_hide_in_an_encoding(tmp_path, encoding):
    declaration = f'<?xml version="1.0" encoding="{encoding[:6] if "16" in encoding else encoding}"?>'
    path = put(tmp_path / "a.xml", (declaration + ENTITY + "<annotation>&b;</annotation>").encode(encoding))
    with pytest.raises(InputError, match=r"DOCTYPE|not well-formed"):
        read_annotation(path, 0, [])


def test_lines_are_those_of_the_objects(tmp_path):
    objects = [voc_object("cat", 1, 1, 5, 5)] * 3
    path = put(tmp_path / "a.xml", voc_xml(objects))
    lines = path.read_text().splitlines()
    for index in range(3):
        assert lines[line_of(path, index) - 1] == "<object>"
    assert [line_of(path, index) for index in range(3)] == [n for n, line in enumerate(lines, 1) if line == "<object>"]


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((20, 7, 20, 30), "has no area"),
        ((20, 30, 40, 30), "has no area"),
        ((20, 7, 10, 30), "has no area"),
        ((1, 1, WIDTH + 2, 30), "is outside of its image of 64x48 pixels"),
        ((-1, 1, 30, 30), "is outside of its image"),
        (("nan", 1, 30, 30), "is not finite"),
        (("one", 1, 30, 30), "has 'one' as <xmin>"),
        (("", 1, 30, 30), "has None as <xmin>"),
    ],
)
def test_an_invalid_box_stops_is_left_out_or_is_kept_but_always_named(tmp_path, box, why):
    write(tmp_path, voc_object("cat", 1, 1, 10, 20), voc_object("cat", *box))
    file = describe(tmp_path)
    with pytest.raises(InputError) as caught:
        prepared(tmp_path)
    for part in ("Annotations/a.xml, line 8", "box 1 (cat)", "JPEGImages/a.jpg", why, "invalid_boxes", str(file)):
        assert part in str(caught.value)

    describe(tmp_path, invalid_boxes="exclude")
    split = prepared(tmp_path).split("train")
    assert split.counts["boxes"] == len(converted(tmp_path, "train")["annotations"]) == 1
    (named,) = split.invalid
    assert (named["file"], named["line"], named["index"]) == ("Annotations/a.xml", 8, 1)
    assert why in named["why"]

    describe(tmp_path, invalid_boxes="keep")
    split = prepared(tmp_path).split("train")
    assert split.invalid == [named]
    assert split.counts["boxes"] == (2 if isinstance(box[0], int) else 1), (
        "what is not a number cannot be kept in a JSON file"
    )


def test_a_box_may_stick_out_by_a_pixel(tmp_path):
    write(tmp_path, voc_object("cat", 0, 0, WIDTH, HEIGHT), voc_object("cat", 1, 1, WIDTH + 1, HEIGHT + 1))
    describe(tmp_path)
    assert prepared(tmp_path).split("train").counts["boxes"] == 2


def spoil(root, what):
    if what == "no list":
        (root / "ImageSets/Main/train.txt").rename(root / "ImageSets/Main/trian.txt")
    elif what == "empty list":
        put(root / "ImageSets/Main/train.txt", "\n\n")
    elif what == "listed twice":
        put(root / "ImageSets/Main/train.txt", "a\n\na\n")
    elif what == "class list":
        put(root / "ImageSets/Main/train.txt", "a -1\n")
    elif what == "another encoding":
        put(root / "ImageSets/Main/train.txt", "Z\xe4hler\n".encode("latin-1"))
    elif what == "no xml":
        (root / "Annotations/a.xml").unlink()
    elif what == "a folder as xml":
        (root / "Annotations/a.xml").unlink()
        (root / "Annotations/a.xml").mkdir()
    elif what == "no image":
        (root / "JPEGImages/a.jpg").unlink()
    elif what == "other size":
        put(root / "JPEGImages/a.jpg", picture(HEIGHT, WIDTH))


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("no list", r"train\.txt: there is no such image list\. Did you mean 'trian'"),
        ("empty list", r"train\.txt: the image list is empty"),
        ("listed twice", r"train\.txt, line 3: the image 'a' is named a second time; first on line 1"),
        ("class list", r"train\.txt, line 1: found 'a -1', expected the name of one image"),
        ("another encoding", r"train\.txt, line 1: found bytes that are not utf-8 text"),
        ("a folder as xml", r"a\.xml: cannot be read \(it is no regular file\)"),
        ("no xml", r"a\.xml: there is no such annotation file, but an image list names it"),
        ("no image", r"a\.jpg: there is no such image, but .*a\.xml names it"),
        ("other size", r"a\.jpg: the image is 48x64 pixels, but .*a\.xml says 64x48"),
    ],
)
def test_what_is_missing_or_wrong_is_named(tmp_path, what, told):
    write(tmp_path, voc_object("cat", 1, 1, 10, 20))
    describe(tmp_path)
    spoil(tmp_path / "data" / "own", what)
    with pytest.raises(InputError, match=told):
        prepared(tmp_path)
    assert not list((tmp_path / "results").rglob("*.json")) if (tmp_path / "results").exists() else True


@pytest.mark.parametrize("name", ["weiße Zelle 3 細胞", "photo 1", "it's 100% {x}"])
def test_names_of_images_may_have_spaces_and_letters_of_any_alphabet(tmp_path, name):
    write(tmp_path, voc_object("cat", 1, 1, 10, 20), name=name)
    describe(tmp_path)
    prepared(tmp_path)
    assert converted(tmp_path, "train")["images"][0]["file_name"] == f"JPEGImages/{name}.jpg"


def test_a_class_that_is_not_listed_is_named_with_the_closest(tmp_path):
    write(tmp_path, voc_object("catt", 1, 1, 10, 20), voc_object("cat", 1, 1, 10, 30))
    describe(tmp_path, classes=["cat", "dog"])
    with pytest.raises(InputError, match=r"a\.xml, line 3: the class 'catt' is unknown\. Did you mean 'cat'"):
        prepared(tmp_path)
    describe(tmp_path, classes=["cat", "dog"], unlisted_classes="exclude")
    split = prepared(tmp_path).split("train")
    assert (split.counts["classes"], split.unlisted) == ({"cat": 1, "dog": 0}, {"catt": 1})


def test_the_same_image_in_two_lists_of_a_split_is_refused(tmp_path):
    root = tmp_path / "data" / "own"
    write_voc(root, {"train": {"a": []}, "val": {"a": []}})
    describe(tmp_path, splits={"train": {"sets": [{"folder": ".", "list": name} for name in ("train", "val")]}})
    with pytest.raises(InputError, match=r"splits\.train\.sets: the image \./a is in two lists"):
        prepared(tmp_path)


def test_a_split_without_any_box_is_refused(tmp_path):
    write(tmp_path, voc_object("cat", 1, 1, 10, 20, difficult=1))
    describe(tmp_path)
    with pytest.raises(InputError, match="1 images but no box to be found \\(1 ignored"):
        prepared(tmp_path)


def test_conversion_is_deterministic(tmp_path):
    write(tmp_path, voc_object("cat", 1, 1, 10, 20), voc_object("dog", 1, 1, 10, 20))
    describe(tmp_path)
    written = []
    for _ in range(2):
        manifest = prepared(tmp_path)
        written.append((manifest, (tmp_path / manifest.split("train").annotations).read_bytes()))
    assert written[0] == written[1]
    assert json.loads(written[0][1])["annotations"]


@pytest.mark.parametrize("name", ["../b", "{}/b", "a\0b"])
def test_an_image_list_that_leads_out_of_the_folder_is_named(tmp_path, name):
    write(tmp_path, voc_object("cat", 1, 1, 10, 20))
    listed = tmp_path / "data" / "own" / "ImageSets" / "Main" / "train.txt"
    listed.write_text(f"a\n{name.format(tmp_path)}\n")
    describe(tmp_path)
    with pytest.raises(InputError, match=r"train\.txt, line 2: found .*expected a path below"):
        prepared(tmp_path)
