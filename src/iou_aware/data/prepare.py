"""The stage `prepare`: check a dataset, bring it into one canonical form, and write its manifest."""

import json
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from iou_aware.common.documents import closest
from iou_aware.common.files import sha256, write_text
from iou_aware.common.messages import InputError, log
from iou_aware.data import canonical
from iou_aware.data.dataset import Dataset, load, require_own_folder
from iou_aware.data.images import SMALLEST
from iou_aware.data.manifest import REST, Manifest, SplitData
from iou_aware.data.source import Fault, Source, SourceImage


def prepare(project: Path, name: str, roots: Mapping[str, str | Path] | None = None) -> Path:
    """Check a dataset and write ``results/datasets/<name>/manifest.json`` and beside it ``<split>.json``.

    Each split is written anew in the form of `iou_aware.data.canonical`, whatever its layout; nothing after this stage
    reads the user's annotations. A miniature is made first. The manifest is written last, so that where it stands,
    everything it names does too.

    Args:
        project: The project's root folder.
        name: The dataset.
        roots: Folders by dataset name that take the place of the dataset file's ``root``.

    Returns:
        The manifest's path.

    Raises:
        InputError: The dataset's description, an annotation file or an image is wrong. All that is wrong is told at
            once; ``faults.txt`` beside the manifest lists it where it is more than one thing.
    """
    dataset = load(project, name, roots)
    if dataset.generate:
        require_own_folder(dataset, project, "generated data are written nowhere else")
        from iou_aware.data.miniature import generate  # draws with OpenCV, which the other datasets do not need

        generate.generate(dataset.generate, dataset.root)
    _require_root(dataset)
    folder = Path(project) / "results" / "datasets" / name
    faults: list[InputError] = []
    sources = _read(dataset, faults)
    classes = _classes(dataset, sources, faults)
    left_out = {split: canonical.check(dataset, split, source, classes) for split, source in sources.items()}
    for split, source in sources.items():
        _check_content(dataset, split, source, left_out[split])
        faults += source.faults
    _settle(faults, f"{dataset.root}, the data of {name}", folder / "faults.txt")

    def written(split: str, part: str, images: Sequence[SourceImage], left_out: Mapping[str, Any]) -> SplitData:
        source, file = sources[split], folder / f"{part}.json"
        content = canonical.content(source, classes, images)
        # On one line: indented, annotations would take twice as long as their conversion.
        write_text(file, json.dumps(content, allow_nan=False) + "\n")
        return SplitData(
            annotations=_relative(file, project),
            images=_relative(source.folder, project),
            labelled=dataset.splits[split]["labelled"],
            counts=canonical.count(content),
            sha256=sha256(file),
            turned=[image.file_name for image in images if image.header.turned],
            small=[image.file_name for image in images if min(image.header.shown) < SMALLEST],
            padded=[image.file_name for image in images if image.header.padded],
            flattest=max(content["images"], key=_flatness),
            **left_out,
        )

    folds = []
    for fold in range(dataset.folds or 0):
        images = sources[dataset.train].images
        rest = [image for place, image in enumerate(images) if place % dataset.folds != fold]
        parts = {dataset.train: images[fold :: dataset.folds], REST: rest}
        folds.append({part: written(dataset.train, f"{part}-{fold}", own, {}) for part, own in parts.items()})
    splits = {split: written(split, split, source.images, left_out[split]) for split, source in sources.items()}
    manifest = Manifest(
        dataset=name,
        layout=dataset.layout,
        root=_relative(dataset.root, project),
        classes=list(classes),
        category_ids=list(range(1, len(classes) + 1)),
        train=dataset.train,
        evaluate=dataset.evaluate,
        invalid_boxes=dataset.invalid_boxes,
        splits=splits,
        folds=folds,
    )
    _report(manifest)
    manifest.write(folder / "manifest.json")
    return folder / "manifest.json"


def _layout(dataset: Dataset) -> ModuleType:
    return import_module(f"iou_aware.data.layouts.{dataset.layout}")


def _read(dataset: Dataset, faults: list[InputError]) -> dict[str, Source]:
    """Read the splits; one that cannot be read at all is a fault among others.

    Optional ones that are absent are left out.
    """
    layout, sources = _layout(dataset), {}
    for name, split in dataset.splits.items():
        if split["optional"] and not all(file.exists() for file in layout.files(dataset, name)):
            continue
        try:
            sources[name] = layout.read(dataset, name)
        except InputError as fault:
            faults.append(fault)
    return sources


