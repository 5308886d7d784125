"""The stage `prepare`: check a dataset, bring it into COCO's form, and write its manifest."""

import json
import logging
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from iou_aware.common.errors import InputError
from iou_aware.common.files import sha256, write_text
from iou_aware.data import boxes
from iou_aware.data.boxes import InvalidBoxes
from iou_aware.data.dataset import Dataset, Split, load, require_own_folder
from iou_aware.data.layouts import coco, voc
from iou_aware.data.manifest import Manifest, SplitData

log = logging.getLogger(__name__)


class Experiment(Protocol):
    """What this stage needs to know of an experiment."""

    root: Path
    roots: dict[str, str]


def prepare(experiment: Experiment, name: str) -> Path:
    """Check a dataset and write ``results/datasets/<name>/manifest.json``.

    VOC annotations are converted to ``results/datasets/<name>/<split>.json``. COCO annotations are used where they are,
    unless boxes had to be left out of them or fields had to be filled in; then they are written there as well. A
    miniature is made first. The manifest is written last, so that where it stands, everything it names does too.

    Args:
        experiment: The project's root folder, and ``roots``: where datasets lie, by name.
        name: The dataset.

    Returns:
        The manifest's path.

    Raises:
        InputError: The dataset's description, an annotation file or an image is wrong; the message says where.
    """
    project = Path(experiment.root)
    dataset = load(project, name, experiment.roots)
    if dataset.generate:
        require_own_folder(dataset, project, "generated data are written nowhere else")
        from iou_aware.data.miniature import generate  # draws with OpenCV, which the other datasets do not need

        generate.generate(dataset.generate, dataset.root)
    _require_root(dataset)
    folder = project / "results" / "datasets" / name
    read = _prepare_voc if dataset.layout == "voc" else _prepare_coco
    categories, splits = read(dataset, folder, project)
    manifest = Manifest(
        dataset=name,
        layout=dataset.layout,
        root=_relative(dataset.root, project),
        classes=[category["name"] for category in categories],
        category_ids=[category["id"] for category in categories],
        train=dataset.train,
        evaluate=list(dataset.evaluate),
        invalid_boxes=dataset.invalid_boxes,
        splits=splits,
    )
    _report(manifest)
    path = folder / "manifest.json"
    manifest.write(path)
    return path


def _prepare_voc(dataset: Dataset, folder: Path, project: Path) -> tuple[list[dict[str, Any]], dict[str, SplitData]]:
    """Read all splits, so that the classes are known, then convert each."""
    read = {
        name: voc.read_split(dataset, split, partial(_progress, label=f"{dataset.name} {name}: annotations"))
        for name, split in dataset.present().items()
    }
    classes = voc.classes_of(dataset, list(read.values()))
    categories, splits = [], {}
    for name, split in read.items():
        _check_number(dataset, dataset.splits[name], len(split.images))
        invalid = InvalidBoxes(dataset.invalid_boxes)
        content = voc.to_coco(split, classes, dataset.root, invalid)
        invalid.settle(dataset.root, dataset.file)
        categories = content["categories"]
        _write(folder / f"{name}.json", content)
        splits[name] = _split_data(folder / f"{name}.json", dataset.root, project, content, invalid, split.turned)
    return categories, splits


def _prepare_coco(dataset: Dataset, folder: Path, project: Path) -> tuple[list[dict[str, Any]], dict[str, SplitData]]:
    """Check each split, and write anew what had to change."""
    splits, categories = {}, []
    for name, split in dataset.present().items():
        invalid = InvalidBoxes(dataset.invalid_boxes)
        read = coco.read_split(dataset, split, invalid)
        invalid.settle(dataset.root, dataset.file)
        _check_number(dataset, split, len(read.content["images"]))
        file = dataset.root / split.annotations
        categories.append((str(file), read.content["categories"]))
        if read.changed:
            file = folder / f"{name}.json"
            _write(file, read.content)
        images = dataset.root / split.images
        splits[name] = _split_data(file, images, project, read.content, invalid, read.turned, split.labelled)
    coco.check_same_categories(categories)
    return categories[0][1], splits


def _write(file: Path, content: dict[str, Any]) -> None:
    """Write annotations on one line: indented, they would take twice as long as their conversion."""
    write_text(file, json.dumps(content, allow_nan=False) + "\n")


def _split_data(
    file: Path,
    images: Path,
    project: Path,
    content: dict[str, Any],
    invalid: InvalidBoxes,
    turned: list[str],
    labelled: bool = True,
) -> SplitData:
    names = {category["id"]: category["name"] for category in content["categories"]}
    counts = boxes.count(len(content["images"]), content["annotations"] if labelled else [], names)
    if labelled and not counts["boxes"]:
        raise InputError(
            f"{file}: the split has {counts['images']} images but no box to be found ({counts['ignored']} ignored, "
            f"{len(invalid.found)} invalid). Annotate it, or, in COCO layout, mark the split `labelled: false`."
        )
    return SplitData(
        annotations=_relative(file, project),
        images=_relative(images, project),
        labelled=labelled,
        counts=counts,
        sha256=sha256(file),
        invalid=invalid.as_json(),
        turned=turned,
    )


def _require_root(dataset: Dataset) -> None:
    if dataset.root.is_dir():
        return
    fetched = f"fetch it with `iou-aware fetch {dataset.name}`, or " if dataset.fetch else ""
    raise InputError(
        f"{dataset.root}: the data of {dataset.name} are not there; {dataset.root_from} names this folder. To use "
        f"them, {fetched}name the folder that holds them in the experiment: `roots: {{{dataset.name}: FOLDER}}`."
    )


def _check_number(dataset: Dataset, split: Split, found: int) -> None:
    if split.expected_images is not None and found != split.expected_images:
        raise InputError(
            f"{dataset.root}: the split {split.name!r} of {dataset.name} has {found} images, but {dataset.file}, key "
            f"splits.{split.name}.expected_images, says {split.expected_images}. The data are incomplete or another "
            "version: get them again, or correct the key."
        )


def _relative(path: Path, project: Path) -> str:
    """Return a path from the project's root, the working directory of every stage, if it lies below that."""
    path, project = path.resolve(), project.resolve()
    return (path.relative_to(project) if path.is_relative_to(project) else path).as_posix()


def _progress(items: list[Any], label: str) -> Any:
    return tqdm(items, desc=label, unit="file", mininterval=1, disable=len(items) < 1000)


def _report(manifest: Manifest) -> None:
    """Log what there is, and every invalid box by name."""
    log.info("%s: %d classes (%s)", manifest.dataset, len(manifest.classes), ", ".join(manifest.classes))
    for name, split in manifest.splits.items():
        counts = split.counts
        log.info("%s: %d images, %d boxes, %d ignored", name, counts["images"], counts["boxes"], counts["ignored"])
        for box in split.invalid:
            done = "kept" if manifest.invalid_boxes == "keep" else "left out"
            place = f"{box['file']}, line {box['line']}" if box["line"] else box["file"]
            log.warning("%s: %s: box %d (%s) %s %s", done, place, box["index"], box["category"], box["box"], box["why"])
        if split.turned:
            log.warning("%s: %d images are turned by EXIF, first %s", name, len(split.turned), split.turned[0])
