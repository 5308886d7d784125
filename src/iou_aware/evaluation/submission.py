"""The rules by which COCO's evaluation server takes the results of object detection, held against a finished zip."""

import codecs
import json
import math
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from iou_aware.common.errors import InputError

MOST_PER_IMAGE = 100
NAME = re.compile(r"detections_(?P<test_set>[A-Za-z0-9-]+)_(?P<model>[A-Za-z0-9-]+)_results")
KEYS = {"image_id", "category_id", "bbox", "score"}
# Characters of the JSON held at a time; no detection is as long as that.
_PIECE = 1 << 20
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True)
class Counts:
    """What a results file holds.

    Attributes:
        detections: How many.
        images: How many images have at least one.
    """

    detections: int
    images: int


def check(path: Path, test_set: str, images: Collection[int], categories: Collection[int], name: str = "") -> Counts:
    """Hold a zip of results against the server's rules, in memory that does not grow with it.

    Args:
        path: The zip.
        test_set: What results files call the split, such as ``test-dev2017``.
        images: The ids of the split's images.
        categories: The ids of the categories.
        name: What the zip will be called, without ``.zip``, if that is not its present name.

    Raises:
        InputError: It is called otherwise than ``detections_<test set>_<model>_results.zip``; is no zip, or holds
            another file than the ``.json`` of that name; or the JSON is not a list, is empty, or has an element that is
            not a detection of an image and a category that exist with four finite numbers for its box and one for its
            score, or more than 100 for one image.
    """
    name = name or path.name.removesuffix(".zip")
    found = NAME.fullmatch(name)
    if not found or found["test_set"] != test_set:
        raise InputError(f"{path}: the name is {name!r}, expected detections_{test_set}_<model>_results")
    try:
        with zipfile.ZipFile(path) as packed:
            members = packed.namelist()
            if members != [f"{name}.json"]:
                raise InputError(f"{path}: holds {', '.join(members) or 'nothing'}, expected {name}.json and no other")
            with packed.open(members[0]) as file:
                return _check(file, f"{path}, {members[0]}", set(images), set(categories))
    except zipfile.BadZipFile as fault:
        raise InputError(f"{path}: is no zip, or a damaged one ({fault}). Pack again.") from fault


def _check(file: IO[bytes], place: str, images: set[int], categories: set[int]) -> Counts:
    per_image: Counter[int] = Counter()
    for number, record in enumerate(_elements(file, place), start=1):
        wrong = _wrong(record, images, categories)
        if wrong:
            raise InputError(f"{place}, detection {number}: {wrong}")
        per_image[record["image_id"]] += 1
        if per_image[record["image_id"]] > MOST_PER_IMAGE:
            raise InputError(
                f"{place}, detection {number}: the image {record['image_id']} has more than {MOST_PER_IMAGE} detections"
            )
    if not per_image:
        raise InputError(f"{place}: the list is empty, expected detections")
    return Counts(per_image.total(), len(per_image))


def _wrong(record: Any, images: set[int], categories: set[int]) -> str | None:
    """Return what is wrong with one element of the list."""
    if not isinstance(record, dict) or record.keys() != KEYS:
        return f"found {_short(record)}, expected an object with the keys {', '.join(sorted(KEYS))}"
    for key, known in (("image_id", images), ("category_id", categories)):
        if type(record[key]) is not int or record[key] not in known:
            return f"{key}: found {_short(record[key])}, expected the id of one of {len(known)} that exist"
    box = record["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(_finite, box)):
        return f"bbox: found {_short(box)}, expected [x, y, width, height], four finite numbers"
    if min(box[2:]) < 0:
        return f"bbox: found {_short(box)}, expected a width and a height from 0 on"
    if not _finite(record["score"]):
        return f"score: found {_short(record['score'])}, expected a finite number"
    return None


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _elements(file: IO[bytes], place: str) -> Iterator[Any]:
    """Yield the elements of a JSON list, one piece of the text after the other."""
    reader = codecs.getreader("utf-8")(file, errors="replace")
    decoder = json.JSONDecoder()
    text = reader.read(_PIECE).lstrip()
    if not text.startswith("["):
        raise InputError(f"{place}: found {text[:20]!r} at its start, expected a JSON list")
    at, separator = 1, ""
    while True:
        at = _SPACE.match(text, at).end()
        if text.startswith("]", at):
            break
        try:
            if not text.startswith(separator, at):
                raise json.JSONDecodeError("expected a comma or the end of the list", text, at)
            start = _SPACE.match(text, at + len(separator)).end()
            element, end = decoder.raw_decode(text, start)
        except json.JSONDecodeError as fault:
            more = reader.read(_PIECE) if len(text) - at < _PIECE else ""
            if not more:
                raise InputError(
                    f"{place}: not valid JSON ({fault.msg}) from here on: {text[at : at + 40]!r}"
                ) from fault
            text, at = text[at:] + more, 0
            continue
        yield element
        at, separator = end, ","
    if (text[at + 1 :] + reader.read(_PIECE)).strip():
        raise InputError(f"{place}: something follows the list, expected nothing")
