"""Boxes on own photographs: the same as the stage ``predict`` finds, and every bad input named."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from builders.data import csv_rows, put
from builders.training import IOU_AWARE, RETINANET
from PIL import Image

from iou_aware import detections
from iou_aware.common.messages import InputError
from iou_aware.data.annotations import Annotations
from iou_aware.inference.detect import detect

NAMES = {1: "small", 2: "large"}
SIDES = ("x1", "y1", "x2", "y2")


@pytest.fixture
def photos(predicted) -> list[Path]:
    """The validation images, in the order of their ids, which count from 1."""
    names = Annotations.load(predicted.root / "results" / "datasets" / "shapes" / "val.json").file_names
    return [predicted.root / "data" / "shapes" / "val" / names[number] for number in sorted(names)]


def boxes(table: Path) -> list[dict[str, str]]:
    return [{**line, "photo": ""} for line in csv_rows(table)]


@pytest.mark.parametrize(("run", "rule", "stored"), [(IOU_AWARE, "alpha=0.3", "alpha=0.30"), (RETINANET, None, "cls")])
def test_boxes_are_those_of_the_stage(predicted, photos, tmp_path, run, rule, stored):
    written = detect(photos, predicted.paths.run_folder(run), rule, tmp_path / "out")
    assert [path.name for path in written] == [*(f"{path.stem}.jpg" for path in photos), "detections.csv"]
    found = csv_rows(written[-1])
    expected = detections.read(predicted.paths.detections(run, "val"), stored)
    assert [1 + photos.index(Path(line["photo"])) for line in found] == expected.image_ids.tolist()
    assert [line["class"] for line in found] == [NAMES[category] for category in expected.category_ids]
    corners = np.array([[float(line[side]) for side in SIDES] for line in found])
    assert corners == pytest.approx(expected.boxes, abs=0.01)
    assert [float(line["confidence"]) for line in found] == pytest.approx(expected.confidences.tolist(), abs=1e-6)
    for columns, decimals in ((SIDES, 2), (("confidence", "cls_score"), 6)):
        assert max(len(line[column].partition(".")[2]) for line in found for column in columns) == decimals
    ious = [None] * len(found) if expected.iou_preds is None else expected.iou_preds.tolist()
    assert [float(line["iou_pred"]) if line["iou_pred"] else None for line in found] == pytest.approx(ious, abs=1e-6)


def test_only_sure_boxes_are_drawn_and_small_photographs_are_enlarged(predicted, photos, tmp_path):
    differences = []
    for least in (0.0, 1.0):
        picture, table = detect(photos[:1], predicted.paths.run_folder(IOU_AWARE), None, tmp_path / str(least), least)
        assert csv_rows(table)
        with Image.open(picture) as drawn, Image.open(photos[0]) as original:
            assert max(drawn.size) >= 900
            plain = original.convert("RGB").resize(drawn.size, Image.Resampling.BICUBIC)
            differences.append(np.abs(np.asarray(drawn, dtype=int) - np.asarray(plain, dtype=int)).mean())
    assert differences[0] > 2 * differences[1]


def test_what_cannot_be_drawn_is_refused_before_anything_is_written(predicted, photos, tmp_path):
    good, text, twin, out = photos[0], tmp_path / "text.jpg", tmp_path / "twin" / photos[0].name, tmp_path / "out"
    put(text, "no picture")
    put(twin, good.read_bytes())
    jpeg = tmp_path / "photo.jpg"
    Image.open(good).save(jpeg)
    retinanet, aware, nowhere = *map(predicted.paths.run_folder, (RETINANET, IOU_AWARE)), tmp_path / "nowhere"
    for taken, run, rule, place, told in [
        ([good], retinanet, "alpha=0.50", out, "predicts no IoU"),
        ([good], aware, "oracle=0.30", out, "needs to know the objects"),
        ([good], aware, "alpha=1.5", out, "alpha"),
        ([tmp_path / "missing.jpg"], nowhere, None, out, "no such file"),
        ([good, text], nowhere, None, out, r"text\.jpg: cannot be read"),
        ([good, twin], nowhere, None, out, "both would become"),
        ([jpeg], nowhere, None, tmp_path, "would replace a photograph"),
        ([good], nowhere, None, out, rf"{nowhere}/run\.json does not exist: .* or its folder is not results/"),
        ([good], good, None, out, rf"{good.parent}/run\.json does not exist"),
    ]:
        with pytest.raises(InputError, match=told):
            detect(taken, run, rule, place)
    with pytest.raises(InputError, match="from 0 to 1"):
        detect([good], aware, None, out, least=30)
    assert not out.exists()


def test_a_folder_stands_for_its_photographs_and_the_weights_for_their_run(predicted, photos, tmp_path):
    first, second = photos[:2]
    folder, run = tmp_path / "my photographs", predicted.paths.run_folder(IOU_AWARE)
    for image in (first, second):
        put(folder / image.name, image.read_bytes())
    *drawn, one = detect([folder, folder / first.name], run / "weights.pth", None, tmp_path / "one")
    assert [path.name for path in drawn] == [f"{image.stem}.jpg" for image in (first, second)]
    *_, other = detect([first, second], run, None, tmp_path / "other")
    assert boxes(one) == boxes(other) != []
    twin = folder / f"{first.stem}.tif"
    Image.open(first).save(twin)
    *drawn, _ = detect([folder], run, None, tmp_path / "twins")
    assert {path.name for path in drawn} == {f"{first.name}.jpg", f"{twin.name}.jpg", f"{second.stem}.jpg"}


def test_what_is_no_photograph_in_a_folder_is_passed_over_with_a_word(predicted, photos, tmp_path, caplog):
    others = {"._photo.jpg": b"\0\x05\x16\7\0\2\0\0Mac OS X" + bytes(60), "cut.jpg": b"\xff\xd8\xff", "notes.txt": b"x"}
    for name, content in (others | {photos[0].name: photos[0].read_bytes()}).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    drawn = detect([tmp_path], predicted.paths.run_folder(IOU_AWARE), None, tmp_path / "out")
    assert [path.name for path in drawn] == [f"{photos[0].stem}.jpg", "detections.csv"]
    for name in [*others, "folder.jpg", "pipe.png"]:
        assert re.search(rf"Passed over: .*{re.escape(name)}: cannot be read", caplog.text), name


def test_a_photograph_of_an_impossible_shape_leaves_the_others_drawn(predicted, photos, tmp_path):
    wide = tmp_path / "awide.png"
    Image.new("RGB", (3000, 20)).save(wide)
    with pytest.raises(InputError, match=r"^\S*awide\.png: 3000 x 20 pixels cannot be worked on .* or crop them\.$"):
        detect([wide, photos[0]], predicted.paths.run_folder(IOU_AWARE), None, tmp_path / "out")
    assert {line["photo"] for line in csv_rows(tmp_path / "out" / "detections.csv")} == {str(photos[0])}
    assert (tmp_path / "out" / f"{photos[0].stem}.jpg").is_file()


@pytest.mark.parametrize(
    ("run", "form", "factor"),
    [(IOU_AWARE, "png", 1), (IOU_AWARE, "webp", 1), (IOU_AWARE, "png", 2), (RETINANET, "png", 2)],
)
def test_turned_and_large_photographs_are_detected_as_they_are_seen(predicted, photos, tmp_path, run, form, factor):
    """OpenCV follows the EXIF of PNG, and not that of WebP."""
    turned, exif = tmp_path / f"turned.{form}", Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    with Image.open(photos[0]) as picture:
        stored = picture.convert("RGB").transpose(Image.Transpose.ROTATE_90)
        large = stored.resize([factor * side for side in stored.size], Image.Resampling.NEAREST)
        large.save(turned, exif=exif, lossless=True)
    folder = predicted.paths.run_folder(run)
    expected, found = (boxes(detect([file], folder, None, tmp_path / file.stem)[-1]) for file in (photos[0], turned))
    for line, other in zip(found, expected, strict=True):
        for side in SIDES:
            assert float(line.pop(side)) == pytest.approx(factor * float(other.pop(side)), abs=0.01 * factor)
    assert found == expected != []


def test_a_photograph_of_16_bits_is_detected_as_it_is_drawn(predicted, photos, tmp_path):
    """Its values are stretched, which OpenCV would not do, though it follows the EXIF of this format."""
    with Image.open(photos[0]) as picture:
        grey = np.array(picture.convert("L"))
    grey[0, :2] = 0, 255
    files = {"eight": grey, "sixteen": grey.astype(np.uint16) * 4 + 1000}
    for name, values in files.items():
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    run = predicted.paths.run_folder(IOU_AWARE)
    plain, stretched = (boxes(detect([tmp_path / f"{name}.png"], run, None, tmp_path / name)[-1]) for name in files)
    assert stretched == plain != []
