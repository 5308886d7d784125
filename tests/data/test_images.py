"""Images: their headers, what EXIF turns, files that are cut short, and names that lead elsewhere."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from builders.data import HEIGHT, WIDTH, coco_content, converted, picture, prepared, put, write_own_coco
from PIL import Image

from iou_aware.data.images import check_images
from iou_aware.data.source import SourceImage, outside


def turned(orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture(form=form, exif=exif)


def checked(path: Path, size: tuple[int, int] | None = None) -> SourceImage:
    """Check an image of which an annotation states a size."""
    image = SourceImage(None, path.name, size, "test")
    check_images(path.parent, [image], "images")
    return image


@pytest.mark.parametrize("form", ["JPEG", "MPO", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_what_is_shown_is_what_opencv_loads(tmp_path, orientation, form):
    """Of formats of which it does not follow EXIF, an image that is turned is refused, whatever size is stated."""
    path = put(tmp_path / "a", turned(orientation, form))
    pixels, image = cv2.imread(str(path)), checked(path)
    if image.fault:
        assert form in ("TIFF", "WEBP") and orientation in range(2, 9)
        told = "cannot decode this TIFF" if pixels is None else f"turns no {form}"
        assert told in str(image.fault) and (pixels is None or told in str(checked(path, pixels.shape[1::-1]).fault))
        return
    header = image.header
    assert checked(path, pixels.shape[1::-1]).fault is None
    assert (header.stored, header.shown) == ((WIDTH, HEIGHT), pixels.shape[1::-1])
    as_stored = cv2.imread(str(path), cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_COLOR)
    assert header.turned != np.array_equal(pixels, as_stored)
    if header.shown != header.stored:
        assert "turned by EXIF, 48x64 pixels, but test says 64x48" in str(checked(path, header.stored).fault)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "WEBP"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.3, 0.6, 0.95])
def test_an_image_cut_short_is_found_and_bytes_after_its_end_do_no_harm(tmp_path, form, keep):
    content = picture(640, 480, form)
    assert checked(put(tmp_path / "more", content + bytes(5000))).header.stored == (640, 480)
    cut = checked(put(tmp_path / "cut", content[: int(keep * len(content))]))
    assert "cut: the image cannot be read" in str(cut.fault)


@pytest.mark.parametrize(("form", "mode"), [("GIF", "P"), ("TIFF", "F")])
def test_an_image_that_training_could_not_read_is_refused(tmp_path, form, mode):
    path = tmp_path / "a"
    Image.linear_gradient("L").convert(mode).save(path, form)
    assert re.search(f"a: the image cannot be read .*cannot decode this {form}; JPEG and", str(checked(path).fault))


def test_images_that_exif_turns_that_training_leaves_out_or_that_may_be_cut_are_named(tmp_path):
    content = coco_content(images=3)
    content["images"][1] |= {"width": 31, "height": 60}
    content["images"][2]["width"] = None
    folder = write_own_coco(tmp_path, content).parent / "train"
    whole = picture()
    put(folder / "1.jpg", whole[: len(whole) // 2] + bytes(600) + b"\xff\xd9")
    put(folder / "2.jpg", picture(31, 60))
    put(folder / "3.jpg", turned(6, "JPEG"))
    split = prepared(tmp_path).split("train")
    assert (split.padded, split.small, split.turned) == (["1.jpg"], ["2.jpg"], ["3.jpg"])
    _, flattest, last = converted(tmp_path, "train")["images"]
    assert (split.flattest, last["width"], last["height"]) == (flattest, HEIGHT, WIDTH)


@pytest.mark.parametrize("name", ["../secret.jpg", "a/../../secret.jpg", "/secret.jpg", "a\0b.jpg", ".."])
def test_a_name_that_leads_out_of_its_folder_is_a_fault(name):
    assert str(outside(name, "train.txt, line 2")).startswith("train.txt, line 2: found ")
    assert outside("more/..1.jpg", "train.txt, line 2") is None
