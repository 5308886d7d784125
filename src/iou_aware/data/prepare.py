"""The stage `prepare`: check a dataset, bring it into one canonical form, and write its manifest."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from iou_aware.common.documents import closest
from iou_aware.common.errors import InputError
from iou_aware.common.files import sha256, write_text
from iou_aware.data import canonical, layouts
from iou_aware.data.boxes import count
from iou_aware.data.dataset import Dataset, Split, load, require_own_folder
from iou_aware.data.manifest import REST, Manifest, SplitData
from iou_aware.data.source import Fault, Source, settle

log = logging.getLogger(__name__)


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
    contents = {}
    for split in list(sources):
        source = sources.pop(split)
        contents[split] = canonical.convert(dataset, split, source, classes, faults)
        _check_content(dataset, dataset.splits[split], source, *contents[split], faults)
        contents[split][1]["images"] = _relative(source.folder, project)
    settle(faults, f"{dataset.root}, the data of {name}", folder / "faults.txt")

    def written(split: str, file: Path, content: dict[str, Any], named: dict[str, Any]) -> SplitData:
        # On one line: indented, annotations would take twice as long as their conversion.
        write_text(file, json.dumps(content, allow_nan=False) + "\n")
        return SplitData(
            annotations=_relative(file, project),
            labelled=dataset.splits[split].labelled,
            counts=count(len(content["images"]), content["annotations"], list(classes)),
            sha256=sha256(file),
            **named,
        )

    folds = [
        {part: written(dataset.train, folder / f"{part}-{number}.json", *own) for part, own in fold.items()}
        for number, fold in enumerate(_folds(dataset, contents))
    ]
    listed = [split for split in dataset.splits if split in contents]
    splits = {split: written(split, folder / f"{split}.json", *contents.pop(split)) for split in listed}
    manifest = Manifest(
        dataset=name,
        layout=dataset.layout,
        root=_relative(dataset.root, project),
        classes=list(classes),
        category_ids=list(range(1, len(classes) + 1)),
        train=dataset.train,
        evaluate=list(dataset.evaluate),
        invalid_boxes=dataset.invalid_boxes,
        splits=splits,
        folds=folds,
    )
    _report(manifest)
    manifest.write(folder / "manifest.json")
    return folder / "manifest.json"


def _read(dataset: Dataset, faults: list[InputError]) -> dict[str, Source]:
    """Read all splits, the one to train on first; one that cannot be read at all is a fault among others."""
    sources = {}
    for name, split in sorted(layouts.present(dataset).items(), key=lambda item: item[0] != dataset.train):
        try:
            sources[name] = layouts.of(dataset).read(dataset, split, faults)
        except InputError as fault:
            faults.append(fault)
    return sources


def _classes(dataset: Dataset, sources: Mapping[str, Source], faults: list[InputError]) -> dict[str, int | str | None]:
    """Return the classes in order, with what the first file that has a class calls it.

    They are those listed in the dataset file; without a list, those that the annotation files declare, in their order;
    and where these declare none, those that occur, sorted.
    """
    known: dict[str, int | str | None] = {}
    for split, source in sources.items():
        # A file without boxes may list whatever its tool does, Roboflow's placeholder for one.
        for category, number in source.classes.items() if dataset.splits[split].labelled else ():
            known.setdefault(category, number)
    declared = any(source.declared for source in sources.values())
    if dataset.classes is None:
        return known if declared else dict(sorted(known.items()))
    for name in dataset.classes:
        if declared and name not in known:
            text = f"{dataset.file}, key classes: no annotation file has the class {name!r}, only {', '.join(known)}"
            faults.append(Fault("class unknown", text, f"{closest(name, known)} Correct the key, or leave it out."))
    return {name: known.get(name) for name in dataset.classes}


def _check_content(
    dataset: Dataset,
    split: Split,
    source: Source,
    content: Mapping[str, Any],
    named: Mapping[str, Any],
    faults: list[InputError],
) -> None:
    """Check that a split has as many images as it must have, and boxes unless it is unlabelled."""
    number, expected = len(source.images), split.expected_images
    if expected is not None and number != expected:
        faults.append(
            Fault(
                "number of images",
                f"{dataset.root}: the split {split.name!r} of {dataset.name} has {number} images, but {dataset.file}, "
                f"key splits.{split.name}.expected_images, says {expected}",
                "The data are incomplete or another version: get them again, or correct the key.",
            )
        )
    if not content["images"] and not faults:
        text = f"{dataset.root}: none of the {number} images of the split {split.name!r} can be used"
        faults.append(Fault("no images", text, f"The first: {named['excluded'][0]['why']}"))
    ignored = sum(box["iscrowd"] for box in content["annotations"])
    if split.labelled and ignored == len(content["annotations"]) and not faults:
        files = ", ".join(map(str, layouts.of(dataset).files(dataset, split)))
        text = (
            f"{files}: the split has {number} images but no box to be found ({ignored} ignored, "
            f"{len(named['invalid'])} invalid, {sum(named['unlisted'].values())} of classes that are not listed)"
        )
        faults.append(Fault("no boxes", text, "Annotate it, or, in COCO layout, mark the split `labelled: false`."))


def _folds(dataset: Dataset, contents: Mapping[str, tuple[dict, dict]]) -> Iterator[dict[str, tuple[dict, dict]]]:
    """Yield what each fold of cross-validation holds, by split; nothing without cross-validation."""
    for fold in range(dataset.folds or 0):
        whole = contents[dataset.train]
        images = range(len(whole[0]["images"]))
        own = set(images[fold :: dataset.folds])
        yield {dataset.train: canonical.part(*whole, own), REST: canonical.part(*whole, set(images) - own)}


def _require_root(dataset: Dataset) -> None:
    if dataset.root.is_dir():
        return
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
