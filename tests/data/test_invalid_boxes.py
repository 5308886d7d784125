"""Boxes, whatever their layout: which are invalid, what is done with them, and how the others are counted."""

import pytest
from builders.data import HEIGHT, WIDTH, coco_content, converted, prepared, voc_object, write_own_coco, write_own_voc

from iou_aware.common.messages import InputError
from iou_aware.data.canonical import count


def write(project, layout, *boxes, **keys):
    """Write cats on one image, in COCO's or VOC's numbers; return what names the second in a message."""
    if layout == "coco":
        content = coco_content([(0, 0, 10, 10)] * len(boxes))
        for annotation, box in zip(content["annotations"], boxes, strict=True):
            annotation["bbox"] = box
        file = write_own_coco(project, content, **keys)
        return f"{file}, key annotations[1]: box 1 (cat) of image 1.jpg", "(x, y, width, height)"
    root = write_own_voc(project, *(voc_object("cat", *box) for box in boxes), **keys)
    return f"{root}/Annotations/a.xml, line 8: box 1 (cat) of image JPEGImages/a.jpg", "(xmin, ymin, xmax, ymax)"


GOOD = {"coco": [0, 0, 10, 10], "voc": (1, 1, 10, 20)}
COCO = [
    ([10, 10, 0, 5], "has no area"),
    ([10, 10, 5, -3], "has no area"),
    ([50, 10, 20, 5], "is outside of its image of 64x48 pixels"),
    ([-2, 10, 20, 5], "is outside"),
    ([10, 40, 20, 10], "is outside"),
    ([float("nan"), 10, 20, 5], "is not finite"),
    ([10, 10, 0.6, 20], "is less than a pixel wide or high"),
    ([WIDTH, 10, 1, 5], "is outside"),
    ([10, -1, 5, 1], "is outside"),
    (None, "is not four numbers"),
    ([1, 2, 3, "4"], "is not four numbers"),
    ([1, 2, 3], "is not four numbers"),
    ([1, 2, 3, 10**400], "is not four numbers"),
]
VOC = [
    ((20, 7, 20, 30), "has no area"),
    ((20, 30, 40, 30), "has no area"),
    ((1, 1, WIDTH + 2, 30), "is outside of its image of 64x48 pixels"),
    ((-1, 1, 30, 30), "is outside of its image"),
    (("nan", 1, 30, 30), "is not finite"),
    (("one", 1, 30, 30), "has 'one' as <xmin>"),
    (("", 1, 30, 30), "has None as <xmin>"),
]


@pytest.mark.parametrize(("layout", "box", "why"), [("coco", *bad) for bad in COCO] + [("voc", *bad) for bad in VOC])
def test_an_invalid_box_stops_is_left_out_or_is_kept_but_always_named(tmp_path, layout, box, why):
    place, corners = write(tmp_path, layout, GOOD[layout], box)
    with pytest.raises(InputError) as caught:
        prepared(tmp_path)
    for part in (place, f"{corners} {why}", "`invalid_boxes: exclude`", "own.yaml"):
        assert part in str(caught.value)

    write(tmp_path, layout, GOOD[layout], box, invalid_boxes="exclude")
    split = prepared(tmp_path).split("train")
    assert [annotation["id"] for annotation in converted(tmp_path, "train")["annotations"]] == [1]
    (named,) = split.invalid
    assert (split.counts["boxes"], named["line"], named["index"]) == (1, 8 if layout == "voc" else None, 1)
    assert f"{named['file']}, " in place.removeprefix(f"{tmp_path}/data/own/") and named["image"] in place
    assert f"{corners} {why}" in named["why"]

    write(tmp_path, layout, GOOD[layout], box, invalid_boxes="keep")
    kept = prepared(tmp_path).split("train")
    assert kept.invalid == split.invalid
    # What is no number cannot be kept in a JSON file.
    assert kept.counts["boxes"] == (2 if "area" in why or "outside" in why or "pixel wide" in why else 1)


@pytest.mark.parametrize(
    ("layout", "box"), [("coco", [-1, -1, WIDTH + 2, HEIGHT + 2]), ("voc", (0, 0, WIDTH + 1, HEIGHT + 1))]
)
def test_a_box_may_stick_out_by_a_pixel(tmp_path, layout, box):
    write(tmp_path, layout, box)
    assert prepared(tmp_path).split("train").counts["boxes"] == 1


def test_areas_are_counted_with_cocos_limits():
    boxes = [{"area": area, "category_id": 1, "iscrowd": 0} for area in (31 * 32, 32 * 32, 96 * 96, 96 * 96 + 1)]
    content = {"images": [], "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    assert count(content)["areas"] == {"small": 1, "medium": 2, "large": 1}
