"""The command ``export``: one rule's detections as COCO's results JSON, or in the zip that its server took them in."""

import io
import json
import logging
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from iou_aware import detections
from iou_aware.common.errors import InputError
from iou_aware.common.files import writing
from iou_aware.data.annotations import Annotations
from iou_aware.data.manifest import Manifest
from iou_aware.detections import Detections
from iou_aware.evaluation.coco import require_known
from iou_aware.experiment.experiment import Experiment
from iou_aware.method.confidence import Rule

logger = logging.getLogger(__name__)

Ids = Mapping[int, int | str]  # the user's, by those of the prepared annotations

MOST_PER_IMAGE = 100
ARCHIVE_NAME = re.compile(r"detections_[A-Za-z0-9-]+_[A-Za-z0-9-]+_results")
# The same detections make the same bytes: the earliest date that a zip can hold.
_DATE = (1980, 1, 1, 0, 0, 0)


def export(experiment: Experiment, run_name: str, split: str, rule: str, target: Path) -> None:
    """Write the detections of one run on one split by one rule.

    Args:
        experiment: The study.
        run_name: One of its runs.
        split: A split that the run was predicted on.
        rule: The rule.
        target: The JSON to write; or, if it ends in ``.zip``, an archive as COCO's evaluation server took it.

    Raises:
        InputError: The rule is none, the run has no detections by it on the split, or the server would refuse them.
    """
    found = detections.pieces(experiment.paths.detections(run_name, split), Rule(rule))
    manifest = Manifest.load(experiment.paths.manifest(experiment.run(run_name).dataset), verify=True)
    annotations = Annotations.load(experiment.root / manifest.split(split).annotations)
    ids = annotations.source_images, annotations.source_categories
    if target.suffix == ".zip":
        write_archive(target, found, *ids)
        return
    with writing(target) as beside, beside.open("w", encoding="utf-8") as file:
        write_results(file, found, *ids)


def write_results(file: IO[str], found: Iterable[Detections], image_ids: Ids, category_ids: Ids) -> None:
    """Write COCO's results JSON: boxes as x, y, width, height, and the confidence as score.

    Args:
        file: Where to.
        found: The detections, a piece at a time; as read, with finite boxes and scores.
        image_ids: What the user's annotation file calls each image of the split.
        category_ids: What it calls each category.

    Raises:
        InputError: A detection is of another image or category.
    """
    before = "\n"
    file.write("[")
    for part in found:
        require_known(part.results, list(image_ids), list(category_ids), "export")
        boxes = part.boxes.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        columns = (part.image_ids, part.category_ids, boxes, part.confidences.astype(np.float64))
        for image, category, box, score in zip(*(column.tolist() for column in columns), strict=True):
            ids = {"image_id": image_ids[image], "category_id": category_ids[category]}
            file.write(before + json.dumps({**ids, "bbox": box, "score": score}))
            before = ",\n"
    file.write("\n]\n")


def write_archive(target: Path, found: Iterable[Detections], image_ids: Ids, category_ids: Ids) -> None:
    """Write a zip with one results JSON of its name, if COCO's evaluation server would have taken it.

    Args:
        target: ``detections_<test set>_<model>_results.zip``.
        found: See ``write_results``.
        image_ids: Likewise.
        category_ids: Likewise.

    Raises:
        InputError: The name is another, or there is no detection, one of an unknown image or category, or more than 100
            on one image.
    """
    if not ARCHIVE_NAME.fullmatch(target.stem):
        raise InputError(
            f"{target}: found the name {target.name}, expected detections_<test set>_<model>_results.zip, such as "
            "detections_test-dev2017_retinanet_results.zip"
        )
    member = zipfile.ZipInfo(f"{target.stem}.json", _DATE)
    member.compress_type = zipfile.ZIP_DEFLATED
    with (
        writing(target) as beside,
        zipfile.ZipFile(beside, "w") as archive,
        archive.open(member, "w", force_zip64=True) as raw,
        io.TextIOWrapper(raw, encoding="utf-8") as file,
    ):
        write_results(file, _checked(target, found, len(image_ids)), image_ids, category_ids)


def _checked(target: Path, found: Iterable[Detections], images: int) -> Iterator[Detections]:
    """Yield detections as they come, and hold them against the server's rules."""
    per_image: Counter[int] = Counter()
    for part in found:
        per_image.update(part.image_ids.tolist())
        yield part
    if not per_image:
        raise InputError(f"{target}: found no detection, expected one or more")
    image, most = per_image.most_common(1)[0]
    if most > MOST_PER_IMAGE:
        raise InputError(f"{target}: found {most} detections on the image {image}, expected {MOST_PER_IMAGE} or fewer")
    logger.info("%s: %d detections on %d of %d images", target, per_image.total(), len(per_image), images)
