"""Image headers: what is stored, what EXIF turns, and files that are cut short."""

import os

import cv2
import numpy as np
import pytest
from builders.data import HEIGHT, WIDTH, picture, put
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from iou_aware.common.errors import InputError
from iou_aware.data.images import check_images, read_header, shown_size
from iou_aware.data.source import SourceImage


def turned(orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture(form=form, exif=exif)


@pytest.mark.parametrize("form", ["JPEG", "MPO", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_shown_is_the_one_that_opencv_loads(tmp_path, orientation, form):
    """Of formats of which it does not follow EXIF, an image that is turned is refused, whatever size is stated."""
    path = put(tmp_path / "a", turned(orientation, form))
    pixels = cv2.imread(str(path))
    try:
        header = read_header(path, "test")
        shown = [shown_size(header, path, stated, "test") for stated in (None, pixels.shape[1::-1])]
    except InputError as fault:
        assert form in ("TIFF", "WEBP") and orientation > 1
        assert "cannot decode this TIFF" in str(fault) if pixels is None else f"turns no {form}" in str(fault)
        return
    assert shown == [pixels.shape[1::-1]] * 2
    assert (header.width, header.height, header.orientation) == (WIDTH, HEIGHT, orientation)
    assert form in ("JPEG", "MPO", "PNG") or orientation == 1


def test_a_picture_that_holds_mostly_text_is_refused_before_all_of_it_is_read(tmp_path):
    texts = PngInfo()
    for number in range(18):
        texts.add_text(str(number), "x" * (1 << 19))
    with pytest.raises(InputError, match=r"a\.png: the image cannot be read \(Too much memory used in text chunks"):
        read_header(put(tmp_path / "a.png", picture(form="PNG", pnginfo=texts)), "test")


@pytest.mark.parametrize("orientation", range(10))
def test_an_image_is_turned_only_by_an_orientation_that_moves_its_pixels(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    Image.linear_gradient("L").rotate(30).save(path, exif=exif)
    upright = np.array_equal(cv2.imread(str(path)), cv2.imread(str(path), cv2.IMREAD_IGNORE_ORIENTATION | 1))
    assert read_header(path, "test").turned != upright


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "WEBP"])
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_an_image_cut_short_is_found(tmp_path, form, keep):
    content = picture(640, 480, form)
    read_header(put(tmp_path / "whole", content), "test")
    with pytest.raises(InputError, match=r"cut: (the image cannot be read|is not an image)"):
        read_header(put(tmp_path / "cut", content[: int(keep * len(content))]), "test")


@pytest.mark.parametrize(("form", "mode"), [("GIF", "P"), ("TIFF", "F")])
def test_an_image_that_training_could_not_read_is_refused(tmp_path, form, mode):
    path = tmp_path / "a"
    Image.linear_gradient("L").convert(mode).save(path, form)
    with pytest.raises(InputError, match=f"a: the image cannot be read .*cannot decode this {form}; JPEG and"):
        read_header(path, "test")


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path):
    header = read_header(put(tmp_path / "a.jpg", picture() + bytes(5000)), "test")
    assert (header.width, header.height) == (WIDTH, HEIGHT)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a\.jpg: the image cannot be read \(it is no regular file\)"):
        read_header(tmp_path / "a.jpg", "test")


def test_images_are_checked_in_order_and_each_bad_one_is_returned(tmp_path):
    images = [SourceImage(width, f"{width}.png", None, "test") for width in range(8, 60)]
    for image in images:
        put(tmp_path / image.file_name, picture(image.id, 8, "PNG"))
    for bad in (30, 10):
        (tmp_path / images[bad].file_name).write_bytes(b"")
    found = [size for size, _ in check_images(tmp_path, images, "test")]
    assert [i for i, size in enumerate(found) if isinstance(size, InputError)] == [10, 30]
    assert [size for size in found if isinstance(size, tuple)] == [(n, 8) for n in range(8, 60) if n not in (18, 38)]
