"""Pictures: read as cameras mean them, refused where they are damaged, and boxes drawn where they are."""

import io
import logging
import os
import struct
import zlib

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageFont

from iou_aware.common import drawing
from iou_aware.common.drawing import Mark
from iou_aware.common.messages import InputError


def test_truncated_picture_is_refused(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"photo\.jpg: cannot be read"):
        drawing.load(path)


def test_boxes_stand_where_they_are_and_labels_stay_inside():
    ground = Image.new("RGB", (100, 60), "white")
    marks = [Mark((10, 20, 50, 40), colour="#ff0000"), Mark((90, -5, 130, 70), "far too long a label", "#00ff00")]
    drawn = np.asarray(drawing.draw(ground, marks, 100, 100))
    assert (drawn[30, 10] == (255, 0, 0)).all()
    assert (drawn[40, 30] == (255, 0, 0)).all()
    assert (drawn[30, 30] == 255).all()
    assert (drawn == (0, 255, 0)).all(axis=2).any()
    assert np.asarray(ground).min() == 255


def test_fitting_keeps_the_shape():
    picture = Image.new("RGB", (400, 100))
    assert [drawing.draw(picture, [], *sides).size for sides in [(100, 200), (800, 900)]] == [(200, 50), (800, 200)]
    assert drawing.draw(picture, [], 100, 800) == picture
    assert drawing.beside([picture, picture], ["a", "b"]).size[0] > 800


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [(np.uint16, "png"), (np.int32, "tif"), (np.float32, "tif")],
    ids=["16 bits", "32 bits", "float"],
)
def test_what_is_darker_or_brighter_than_a_screen_shows_is_stretched_and_said(tmp_path, caplog, kind, suffix):
    caplog.set_level(logging.INFO)
    values = np.linspace(0.25, 0.75, 32 * 32).reshape(32, 32)
    stored = (values if kind is np.float32 else values * 5000).astype(kind)
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(stored).save(path)
    pixels = np.asarray(drawing.load(path), dtype=float)
    assert np.abs(pixels - 255 * np.expand_dims((values - 0.25) / 0.5, 2)).max() <= 1
    assert f"photo.{suffix}: its values from" in caplog.text


def test_text_that_expands_is_not_read(tmp_path):
    image = io.BytesIO()
    Image.new("RGB", (32, 32)).save(image, "PNG")
    content, text = image.getvalue(), b"zTXta\0\0" + zlib.compress(bytes(200 << 20))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    (tmp_path / "large.png").write_bytes(content[:33] + chunk + content[33:])
    with pytest.raises(InputError, match=r"large\.png: cannot be read as a picture \(Decompressed data too large"):
        drawing.load(tmp_path / "large.png")


def test_letters_find_a_font_or_the_way_to_one(monkeypatch, caplog):
    own = drawing.font_for("cat 0.50 (p 0.5, IoU 0.5)", 12).getname()
    assert own == ImageFont.load_default(12).getname()
    monkeypatch.setattr(drawing, "_FONTS", ())
    assert drawing.font_for("кот", 12).getname() == own
    assert "'кот'" in caplog.text and drawing.FONT in caplog.text
    monkeypatch.setenv(drawing.FONT, os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
    assert drawing.font_for("кот", 12).getname()[0] == "DejaVu Sans"
