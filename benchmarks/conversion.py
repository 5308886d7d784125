"""The stage ``prepare`` on VOC annotations: checking, converting and counting, per 10,000 files."""

import logging
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from timing import alone

from iou_aware.data.miniature import generate as micro
from iou_aware.data.prepare import prepare

DRAWN = 100
DESCRIPTION = {
    "dataset": "many",
    "description": "A miniature scene many times over.",
    "layout": "voc",
    "root": "data/many",
    "splits": {"trainval": {"sets": [{"folder": "VOC2007", "list": "trainval"}]}},
    "train": "trainval",
    "evaluate": ["trainval"],
}


def lay_out(project: Path, files: int) -> None:
    """Make a project with a VOC dataset of so many files, which are copies of a few drawn ones."""
    root = project / DESCRIPTION["root"]
    drawn = min(files, DRAWN)
    micro.generate({"generator": "micro-voc", "images": {"VOC2007": {"trainval": drawn}}, "seed": 0}, root)
    base = root / "VOC2007"
    names = base / "ImageSets" / "Main" / "trainval.txt"
    stems = names.read_text().split()
    for number in range(drawn, files):
        stem, like = f"copy_{number:06d}", stems[number % drawn]
        os.link(base / "JPEGImages" / f"{like}.jpg", base / "JPEGImages" / f"{stem}.jpg")
        (base / "Annotations" / f"{stem}.xml").write_text(
            (base / "Annotations" / f"{like}.xml").read_text().replace(f"{like}.jpg", f"{stem}.jpg")
        )
        stems.append(stem)
    names.write_text("".join(f"{stem}\n" for stem in stems))
    (project / "configs" / "datasets").mkdir(parents=True)
    (project / "configs" / "datasets" / "many.yaml").write_text(yaml.safe_dump(DESCRIPTION))


def entries(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the one entry."""
    files = 50 if quick else 10_000
    logging.getLogger("iou_aware").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        lay_out(project, files)
        work = partial(prepare, project, "many")
        yield alone(
            f"VOC conversion, {files:,} files",
            ("the stage prepare: annotations, images' headers, checks, counts, checksums", work),
            turns=1 if quick else 3,
        )
