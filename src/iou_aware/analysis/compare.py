"""The command ``compare``: two folders of results, or two runs or rules, side by side: what changed and how surely.

A side is a folder of results (``results/micro``), or a run of one with the rule that ranks it
(``results/micro/runs/NAME@alpha=0.50``). Two folders are compared number by number; two runs or rules on their
detections, image by image, so that the difference has an interval.
"""

import json
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from iou_aware import detections
from iou_aware.analysis import inputs, markdown
from iou_aware.analysis.bootstrap import resamples
from iou_aware.analysis.bootstrap.draw import distributions
from iou_aware.analysis.bootstrap.resamples import METRICS, RESAMPLES
from iou_aware.analysis.inputs import annotations_of
from iou_aware.analysis.metrics import PROVENANCE, load_metrics
from iou_aware.analysis.uncertainty.intervals import Interval, interval
from iou_aware.common.errors import InputError
from iou_aware.evaluation import coco
from iou_aware.experiment.columns import PAPER
from iou_aware.experiment.layout import Layout
from iou_aware.method.confidence import Rule

logger = logging.getLogger(__name__)

_KEYS = ["run", "split", "rule"]
_SHOWN_ROWS, _SHOWN_CLASSES = 20, 5


@dataclass(frozen=True)
class Side:
    """One side: a folder of results, and with ``run`` one of its runs under one rule."""

    text: str
    paths: Layout
    run: str | None = None
    rule: str | None = None

    @property
    def dataset(self) -> str:
        """The dataset of the run."""
        path = self.paths.seal(self.run or "")
        if not path.is_file():
            raise InputError(f"{path} does not exist: expected a finished run, trained or released, at {self.text}.")
        return json.loads(path.read_text())["run"]["dataset"]


@dataclass(frozen=True)
class Change:
    """One metric of both sides, percent, and how surely it differs; for a class, without an interval."""

    metric: str
    first: float | None
    second: float | None
    interval: Interval | None = None

    @property
    def difference(self) -> float | None:
        """Second less first, points."""
        return None if self.first is None or self.second is None else self.second - self.first

    @property
    def surely(self) -> str:
        """Which way it went, in words."""
        if self.interval is None:
            return ""
        if self.interval.low > 0:
            return "surely higher"
        if self.interval.high < 0:
            return "surely lower"
        return "equal" if self.interval.low == self.interval.high == 0 else "undecided"


def compare(first: str, second: str, split: str | None = None, resamples: int = RESAMPLES) -> None:
    """Print the comparison of two sides as Markdown.

    Args:
        first: A side, see above.
        second: The other, of the same kind.
        split: The split to compare runs on; needed only where a run has detections on several.
        resamples: How often to draw the images for the intervals, where that is not done yet.

    Raises:
        InputError: A side does not exist, the two are of different kinds, or their images differ.
    """
    if resamples < 1:
        raise InputError(f"resamples: found {resamples}, expected 1 or more; 1000 for an interval to rely on.")
    sides = [parse(text) for text in (first, second)]
    if (sides[0].run is None) != (sides[1].run is None):
        raise InputError(f"{first} and {second}: found a folder of results and a run; expected two of the same kind.")
    text = _folders(*sides) if sides[0].run is None else _runs(*sides, split, resamples)
    sys.stdout.write(text)


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


def _folders(first: Side, second: Side) -> str:
    """Return the page on two folders: what differs in metrics.csv, most first, and what made the two."""
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
    rows = []
    for key in order[:_SHOWN_ROWS]:
        values = [float(table.loc[key, "AP"]) for table in tables]
        ap = Change("AP", *values, _paired(first, second, key, values[1] - values[0]))
        gains = [_signed(float(moved.loc[key, metric])) for metric in PAPER]
        rows.append([*key, *gains, _bracketed(ap), ap.surely])
    if rows:
        lines += markdown.table([*_KEYS, *PAPER, "AP: 95 % interval", "AP"], rows)
    if len(order) > _SHOWN_ROWS:
        lines += ["", f"and {len(order) - _SHOWN_ROWS} more, each with a smaller difference of AP."]
    made = [[name, *(_values(table, name) for table in tables)] for name in PROVENANCE]
    lines += ["", "What made them:", "", *markdown.table(["", "first", "second"], made)]
    return "\n".join(lines) + "\n"


def _values(table: pd.DataFrame, column: str) -> str:
    """Return the few values of a column, or how many there are."""
    values = sorted(set(table[column].astype(str)) - {""})
    return ", ".join(value[:12] for value in values) if len(values) <= 2 else f"{len(values)} different"


