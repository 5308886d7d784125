"""Boxes on own photographs: the same as the stage ``predict`` finds, and every bad input named."""

import os
import re

import numpy as np
import pytest
from builders.data import csv_rows
from builders.training import IOU_AWARE, RETINANET
from PIL import Image

from iou_aware import detections
from iou_aware.common.errors import InputError
from iou_aware.data.annotations import Annotations
from iou_aware.inference.detect import detect

NAMES = {1: "small", 2: "large"}


def photos(predicted) -> dict[int, object]:
    """Return the validation images by id."""
    file_names = Annotations.load(predicted.root / "results" / "datasets" / "shapes" / "val.json").file_names
    return {number: predicted.root / "data" / "shapes" / "val" / name for number, name in file_names.items()}


@pytest.mark.parametrize(("run", "rule", "stored"), [(IOU_AWARE, "alpha=0.3", "alpha=0.30"), (RETINANET, None, "cls")])
def test_boxes_are_those_of_the_stage(predicted, tmp_path, run, rule, stored):
    images = photos(predicted)
    written = detect([*images.values()], predicted.paths.run_folder(run), rule, tmp_path / "out")
    assert [path.name for path in written] == [*(f"{path.stem}.jpg" for path in images.values()), "detections.csv"]
    found = csv_rows(written[-1])
    expected = detections.read(predicted.paths.detections(run, "val"), stored)
    by_id = {str(path): image for image, path in images.items()}
    assert [by_id[line["photo"]] for line in found] == expected.image_ids.tolist()
    assert [line["class"] for line in found] == [NAMES[category] for category in expected.category_ids]
    boxes = np.array([[float(line[side]) for side in ("x1", "y1", "x2", "y2")] for line in found])
    assert boxes == pytest.approx(expected.boxes, abs=0.01)
    assert [float(line["confidence"]) for line in found] == pytest.approx(expected.confidences.tolist(), abs=1e-6)
    if expected.iou_preds is None:
        assert {line["iou_pred"] for line in found} == {""}
    else:
        assert [float(line["iou_pred"]) for line in found] == pytest.approx(expected.iou_preds.tolist(), abs=1e-6)


def test_only_sure_boxes_are_drawn_and_small_photographs_are_enlarged(predicted, tmp_path):
    photo = next(iter(photos(predicted).values()))
    pictures = {}
    for least in (0.0, 1.0):
        picture, table = detect([photo], predicted.paths.run_folder(IOU_AWARE), None, tmp_path / str(least), least)
        assert csv_rows(table)
        pictures[least] = np.asarray(Image.open(picture), dtype=int)
        assert max(pictures[least].shape) >= 900
    with Image.open(photo) as original:
        plain = original.convert("RGB").resize(pictures[1.0].shape[1::-1], Image.Resampling.BICUBIC)
    differences = {least: np.abs(picture - np.asarray(plain, dtype=int)).mean() for least, picture in pictures.items()}
    assert differences[0.0] > 2 * differences[1.0]


