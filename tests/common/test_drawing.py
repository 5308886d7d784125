"""Pictures: read as cameras mean them, refused where they are damaged, and boxes drawn where they are."""

import numpy as np
import pytest
from PIL import Image

from iou_aware.common import drawing
from iou_aware.common.drawing import Mark
from iou_aware.common.errors import InputError


def test_truncated_picture_is_refused(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"photo\.jpg: cannot be read"):
        drawing.load(path)
    path.write_text("no picture")
    with pytest.raises(InputError, match=r"photo\.jpg: cannot be read"):
        drawing.load(path)


def test_pictures_are_turned_as_exif_says(tmp_path):
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    assert drawing.load(path).size == (20, 40)


def test_boxes_stand_where_they_are_and_labels_stay_inside():
    ground = Image.new("RGB", (100, 60), "white")
    marks = [Mark((10, 20, 50, 40), colour="#ff0000"), Mark((90, -5, 130, 70), "far too long a label", "#00ff00")]
    drawn = np.asarray(drawing.draw(ground, 1.0, marks))
    assert (drawn[30, 10] == (255, 0, 0)).all()
    assert (drawn[40, 30] == (255, 0, 0)).all()
    assert (drawn[30, 30] == 255).all()
    assert (drawn == (0, 255, 0)).all(axis=2).any()
    assert np.asarray(ground).min() == 255


def test_fitting_keeps_the_shape():
    picture = Image.new("RGB", (400, 100))
    assert [drawing.fitted(picture, *sides)[0].size for sides in [(100, 200), (800, 900)]] == [(200, 50), (800, 200)]
    assert drawing.fitted(picture, 100, 800) == (picture, 1.0)
    assert drawing.beside([picture, picture], ["a", "b"]).size[0] > 800
