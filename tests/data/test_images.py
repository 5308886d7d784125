"""Image headers: what is stored, what EXIF turns, and files that are cut short."""

import cv2
import pytest
from builders.data import HEIGHT, WIDTH, picture, put
from PIL import Image

from iou_aware.common.errors import InputError
from iou_aware.data.images import check_size, read_header, read_headers


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture(exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_shown_is_the_one_that_opencv_loads(tmp_path, orientation):
    path = put(tmp_path / "a.jpg", turned(orientation))
    header = read_header(path, "test")
    height, width, _ = cv2.imread(str(path)).shape
    assert header.shown == (width, height)
    assert (header.width, header.height, header.orientation) == (WIDTH, HEIGHT, orientation)


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (HEIGHT, WIDTH)])
def test_an_image_that_exif_turns_is_reported_whichever_size_its_annotation_states(tmp_path, size):
    path = put(tmp_path / "a.jpg", turned(6))
    assert check_size(read_header(path, "test"), path, *size, "test")


def test_another_size_is_an_error(tmp_path):
    path = put(tmp_path / "a.jpg", turned(1))
    header = read_header(path, "test")
    assert not check_size(header, path, WIDTH, HEIGHT, "test")
    with pytest.raises(InputError, match="the image is 64x48 pixels, but the list says 48x64"):
        check_size(header, path, HEIGHT, WIDTH, "the list")


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
    with pytest.raises(InputError, match=f"a: the image cannot be read .*cannot decode {form}; JPEG and PNG it can"):
        read_header(path, "test")


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path):
    header = read_header(put(tmp_path / "a.jpg", picture() + bytes(5000)), "test")
    assert (header.width, header.height) == (WIDTH, HEIGHT)


def test_headers_come_in_order_and_the_first_bad_one_is_named(tmp_path):
    paths = [put(tmp_path / f"{width}.png", picture(width, 8, "PNG")) for width in range(8, 60)]
    items = [(path, "test") for path in paths]
    assert [header.width for header in read_headers(items, len(items), "test")] == list(range(8, 60))
    for path in (paths[30], paths[10]):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"18\.png"):
        list(read_headers(items, len(items), "test"))