def _paired(first: Side, second: Side, key: tuple[str, str, str], value: float) -> Interval | None:
    """Return the interval of ``value``, one evaluation's difference of AP in two folders; None unless resampled."""
    run, split, rule = key
    terms = [(sign, side.paths.bootstrap(run, split), rule, "AP") for sign, side in [(1.0, second), (-1.0, first)]]
    values = resamples.combined(terms)
    return None if values is None else interval(value, values)


def _runs(first: Side, second: Side, split: str | None, resamples: int) -> str:
    """Return the page on two runs or rules: every metric with its interval, then the classes that changed most."""
    split = split or _only_split([first, second])
    annotations = [annotations_of(side.paths, side.dataset, split) for side in (first, second)]
    if annotations[0].read_bytes() != annotations[1].read_bytes():
        raise InputError(f"{annotations[0]} and {annotations[1]} differ: only runs on the same images can be compared.")
    evaluator = coco.CocoEvaluator(annotations[0])
    values, classes, drawn = [], [], []
    for side in (first, second):
        source = side.paths.detections(side.run or "", split)
        results = inputs.results(detections.read(source, _rule(side, source)))
        curves = evaluator.curves(results)
        values.append(coco.summarise(curves))
        classes.append([metrics["AP"] for metrics in coco.summarise_classes(curves)])
        logger.info("%s: AP %.1f; drawing its images %d times", side.text, values[-1]["AP"] or 0.0, resamples)
        drawn.append(distributions(evaluator, results, resamples=resamples))
    changes = []
    for metric in METRICS:
        change = Change(metric, values[0][metric], values[1][metric])
        if change.difference is not None:
            change = replace(change, interval=interval(change.difference, drawn[1][metric] - drawn[0][metric]))
        changes.append(change)
    names = {category["id"]: category["name"] for category in json.loads(annotations[0].read_text())["categories"]}
    per_class = [
        Change(names[category], *pair) for category, *pair in zip(evaluator.category_ids, *classes, strict=True)
    ]
    return _page(first, second, split, len(evaluator.image_ids), resamples, changes, per_class)


def _page(
    first: Side,
    second: Side,
    split: str,
    images: int,
    resamples: int,
    changes: Sequence[Change],
    classes: Sequence[Change],
) -> str:
    lines = [
        f"# {first.text} and {second.text}",
        "",
        f"On {split}, {images} images. Intervals: paired bootstrap over the images, {resamples:,} resamples."
        + ("" if first.run == second.run else " That another training would come out otherwise they do not know."),
        "",
        *markdown.table(
            ["metric", "first", "second", "difference", "95 % interval", "higher", ""],
            [[*_cells(change), _bracketed(change), _share(change), change.surely] for change in changes],
        ),
    ]
    known = [change for change in classes if change.difference is not None]
    ranked = sorted(known, key=lambda change: change.difference or 0.0)
    if len(ranked) > 1:
        most = dict.fromkeys([*ranked[: -_SHOWN_CLASSES - 1 : -1], *reversed(ranked[:_SHOWN_CLASSES])])
        lines += ["", "AP of the classes that changed most:", ""]
        lines += markdown.table(["class", "first", "second", "difference"], [_cells(change) for change in most])
    return "\n".join(lines) + "\n"


def _rule(side: Side, source: Path) -> str:
    """Return the rule of a side: its own, or the only one that its detections have."""
    rules = detections.provenance(source)["rules"]
    if side.rule is None and len(rules) > 1:
        raise InputError(f"{side.text}: this run is ranked by {', '.join(rules)}; say which, such as @{rules[0]}.")
    return side.rule or rules[0]


def _only_split(sides: Iterable[Side]) -> str:
    """Return the split on which both runs have detections, if there is one and no more."""
    found = [
        {path.stem for path in side.paths.detections(side.run or "", "*").parent.glob("*.parquet")} for side in sides
    ]
    shared = sorted(set.intersection(*found))
    if len(shared) != 1:
        raise InputError(
            f"found detections of both on {', '.join(shared) or 'no split'}; expected --split to name one of them."
        )
    return shared[0]


def _cells(change: Change) -> list[str]:
    values = ["" if value is None else f"{value:.2f}" for value in (change.first, change.second)]
    return [change.metric, *values, _signed(change.difference)]


def _share(change: Change) -> str:
    return "" if change.interval is None else f"{100 * change.interval.positive:.0f} %"


def _bracketed(change: Change) -> str:
    return "" if change.interval is None else f"[{change.interval.low:+.2f}, {change.interval.high:+.2f}]"


def _signed(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:+.2f}"
