"""A dataset as ``configs/datasets/<name>.yaml`` describes it: layout, place, splits, classes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iou_aware.common import documents
from iou_aware.common.messages import InputError

FOLDER = Path("configs", "datasets")
_SPLIT = {"labelled": True, "expected_images": None, "optional": False}  # what holds where a split has no such key


@dataclass(frozen=True)
class Dataset:
    """A dataset's description; the keys of its YAML, of which schemas/dataset.schema.yaml gives the meaning.

    Attributes:
        name: As experiments call it.
        file: The YAML it came from, for messages.
        layout: ``coco`` or ``voc``.
        root: The folder the data lies in.
        root_from: What set ``root``, for messages.
        splits: By name, the keys of each: those that its layout has; and ``labelled``, ``expected_images`` and
            ``optional`` in any case.
        train: The split that is trained on.
        evaluate: The splits that are evaluated.
        classes: Listed classes in order, or None to read them from the data.
        unlisted_classes: ``error`` or ``exclude``; None for what the layout does without the key.
        invalid_boxes: ``error``, ``exclude`` or ``keep``.
        invalid_images: ``error`` or ``exclude``.
        missing_annotations: ``error`` or ``negative``, for VOC layout.
        folds: How many parts cross-validation deals the images into; None without it.
        generate: Settings of the generator that makes the data, or None.
        fetch: Where to fetch the data from, or None.
    """

    name: str
    file: Path
    layout: str
    root: Path
    root_from: str
    splits: dict[str, Mapping[str, Any]]
    train: str
    evaluate: list[str]
    classes: list[str] | None = None
    unlisted_classes: str | None = None
    invalid_boxes: str = "error"
    invalid_images: str = "error"
    missing_annotations: str = "error"
    folds: int | None = None
    generate: dict[str, Any] | None = None
    fetch: dict[str, Any] | None = None

    def split(self, name: str) -> Mapping[str, Any]:
        """Return the keys of a split.

        Raises:
            InputError: There is none of that name.
        """
        if name not in self.splits:
            raise InputError(f"{self.file}: there is no split {name!r}; expected {documents.one_of(self.splits, name)}")
        return self.splits[name]

    def leave_out(self, key: str) -> str:
        """Return the advice to let ``key`` leave out what is wrong."""
        keep = " or `keep`" if key == "invalid_boxes" else ""
        return f"`{key}: exclude`{keep} in {self.file} goes on without, and the manifest names each."


def load(project: Path, name: str, roots: Mapping[str, str | Path] | None = None) -> Dataset:
    """Load and check ``configs/datasets/<name>.yaml``.

    Args:
        project: The project's root folder, which holds ``configs/``; relative folders start from it.
        name: The dataset.
        roots: Folders by dataset name that take the place of the dataset file's ``root``.

    Returns:
        The dataset, its root joined to the project's root. Nothing is looked up in the data itself.

    Raises:
        InputError: There is no such dataset, or its file breaks the schema or contradicts itself.
    """
    file = Path(project) / FOLDER / f"{name}.yaml"
    document = documents.read(file, "dataset")
    content = {key: value for key, value in document.content.items() if key != "description"}
    if (found := content.pop("dataset")) != name:
        raise document.error(("dataset",), f"found {found!r}, expected {name!r}, the name of the file.")
    content["splits"] = {split: _SPLIT | keys for split, keys in content["splits"].items()}
    for key, wanted in {"train": [content["train"]], "evaluate": content["evaluate"]}.items():
        for split in wanted:
            documents.require(document, (key,), split, content["splits"], "split")
            if not content["splits"][split]["labelled"]:
                raise document.error((key,), f"the split {split!r} is not labelled. Name one that is.")
    if "folds" in content and content["evaluate"] != [content["train"]]:
        what = f"found {content['evaluate']}, expected [{content['train']}]: with `folds`, the split to train on."
        raise document.error(("evaluate",), what)
    overridden = (roots or {}).get(name)
    place = os.path.expandvars(os.path.expanduser(overridden or content["root"]))
    root_from = f"`roots.{name}` of the experiment" if overridden else f"`root` of {file}"
    return Dataset(name=name, file=file, root_from=root_from, **content | {"root": Path(project) / place})


def require_own_folder(dataset: Dataset, project: Path, instead: str) -> None:
    """Raise InputError unless a dataset lies in the project's ``data``, links aside: its file may be somebody else's.

    Args:
        dataset: A dataset that is about to be written.
        project: The project's root folder.
        instead: What to do for another folder.
    """
    data = Path(os.path.abspath(Path(project) / "data"))
    if data not in Path(os.path.abspath(dataset.root)).parents:
        raise InputError(f"{dataset.root_from}: found {dataset.root}, expected a folder in {data}; {instead}.")
