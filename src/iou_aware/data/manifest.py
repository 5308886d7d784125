"""The manifest of a prepared dataset: where its annotations and images are, what they hold, and their checksums."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from iou_aware.common.files import sha256, write_json
from iou_aware.common.messages import InputError

_FORMAT = 2
#: The split of a fold that its runs are trained on: the images of all other folds.
REST = "rest"


@dataclass(frozen=True)
class SplitData:
    """One prepared split.

    Attributes:
        annotations: Its canonical COCO JSON, relative to the project's root where it lies below it.
        images: The folder that ``file_name`` starts from, likewise.
        labelled: False when it has no boxes to evaluate with.
        counts: ``images``, ``boxes``, ``ignored`` (crowds, or difficult objects), boxes by ``classes`` and by COCO's
            ``areas`` (``small``, ``medium``, ``large``); see `iou_aware.data.canonical.count`.
        sha256: Of the annotation file.
        invalid: What is wrong with boxes: file, line, index, image, category, box, why. Left out of the annotations,
            unless the dataset says ``invalid_boxes: keep``.
        excluded: Images that were left out, and why.
        turned: Images that EXIF turns: what a detector sees is not what is stored.
        small: Images that training leaves out: a side of theirs is shorter than `iou_aware.data.images.SMALLEST`.
        padded: Images that end in zeros, of which the rest may be missing.
        unlisted: How many boxes of each class were left out because the dataset does not list it.
        flattest: The image, as it stands in the annotations, whose sides differ most: what a scale must leave room for.
    """

    annotations: str
    images: str
    labelled: bool
    counts: dict[str, Any]
    sha256: str
    invalid: list[dict[str, Any]] = field(default_factory=list)
    excluded: list[dict[str, str]] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)
    small: list[str] = field(default_factory=list)
    padded: list[str] = field(default_factory=list)
    unlisted: dict[str, int] = field(default_factory=dict)
    flattest: dict[str, Any] | None = None


@dataclass(frozen=True)
class Manifest:
    """A prepared dataset, as later stages read it from ``results/datasets/<name>/manifest.json``.

    Attributes:
        dataset: Its name.
        layout: ``coco`` or ``voc``.
        root: The folder of the raw data, relative to the project's root where it lies below it.
        classes: In the order of a detector's labels.
        category_ids: The id of each class in the annotations: 1 for the first.
        train: The split that is trained on.
        evaluate: The splits that are evaluated.
        invalid_boxes: What was done with invalid boxes: ``error``, ``exclude`` or ``keep``.
        splits: By name.
        folds: Of cross-validation, each fold's splits by name: the part of the evaluated one, and ``REST``.
    """

    dataset: str
    layout: str
    root: str
    classes: list[str]
    category_ids: list[int]
    train: str
    evaluate: list[str]
    invalid_boxes: str
    splits: dict[str, SplitData]
    folds: list[dict[str, SplitData]] = field(default_factory=list)

    def fold(self, seed: int) -> int:
        """Return the number of the fold that runs of a seed are evaluated on; 0 without cross-validation."""
        return seed % len(self.folds) if self.folds else 0

    def for_seed(self, seed: int) -> "Manifest":
        """Return the dataset as runs of a seed have it: with cross-validation, the splits of their fold."""
        return replace(self, train=REST, splits=self.folds[self.fold(seed)]) if self.folds else self

    def split(self, name: str) -> SplitData:
        """Return a split.

        Raises:
            InputError: There is none of that name.
        """
        if name not in self.splits:
            raise InputError(f"dataset {self.dataset}: there is no split {name!r}, only {', '.join(self.splits)}.")
        return self.splits[name]

    def write(self, path: str | Path) -> None:
        """Write the manifest atomically."""
        write_json(path, {"format": _FORMAT, **asdict(self)})

    @classmethod
    def load(cls, path: str | Path, verify: bool = False) -> "Manifest":
        """Read a manifest.

        Args:
            path: ``<project>/results/datasets/<name>/manifest.json``.
            verify: Also check that the annotation files still have the checksums written there.

        Raises:
            InputError: The manifest is missing or of another version, or an annotation file has changed.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_bytes())
            if content.pop("format") != _FORMAT:
                raise ValueError("of another format")
            splits, folds = _splits(content.pop("splits")), [_splits(fold) for fold in content.pop("folds", [])]
            manifest = cls(splits=splits, folds=folds, **content)
        except FileNotFoundError as error:
            raise InputError(f"{path}: there is no such manifest. Run `iou-aware prepare` for the dataset.") from error
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: not a manifest of this version ({error}). Run `iou-aware prepare` again."
            ) from error
        parts = [part for one in (splits, *folds) for part in one.items()]
        for name, split in parts if verify else ():
            # The project as the path is written: `results` may be a link to where there is room.
            file = Path(os.path.abspath(path)).parents[3] / split.annotations
            checksum = sha256(file) if file.is_file() else "no such file"
            if checksum != split.sha256:
                raise InputError(
                    f"{file}: the annotations of {manifest.dataset} {name} changed after they were prepared (sha256 "
                    f"{checksum}, the manifest says {split.sha256}). Run `iou-aware prepare` again, and what follows."
                )
        return manifest


def _splits(content: Mapping[str, Any]) -> dict[str, SplitData]:
    return {name: SplitData(**split) for name, split in content.items()}
