"""The command ``compare``: two folders of results, or two runs or rules, side by side: what changed and how surely.

A side is a folder of results (``results/micro``), or a run of one with the rule that ranks it
(``results/micro/runs/NAME@alpha=0.50``). Both kinds are compared by what is collected of them; a difference has an
interval where the images are resampled.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from iou_aware.analysis.bootstrap import resamples
from iou_aware.analysis.bootstrap.resamples import METRICS, RESAMPLES
from iou_aware.analysis.metrics import PROVENANCE, load_metrics, load_per_class
from iou_aware.analysis.uncertainty.intervals import interval
from iou_aware.common import markdown
from iou_aware.common.errors import InputError
from iou_aware.experiment.columns import PAPER
from iou_aware.experiment.layout import Layout
from iou_aware.method.confidence import Rule

_KEYS = ["run", "split", "rule"]
_SHOWN_ROWS, _SHOWN_CLASSES = 20, 5


@dataclass(frozen=True)
class Side:
    """One side: a folder of results, and with ``run`` one of its runs, under one rule where it names one."""

    text: str
    paths: Layout
    run: str | None = None
    rule: str | None = None


def compare(first: str, second: str, split: str | None = None) -> None:
    """Print the comparison of two sides as Markdown.

    Args:
        first: A side, see above.
        second: The other, of the same kind.
        split: The split to compare runs on; needed only where both are evaluated on several.

    Raises:
        InputError: A side does not exist or is not evaluated, the two are of different kinds, or their images differ.
    """
    sides = [parse(text) for text in (first, second)]
    if (sides[0].run is None) != (sides[1].run is None):
        raise InputError(f"{first} and {second}: found a folder of results and a run; expected two of the same kind.")
    sys.stdout.write(_folders(*sides) if sides[0].run is None else _runs(*sides, split))


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
        change = moved.loc[run, split, rule]
        terms = [(sign, side.paths.bootstrap(run, split), rule, "AP") for sign, side in [(1.0, second), (-1.0, first)]]
        limits, _, word = _certainty(change["AP"], terms)
        gains = ["" if np.isnan(change[metric]) else f"{change[metric]:+.2f}" for metric in PAPER]
        rows.append([run, split, rule, *gains, limits, word])
    if rows:
        lines.append(markdown.table([*_KEYS, *PAPER, "AP: 95 % interval", "AP"], rows))
    if len(order) > _SHOWN_ROWS:
        lines += ["", f"and {len(order) - _SHOWN_ROWS} more, each with a smaller difference of AP."]
    made = [[name, *(_values(table, name) for table in tables)] for name in PROVENANCE]
    lines += ["", "What made them:", "", markdown.table(["", "first", "second"], made)]
    return "\n".join(lines) + "\n"


def _values(table: pd.DataFrame, column: str) -> str:
    """Return the few values of a column, or how many there are."""
    values = sorted(set(table[column].astype(str)) - {""})
    return ", ".join(value[:12] for value in values) if len(values) <= 2 else f"{len(values)} different"


def _runs(first: Side, second: Side, split: str | None) -> str:
    """Return the page on two runs or rules: every metric with its interval, then the classes that changed most."""
    tables = [_evaluated(side) for side in (first, second)]
    shared = sorted(set(tables[0].index) & set(tables[1].index))
    split = shared[0] if split is None and len(shared) == 1 else split
    if split not in shared:
        found = ", ".join(shared) or "no split"
        raise InputError(f"found evaluations of both on {found}; expected --split to name one of them.")
    rules = [table.at[split, "rule"] for table in tables]
    made = [json.loads(side.paths.evaluation(side.run, split).read_text())["provenance"] for side in (first, second)]
    if made[0]["annotations_sha256"] != made[1]["annotations_sha256"]:
        raise InputError(f"{first.text} and {second.text}: only runs on the same images can be compared.")
    rows = []
    for metric in METRICS:
        values = [table.at[split, metric] for table in tables]
        terms = [
            (sign, side.paths.bootstrap(side.run, split), rule, metric)
            for sign, side, rule in zip((-1.0, 1.0), (first, second), rules, strict=True)
        ]
        rows.append([metric, *_cells(*values), *_certainty(values[1] - values[0], terms)])
    trainings = "" if first.run == second.run else " That another training would come out otherwise they do not know."
    lines = [
        f"# {first.text} and {second.text}",
        "",
        f"On {split}, {made[0]['images']} images. Intervals: paired bootstrap over the images, {RESAMPLES:,} "
        f"resamples.{trainings}",
        "",
        markdown.table(["metric", "first", "second", "difference", "95 % interval", "higher", ""], rows),
    ]
    by_class = [_by_class(first, split, rules[0]), _by_class(second, split, rules[1])]
    classes = pd.concat(by_class, axis=1, keys=["first", "second"]).dropna()
    ranked = list(classes.iloc[np.argsort(classes["second"] - classes["first"], kind="stable")].itertuples(name=None))
    if len(ranked) > 1:
        most = dict.fromkeys([*ranked[: -_SHOWN_CLASSES - 1 : -1], *reversed(ranked[:_SHOWN_CLASSES])])
        lines += ["", "AP of the classes that changed most:", ""]
        rows = [[name, *_cells(*values)] for name, *values in most]
        lines.append(markdown.table(["class", "first", "second", "difference"], rows))
    return "\n".join(lines) + "\n"


def _evaluated(side: Side) -> pd.DataFrame:
    """Return the metrics of a side's run under its rule, or the only one that it has, by split."""
    metrics = load_metrics(side.paths.metrics)
    mine = metrics[metrics["run"] == side.run]
    rules = list(mine["rule"].unique())
    if side.rule is None and len(rules) > 1:
        raise InputError(f"{side.text}: this run is ranked by {', '.join(rules)}; say which, such as @{rules[0]}.")
    if side.rule not in (None, *rules):
        raise InputError(f"{side.text}: not evaluated by this rule, only by {', '.join(rules) or 'none'}.")
    return mine[mine["rule"] == (side.rule or "".join(rules))].set_index("split")


def _by_class(side: Side, split: str, rule: str) -> pd.Series:
    """Return the AP of each class."""
    classes = load_per_class(side.paths.per_class)
    mine = (classes[_KEYS] == [side.run, split, rule]).all(axis=1)
    return classes[mine].set_index("class")["AP"]


def _cells(first: float, second: float) -> list[str]:
    """Return both values and second less first, in percent and points; nothing for one that is not known."""
    known = [(first, ".2f"), (second, ".2f"), (second - first, "+.2f")]
    return ["" if np.isnan(value) else f"{value:{form}}" for value, form in known]


def _certainty(change: float, terms: list[resamples.Term]) -> list[str]:
    """Return the interval of a difference, how surely it is above zero, and which way it went, in words."""
    drawn = None if np.isnan(change) else resamples.combined(terms)
    sure = None if drawn is None else interval(change, drawn)
    if sure is None:
        return ["", "", ""]
    word = "equal" if sure.low == sure.high == 0 else "undecided"
    word = "surely higher" if sure.low > 0 else "surely lower" if sure.high < 0 else word
    return [f"[{sure.low:+.2f}, {sure.high:+.2f}]", f"{100 * sure.positive:.0f} %", word]
