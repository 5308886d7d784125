"""Checking image files by their headers: all 118,287 of COCO's in seconds, and broken ones before training starts."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PIL import Image
from tqdm.contrib.concurrent import thread_map

from iou_aware.common.drawing import UNREADABLE
from iou_aware.common.files import require_regular
from iou_aware.data.source import Fault, Header, SourceImage

SMALLEST = 32  # pixels of the shorter side; training leaves out smaller images, as MMDetection's configs do
_THREADS = 8  # they wait for a network file system rather than for the processor
_TAIL = 1024
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_PADDING = bytes(256)  # zeros in such number at the end are no picture; a blank one may have fewer
_TURNED = {5, 6, 7, 8}  # values of EXIF's orientation that swap width and height; 2 to 4 keep them and move pixels
_ORIENTATION = 0x0112
TURNED_BY_OPENCV = ("JPEG", "MPO", "PNG")  # as Pillow calls the formats of which OpenCV follows EXIF


def check_images(folder: Path, images: Sequence[SourceImage], label: str) -> None:
    """Give each image its header, or its fault where it cannot be used.

    Faults are that the image is missing, is not an image or is cut short; that the annotation states another size than
    a detector sees; and that EXIF turns it for other programs and not for a detector.

    Args:
        folder: The folder that file names start from.
        images: The images.
        label: What the progress bar says.
    """
    check, quiet = partial(_check, folder), len(images) < 1000
    thread_map(check, images, max_workers=_THREADS, desc=label, unit="image", mininterval=1, disable=quiet)


def _check(folder: Path, image: SourceImage) -> None:
    path = folder / image.file_name
    try:
        if not image.fault:
            image.header = _header(path)
            image.fault = _size_fault(image.header, path, image.size, image.named_by)
    except FileNotFoundError:
        image.fault = Fault(
            "image missing",
            f"{path}: there is no such image, but {image.named_by} names it. Put it there, or correct the name.",
        )
    except UNREADABLE as error:
        image.fault = Fault(
            "image unreadable",
            f"{path}: the image cannot be read ({error}); {image.named_by} names it. Replace it, by a JPEG or PNG say.",
        )


def _header(path: Path) -> Header:
    """Read an image's header and check that its end is there too.

    The end is looked for in the last bytes; only where it is not found, the whole image is decoded.
    """
    require_regular(path)
    with path.open("rb") as file, Image.open(file) as image:
        # Not of XMP, which Pillow would look up otherwise and OpenCV does not follow.
        has_exif = "exif" in image.info or image.format == "TIFF"
        orientation = image.getexif().get(_ORIENTATION, 1) if has_exif else 1
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _TAIL))
        tail, end = file.read(), _ENDS.get(image.format)
        if end is None or end not in tail:
            _decode(path)
        padded = image.format == "JPEG" and tail[: tail.rfind(end)].endswith(_PADDING)
        shown = image.size[::-1] if orientation in _TURNED else image.size
        return Header(image.size, shown, orientation in range(2, 9), image.format, padded)


def _size_fault(header: Header, path: Path, stated: tuple[int, int] | None, named_by: str) -> Fault | None:
    """Hold the size that an annotation states, if it does, against the one that a detector sees."""
    if header.turned and header.form not in TURNED_BY_OPENCV:
        return Fault(
            "image turned by EXIF",
            f"{path}: EXIF turns the image, and OpenCV, which training reads images with, turns no {header.form}. "
            "Boxes may be drawn on either: turn the pixels, or remove the EXIF orientation.",
        )
    if stated in (None, header.shown):
        return None
    says = f"but {named_by} says {stated[0]}x{stated[1]}"
    if stated == header.stored:
        return Fault(
            "image turned by EXIF",
            f"{path}: a detector sees the image turned by EXIF, {header.shown[0]}x{header.shown[1]} pixels, {says}, "
            "the size before turning. "
            "Boxes drawn before turning would be misplaced: remove the EXIF orientation where boxes are drawn on the "
            "pixels as stored, or state the size, and draw the boxes, as turned.",
        )
    return Fault(
        "image of another size",
        f"{path}: the image is {header.stored[0]}x{header.stored[1]} pixels, {says}. Its boxes would be misplaced: "
        "correct the size there, or put the right image here.",
    )


def _decode(path: Path) -> None:
    """Read a whole image, also as training will: OpenCV knows fewer formats, and says nothing of what is missing."""
    import cv2  # slow to import, and most data sets are JPEG or PNG throughout

    with Image.open(path) as image:
        image.load()
    if cv2.imread(str(path)) is None:
        raise OSError(
            f"OpenCV, which training reads images with, cannot decode this {image.format}; JPEG and PNG it can"
        )