def test_rules_that_a_run_cannot_have_are_refused(predicted, tmp_path):
    photo = next(iter(photos(predicted).values()))
    for run, rule, named in [
        (RETINANET, "alpha=0.50", "predicts no IoU"),
        (IOU_AWARE, "oracle=0.30", "needs to know the objects"),
        (IOU_AWARE, "alpha=1.5", "alpha"),
    ]:
        with pytest.raises(InputError, match=named):
            detect([photo], predicted.paths.run_folder(run), rule, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_photographs_are_checked_before_anything_is_loaded(predicted, tmp_path):
    good = next(iter(photos(predicted).values()))
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    twin = tmp_path / "twin" / good.name
    twin.parent.mkdir()
    twin.write_bytes(good.read_bytes())
    nowhere = tmp_path / "nowhere"
    for paths, out, named in [
        ([tmp_path / "missing.jpg"], tmp_path / "out", "no such file"),
        ([good, text], tmp_path / "out", r"text\.jpg: cannot be read"),
        ([good, twin], tmp_path / "out", "both would become"),
    ]:
        with pytest.raises(InputError, match=named):
            detect(paths, nowhere, None, out)
    jpeg = tmp_path / "photo.jpg"
    Image.open(good).save(jpeg)
    with pytest.raises(InputError, match="would replace a photograph"):
        detect([jpeg], nowhere, None, tmp_path)
    with pytest.raises(InputError, match="from 0 to 1"):
        detect([good], nowhere, None, tmp_path / "out", least=30)
    for run in (nowhere, good):
        with pytest.raises(InputError, match=rf"{run}: found no run\.json there; expected a finished run, the folder"):
            detect([good], run, None, tmp_path / "out")


def test_a_folder_stands_for_its_photographs_and_the_weights_for_their_run(predicted, tmp_path):
    images = sorted(photos(predicted).values())[:2]
    folder = tmp_path / "my photographs"
    folder.mkdir()
    for image in images:
        (folder / image.name).write_bytes(image.read_bytes())
    (folder / "notes.txt").write_text("no picture")
    run = predicted.paths.run_folder(IOU_AWARE)
    one, other = (tmp_path / "one", tmp_path / "other")
    assert [path.name for path in detect([folder, folder / images[0].name], run / "weights.pth", None, one)] == [
        *(f"{image.stem}.jpg" for image in images),
        "detections.csv",
    ]
    detect(images, run, None, other)
    found, expected = ([{**line, "photo": ""} for line in csv_rows(out / "detections.csv")] for out in (one, other))
    assert found == expected != []
    twin = folder / f"{images[0].stem}.tif"
    Image.open(images[0]).save(twin)
    assert {path.name for path in detect([folder], run, None, tmp_path / "twins")} == {
        *(f"{path.name}.jpg" for path in (images[0], twin)),
        f"{images[1].stem}.jpg",
        "detections.csv",
    }


def test_what_is_no_photograph_in_a_folder_is_passed_over_with_a_word(predicted, tmp_path, caplog):
    photo = next(iter(photos(predicted).values()))
    names = {
        "report.pdf": b"%PDF-1.4\n",
        "._photo.jpg": b"\0\x05\x16\7\0\2\0\0Mac OS X" + bytes(60),
        "cut.jpg": b"\xff\xd8\xff",
    }
    for name, content in names.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe.png")
    others = ["Thumbs.db", "film.mp4", "folder.jpg", "notes.txt"]
    for name in others:
        (tmp_path / name).mkdir() if name.startswith("folder") else (tmp_path / name).write_bytes(b"x")
    (tmp_path / photo.name).write_bytes(photo.read_bytes())
    drawn = detect([tmp_path], predicted.paths.run_folder(IOU_AWARE), None, tmp_path / "out")
    assert [path.name for path in drawn] == [f"{photo.stem}.jpg", "detections.csv"]
    for name in [*names, *others, "pipe.png"]:
        assert re.search(rf"Passed over: .*{re.escape(name)}: cannot be read", caplog.text), name


def test_a_photograph_of_an_impossible_shape_leaves_the_others_drawn(predicted, tmp_path):
    photo = next(iter(photos(predicted).values()))
    wide = tmp_path / "awide.png"
    Image.new("RGB", (3000, 20)).save(wide)
    with pytest.raises(InputError, match=r"^\S*awide\.png: 3000 x 20 pixels cannot be worked on .* or crop them\.$"):
        detect([wide, photo], predicted.paths.run_folder(IOU_AWARE), None, tmp_path / "out")
    assert {line["photo"] for line in csv_rows(tmp_path / "out" / "detections.csv")} == {str(photo)}
    assert (tmp_path / "out" / f"{photo.stem}.jpg").is_file()


@pytest.mark.parametrize("form", ["png", "webp"])  # OpenCV follows the EXIF of the first only
def test_turned_photograph_is_detected_as_it_is_seen(predicted, tmp_path, form):
    upright = next(iter(photos(predicted).values()))
    with Image.open(upright) as picture:
        picture.convert("RGB").save(tmp_path / "seen.png")
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees clockwise
        stored = picture.convert("RGB").transpose(Image.Transpose.ROTATE_90)
        stored.save(tmp_path / f"turned.{form}", exif=exif, lossless=True)
    found = {}
    for name in ("seen.png", f"turned.{form}"):
        *_, table = detect([tmp_path / name], predicted.paths.run_folder(IOU_AWARE), None, tmp_path / f"{name}.out")
        found[name] = [{key: value for key, value in line.items() if key != "photo"} for line in csv_rows(table)]
    assert found[f"turned.{form}"] == found["seen.png"]
