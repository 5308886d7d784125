"""The detections of runs, to be compared as those of results files are."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from iou_aware import detections
from iou_aware.common.messages import InputError
from iou_aware.data.manifest import Manifest
from iou_aware.experiment.layout import Layout
from iou_aware.method.confidence import Rule


def load(sides: Sequence[str], split: str | None) -> tuple[Path, dict[str, np.ndarray]]:
    """Return the annotations that runs are evaluated with, and the detections of each under its rule.

    Args:
        sides: A run's folder each, ``results/EXPERIMENT/runs/RUN``, with ``@RULE`` where it has several.
        split: The split; needed only where all are predicted on several.

    Raises:
        InputError: There is no such run, or it is not predicted on the split, or not by its rule, or on other images
            than the first.
    """
    runs = [_parse(text) for text in sides]
    folders = [paths.detections(name, "any").parent for paths, name, _ in runs]
    shared = sorted(set.intersection(*({file.stem for file in folder.glob("*.parquet")} for folder in folders)))
    split = shared[0] if split is None and len(shared) == 1 else split
    if split not in shared:
        known = ", ".join(shared) or "no split"
        raise InputError(f"found detections of all on {known}; expected --split to name one of them.")
    parts, detected = [], {}
    for text, (paths, name, rule) in zip(sides, runs, strict=True):
        run = json.loads(paths.seal(name).read_text())["run"]
        manifest = Manifest.load(paths.manifest(run["dataset"]), verify=True).for_seed(run["seed"])
        parts.append(manifest.split(split))
        if parts[-1].sha256 != parts[0].sha256:
            raise InputError(f"{sides[0]} and {text}: only runs on the same images can be compared.")
        file = paths.detections(name, split)
        rules = detections.provenance(file)["rules"]
        if rule is None and len(rules) > 1:
            raise InputError(f"{text}: this run is ranked by {', '.join(rules)}; say which, such as @{rules[0]}.")
        detected[text] = detections.read(file, rule or rules[0]).results
    return runs[0][0].root / parts[0].annotations, detected


def _parse(text: str) -> tuple[Layout, str, Rule | None]:
    """Return where a run's files are, its name, and the rule that ranks its detections where one is named."""
    place, _, rule = text.partition("@")
    folder = Path(place).absolute()
    parts = ("", "", "", *folder.parts)
    if not folder.is_dir() or (parts[-4], parts[-2]) != ("results", "runs"):
        raise InputError(f"{place}: expected a results file, or a run's folder results/EXPERIMENT/runs/RUN.")
    return Layout(folder.parents[3], parts[-3]), folder.name, Rule(rule) if rule else None
