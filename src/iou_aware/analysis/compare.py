"""The command ``compare``: two folders of results, or two runs or rules, side by side: what changed and how surely.

A side is a folder of results (``results/micro``), or a run of one with the rule that ranks it
(``results/micro/runs/NAME@alpha=0.50``). Two folders are compared number by number; two runs or rules on their
detections, image by image, so that the difference has an interval.
"""

import json
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from iou_aware import detections
from iou_aware.analysis import markdown
from iou_aware.analysis.bootstrap import resamples
from iou_aware.analysis.bootstrap.draw import distributions
from iou_aware.analysis.bootstrap.resamples import METRICS, RESAMPLES
from iou_aware.analysis.inputs import annotations_of
from iou_aware.analysis.metrics import PROVENANCE, load_metrics
from iou_aware.analysis.uncertainty.intervals import Interval, interval
from iou_aware.common.errors import InputError
from iou_aware.data.annotations import Annotations
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
    for run, split, rule in order[:_SHOWN_ROWS]:
        terms = [(sign, side.paths.bootstrap(run, split), rule, "AP") for sign, side in [(1.0, second), (-1.0, first)]]
        drawn = resamples.combined(terms)
        change = moved.loc[run, split, rule]
        limits, _, word = _certainty(None if drawn is None else interval(change["AP"], drawn))
        gains = ["" if np.isnan(change[metric]) else f"{change[metric]:+.2f}" for metric in PAPER]
        rows.append([run, split, rule, *gains, limits, word])
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
        results = detections.read(source, _rule(side, source)).results
        curves = evaluator.curves(results)
        values.append(coco.summarise(curves))
        classes.append([metrics["AP"] for metrics in coco.summarise_classes(curves)])
        logger.info("%s: AP %.1f; drawing its images %d times", side.text, values[-1]["AP"] or 0.0, resamples)
        drawn.append(distributions(evaluator, results, resamples=resamples))
    rows = []
    for metric in METRICS:
        one, other = values[0][metric], values[1][metric]
        known = None not in (one, other)
        sure = interval(other - one, drawn[1][metric] - drawn[0][metric]) if known else None
        rows.append([*_cells(metric, one, other), *_certainty(sure)])
    trainings = "" if first.run == second.run else " That another training would come out otherwise they do not know."
    lines = [
        f"# {first.text} and {second.text}",
        "",
        f"On {split}, {len(evaluator.image_ids)} images. Intervals: paired bootstrap over the images, {resamples:,} "
        f"resamples.{trainings}",
        "",
        *markdown.table(["metric", "first", "second", "difference", "95 % interval", "higher", ""], rows),
    ]
    names = Annotations.load(annotations[0]).classes
    by_class = zip(map(names.__getitem__, evaluator.category_ids), *classes, strict=True)
    ranked = sorted((line for line in by_class if None not in line), key=lambda line: line[2] - line[1])
    if len(ranked) > 1:
        most = dict.fromkeys([*ranked[: -_SHOWN_CLASSES - 1 : -1], *reversed(ranked[:_SHOWN_CLASSES])])
        lines += ["", "AP of the classes that changed most:", ""]
        lines += markdown.table(["class", "first", "second", "difference"], [_cells(*line) for line in most])
    return "\n".join(lines) + "\n"


def _rule(side: Side, source: Path) -> str:
    """Return the rule of a side: its own, or the only one that its detections have."""
    rules = detections.provenance(source)["rules"]
    if side.rule is None and len(rules) > 1:
        raise InputError(f"{side.text}: this run is ranked by {', '.join(rules)}; say which, such as @{rules[0]}.")
    return side.rule or rules[0]


def _only_split(sides: Iterable[Side]) -> str:
    """Return the split on which both runs have detections, if there is one and no more."""
    splits = [
        {path.stem for path in side.paths.detections(side.run or "", "*").parent.glob("*.parquet")} for side in sides
    ]
    shared = sorted(set.intersection(*splits))
    if len(shared) != 1:
        raise InputError(
            f"found detections of both on {', '.join(shared) or 'no split'}; expected --split to name one of them."
        )
    return shared[0]


def _cells(name: str, first: float | None, second: float | None) -> list[str]:
    """Return a name, both values and second less first, in percent and points."""
    values = ["" if value is None else f"{value:.2f}" for value in (first, second)]
    return [name, *values, "" if first is None or second is None else f"{second - first:+.2f}"]


def _certainty(change: Interval | None) -> list[str]:
    """Return the interval of a difference, how surely it is above zero, and which way it went, in words."""
    if change is None:
        return ["", "", ""]
    word = "equal" if change.low == change.high == 0 else "undecided"
    word = "surely higher" if change.low > 0 else "surely lower" if change.high < 0 else word
    return [f"[{change.low:+.2f}, {change.high:+.2f}]", f"{100 * change.positive:.0f} %", word]
