"""The premise's numbers to be read: correlation, errors and calibration by run and rule; the predicted IoU's bias."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from iou_aware.analysis.markdown import table as lines
from iou_aware.analysis.premise.measure import GROUPS, load_premise
from iou_aware.analysis.report.elements import Html, table
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import BASELINE_RULE, matched_pairs

# Of all rules: the classification score alone, the paper's choice, and what the true IoU would give.
SHOWN = ("alpha=1.00", "alpha=0.50", "oracle=0.50")
_WHO = ("Run", "Ranked by")
_ERRORS = {
    "olrp": "oLRP",
    "localisation": "Localisation",
    "false": "False positives",
    "missed": "Misses",
    "laece": "LaECE",
}


@dataclass(frozen=True)
class Grid:
    """One table of text; the columns from ``numeric`` on are numbers."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: int


def grids(experiment: Experiment, every: bool = False) -> list[Grid]:
    """Return the two tables, those that have rows: confidence under each rule, and the bias of the predicted IoU.

    Args:
        experiment: The study, of which ``premise`` has run; without it there is no table.
        every: Whether to show every rule instead of ``SHOWN``.
    """
    frames = load_premise(experiment.paths.premise)
    if frames is None:
        return []
    confidence = Grid(
        "How confidence goes with IoU, over the detections that find an object, one for each, as AP at IoU 0.5 matches "
        "them: Spearman's and Pearson's correlation, and Spearman's of the predicted IoU alone (higher is better). "
        "“With duplicates” is Spearman's over all detections that overlap an object of their class by half or more; it "
        "is higher because NMS leaves duplicates that are both low in rank and badly placed. oLRP with its three "
        "parts, and LaECE, are in percent (lower is better).",
        [*_WHO, "Objects found", "Spearman", "Pearson", "Predicted IoU alone", "With duplicates", *_ERRORS.values()],
        list(_confidence(experiment, frames, every)),
        len(_WHO),
    )
    bias = Grid(
        "What IoU the head predicts and what is true (means), by the IoU with the nearest object of any class: object "
        "(0.5 and more), poorly placed box, background (below 0.1). It is trained on boxes with an object alone.",
        [*_WHO, *(f"{group}: {what}" for group in GROUPS for what in ("number", "predicted", "true"))],
        list(_bias(experiment, frames["bias"], every)),
        len(_WHO),
    )
    return [grid for grid in (confidence, bias) if grid.rows]


def html(experiment: Experiment) -> Html:
    """Return the tables for the report, and below them, folded away, those of every rule."""
    few, every = _html(grids(experiment)), _html(grids(experiment, every=True))
    if not few:
        return Html("")
    return Html(f"{few}<details><summary>Every rule</summary>{every}</details>")


def markdown(experiment: Experiment) -> str:
    """Return the tables for the documentation; empty where nothing is measured."""
    shown = ((grid, range(grid.numeric, len(grid.heads))) for grid in grids(experiment))
    return "\n\n".join("\n".join([grid.caption, "", *lines(grid.heads, grid.rows, right)]) for grid, right in shown)


def _confidence(experiment: Experiment, frames: dict[str, pd.DataFrame], every: bool) -> Iterator[list[str]]:
    key = ["run", "split", "rule"]
    table = frames["correlations"]
    by_score = {boxes: table[table["boxes"] == boxes].set_index("score") for boxes in ("found", "near")}
    measured = by_score["found"].loc[["confidence"]].merge(frames["lrp"][[*key, *_ERRORS]], on=key)
    for name, boxes, score in [("head", "found", "iou_pred"), ("duplicates", "near", "confidence")]:
        other = by_score[boxes].loc[by_score[boxes].index == score, [*key, "spearman"]]
        measured = measured.merge(other.rename(columns={"spearman": name}), on=key, how="left")
    for line in _ordered(experiment, measured, every):
        who = f"{experiment.runs[line['run']].title()}, {line['split']}"
        numbers = [_shown(line[name], 2) for name in ("spearman", "pearson", "head", "duplicates")]
        errors = [_shown(line[name], 1) for name in _ERRORS]
        yield [who, line["ranked"], f"{line['detections']:,}", *numbers, *errors]


def _bias(experiment: Experiment, frame: pd.DataFrame, every: bool) -> Iterator[list[str]]:
    lines = list(_ordered(experiment, frame, every))
    # The boxes are nearly the same under every rule: the paper's says it for all, where it is there.
    paper = [line for line in lines if line["rule"] == "alpha=0.50"]
    rows: dict[tuple[str, str], dict[str, list[str]]] = {}
    for line in lines if every or not paper else paper:
        who = f"{experiment.runs[line['run']].title()}, {line['split']}"
        numbers = [f"{line['detections']:,}", _shown(line["iou_pred"], 2), _shown(line["iou"], 2)]
        rows.setdefault((who, line["ranked"]), {})[line["group"]] = numbers
    for names, by_group in rows.items():
        yield [*names, *(number for group in GROUPS for number in by_group.get(group, [""] * 3))]


def _ordered(experiment: Experiment, frame: pd.DataFrame, every: bool) -> Iterator[dict]:
    """Yield the lines of each IoU-aware run, its baseline's before the first, with what ranks them for people."""
    baselines, shown = dict(matched_pairs(experiment.runs)), set()
    for name, run in experiment.runs.items():
        if not run.is_iou_aware:
            continue
        base = baselines.get(name)
        mine = frame[(frame["run"] == base) & (frame["rule"] == BASELINE_RULE) & (base not in shown)]
        shown.add(base)
        yield from ({**line, "ranked": "baseline, score"} for line in mine.to_dict("records"))
        for rule in [rule for rule in experiment.rules_for(run) if every or rule in SHOWN]:
            mine = frame[(frame["run"] == name) & (frame["rule"] == rule)]
            yield from ({**line, "ranked": rule} for line in mine.to_dict("records"))


def _html(found: Iterable[Grid]) -> str:
    parts = []
    for grid in found:
        shown = table(grid.heads, grid.rows, range(grid.numeric, len(grid.heads)))
        parts.append(f"<p>{escape(grid.caption)}</p>{shown}")
    return "".join(parts)


def _shown(value: float | None, decimals: int) -> str:
    return "" if value is None or pd.isna(value) else f"{value:.{decimals}f}"