def _classes(dataset: Dataset, sources: Mapping[str, Source], faults: list[InputError]) -> dict[str, int | str | None]:
    """Return the classes in order, with what the first file that has a class calls it.

    They are those listed in the dataset file; without a list, those that the annotation files declare, in their order,
    the split to train on first; and where these declare none, those that occur, sorted.
    """
    known: dict[str, int | str | None] = {}
    for split, source in sorted(sources.items(), key=lambda item: item[0] != dataset.train):
        # A file without boxes may list whatever its tool does, Roboflow's placeholder for one.
        for category, number in source.classes.items() if dataset.splits[split]["labelled"] else ():
            known.setdefault(category, number)
    declared = any(source.declared for source in sources.values())
    if dataset.classes is None:
        return known if declared else dict(sorted(known.items()))
    for name in dataset.classes:
        if declared and name not in known:
            text = f"{dataset.file}, key classes: no annotation file has the class {name!r}, only {', '.join(known)}."
            faults.append(Fault("class unknown", f"{text}{closest(name, known)} Correct the key, or leave it out."))
    return {name: known.get(name) for name in dataset.classes}


def _check_content(dataset: Dataset, split: str, source: Source, left_out: Mapping[str, Any]) -> None:
    """Check that a split has as many images as it must have, and boxes unless it is unlabelled."""
    keys, excluded = dataset.splits[split], left_out["excluded"]
    number, expected = len(source.images) + len(excluded), keys["expected_images"]
    if expected not in (None, number):
        text = (
            f"{dataset.root}: the split {split!r} of {dataset.name} has {number} images, but {dataset.file}, key "
            f"splits.{split}.expected_images, says {expected}. The data are incomplete or another version: get them "
            "again, or correct the key."
        )
        source.faults.append(Fault("number of images", text))
    if not source.images and not source.faults:
        text = f"{dataset.root}: none of the {number} images of the split {split!r} can be used. The first: "
        source.faults.append(Fault("no images", text + excluded[0]["why"]))
    ignored = sum(box.ignored for box in source.boxes)
    if keys["labelled"] and ignored == len(source.boxes) and not source.faults:
        text = (
            f"{', '.join(map(str, _layout(dataset).files(dataset, split)))}: the split has {number} images but no box "
            f"to be found ({ignored} ignored, {len(left_out['invalid'])} invalid, "
            f"{sum(left_out['unlisted'].values())} of classes that are not listed). Annotate it, or, in COCO layout, "
            "mark the split `labelled: false`."
        )
        source.faults.append(Fault("no boxes", text))


def _settle(faults: Sequence[InputError], name: str, file: Path) -> None:
    """Raise InputError about the faults of dataset ``name``, if there are any.

    Several are counted by kind, each with its first; ``file`` lists all of them. Without any, what an earlier call left
    there is removed.
    """
    file.unlink(missing_ok=True)
    if len(faults) == 1:
        raise faults[0]
    if not faults:
        return
    kinds: dict[str, list[InputError]] = {}
    for fault in faults:
        kinds.setdefault(getattr(fault, "kind", "file missing or unreadable"), []).append(fault)
    write_text(file, "".join(f"{kind}: {fault}\n" for kind, alike in kinds.items() for fault in alike))
    counts = "".join(f"\n  {len(alike)} x {kind}, first: {alike[0]}" for kind, alike in kinds.items())
    raise InputError(f"{name}: {len(faults)} faults:{counts}\n{file} lists all of them.")


def _flatness(image: Mapping[str, Any]) -> float:
    """Return the longer over the shorter side."""
    return max(image["width"], image["height"]) / min(image["width"], image["height"])


def _require_root(dataset: Dataset) -> None:
    if not dataset.root.is_dir():
        fetched = f"fetch it with `iou-aware fetch {dataset.name}`, or " if dataset.fetch else ""
        raise InputError(
            f"{dataset.root}: the data of {dataset.name} are not there; {dataset.root_from} names this folder. To use "
            f"them, {fetched}name the folder that holds them in the experiment: `roots: {{{dataset.name}: FOLDER}}`."
        )


def _relative(path: Path, project: Path) -> str:
    """Return a path from the project's root, the working directory of every stage, if it is written as one below that.

    Links stay as they are: what lies behind them may be elsewhere tomorrow.
    """
    path, project = Path(os.path.abspath(path)), Path(os.path.abspath(project))
    return (path.relative_to(project) if path.is_relative_to(project) else path).as_posix()


def _report(manifest: Manifest) -> None:
    """Log what there is, and what differs from the user's files."""
    log.info("%s: %d classes (%s)", manifest.dataset, len(manifest.classes), ", ".join(manifest.classes))
    for name, split in manifest.splits.items():
        counts = split.counts
        log.info("%s: %d images, %d boxes, %d ignored", name, counts["images"], counts["boxes"], counts["ignored"])
        for what in ("invalid", "excluded", "unlisted", "turned", "small", "padded"):
            if entries := getattr(split, what):
                log.warning("%s: %d x %s, which the manifest names", name, len(entries), what)
