"""Two folders of results side by side, and the detections of runs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from iou_aware import detections
from iou_aware.analysis.metrics import PROVENANCE, load_metrics
from iou_aware.common import markdown
from iou_aware.common.errors import InputError
from iou_aware.data.manifest import Manifest
from iou_aware.experiment.columns import PAPER
from iou_aware.experiment.layout import Layout
from iou_aware.method.confidence import Rule

_KEYS = ["run", "split", "rule"]
_SHOWN_ROWS = 20


@dataclass(frozen=True)
class Side:
    """One side: a folder of results, and with ``run`` one of its runs, under one rule where it names one."""

    text: str
    paths: Layout
    run: str | None = None
    rule: str | None = None


def parse(text: str) -> Side:
    """Return the side that a text means.

    Raises:
        InputError: There is no such folder, or it is not where results lie.
    """
    place, _, rule = text.partition("@")
    folder = Path(place)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; expected results/EXPERIMENT, or a run's folder below it.")
    parts = ("", "", "", *folder.absolute().parts)
    if parts[-2] == "results":
        if rule:
            raise InputError(f"{text}: found a rule with a folder of results; expected it with a run's folder.")
        return Side(text, Layout(folder.absolute().parent.parent, folder.name))
    if parts[-4] == "results" and parts[-2] == "runs":
        root = folder.absolute().parents[3]
        return Side(text, Layout(root, parts[-3]), folder.name, Rule(rule) if rule else None)
    raise InputError(
        f"{folder}: found neither results/EXPERIMENT nor results/EXPERIMENT/runs/RUN; expected one of them."
    )


def page(sides: Sequence[Side]) -> str:
    """Return the page on two folders: what differs in metrics.csv, most first, and what made the two.

    Raises:
        InputError: They are not two folders.
    """
    if len(sides) != 2 or any(side.run for side in sides):
        texts = " and ".join(side.text for side in sides)
        raise InputError(f"{texts}: expected two of the same kind: folders of results, or runs.")
    first, second = sides
    tables = [load_metrics(side.paths.metrics).set_index(_KEYS) for side in (first, second)]
    shared = tables[0].index.intersection(tables[1].index)
    differences = tables[1].loc[shared, PAPER] - tables[0].loc[shared, PAPER]
    moved = differences[differences.abs().max(axis=1) > 0]
    order = moved["AP"].abs().sort_values(ascending=False, kind="stable").index
    lines = [
        f"# {first.text} and {second.text}",
        "",
        f"{len(shared)} evaluations in both; {len(moved)} differ; {len(tables[0]) - len(shared)} only in the first,"
        f" {len(tables[1]) - len(shared)} only in the second.",
        "",
    ]
    if len(order):
        shown = moved.loc[order[:_SHOWN_ROWS]].map("{:+.2f}".format, na_action="ignore").fillna("").reset_index()
        lines.append(markdown.table([*shown], shown.to_numpy().tolist()))
    if len(order) > _SHOWN_ROWS:
        lines += ["", f"and {len(order) - _SHOWN_ROWS} more, each with a smaller difference of AP."]
    made = [[name, *(_values(table, name) for table in tables)] for name in PROVENANCE]
    lines += ["", "What made them:", "", markdown.table(["", "first", "second"], made)]
    return "\n".join(lines) + "\n"


def _values(table: pd.DataFrame, column: str) -> str:
    """Return the few values of a column, or how many there are."""
    values = sorted(set(table[column].astype(str)) - {""})
    return ", ".join(value[:12] for value in values) if len(values) <= 2 else f"{len(values)} different"


def runs(sides: Sequence[Side], split: str | None) -> tuple[Path, dict[str, np.ndarray]]:
    """Return the annotations that runs are evaluated with, and the detections of each under its rule.

    Args:
        sides: The runs.
        split: The split; needed only where all are predicted on several.

    Raises:
        InputError: A run is not predicted on the split, or not by its rule, or on other images than the first.
    """
    predicted = [
        {file.stem for file in side.paths.detections(side.run, "any").parent.glob("*.parquet")} for side in sides
    ]
    shared = sorted(set.intersection(*predicted))
    split = shared[0] if split is None and len(shared) == 1 else split
    if split not in shared:
        found = ", ".join(shared) or "no split"
        raise InputError(f"found detections of all on {found}; expected --split to name one of them.")
    parts = []
    for side in sides:
        dataset = json.loads(side.paths.seal(side.run).read_text())["run"]["dataset"]
        parts.append(Manifest.load(side.paths.manifest(dataset), verify=True).split(split))
        if parts[-1].sha256 != parts[0].sha256:
            raise InputError(f"{sides[0].text} and {side.text}: only runs on the same images can be compared.")
    sets = {side.text: _detected(side, split) for side in sides}
    return sides[0].paths.root / parts[0].annotations, sets


def _detected(side: Side, split: str) -> np.ndarray:
    """Return the detections of a side's run under its rule, or the only one that it has."""
    file = side.paths.detections(side.run, split)
    rules = detections.provenance(file)["rules"]
    if side.rule is None and len(rules) > 1:
        raise InputError(f"{side.text}: this run is ranked by {', '.join(rules)}; say which, such as @{rules[0]}.")
    return detections.read(file, side.rule or rules[0]).results
