"""The premise's numbers to be read: correlation, errors and calibration by run and rule; the predicted IoU's bias."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from iou_aware.analysis.premise.measure import GROUPS, load_premise
from iou_aware.experiment.run import BASELINE_RULE, Run, matched_pairs

# Of all rules: the classification score alone, the paper's choice, and what the true IoU would give.
SHOWN = ("alpha=1.00", "alpha=0.50", "oracle=0.50")
CONFIDENCE = (
    "How confidence goes with IoU, over the detections that find an object, one for each, as AP at IoU 0.5 matches "
    "them: Spearman's and Pearson's correlation, and Spearman's of the predicted IoU alone (higher is better). "
    "“With duplicates” is Spearman's over all detections that overlap an object of their class by half or more; it "
    "is higher because NMS leaves duplicates that are both low in rank and badly placed. oLRP with its three "
    "parts, and LaECE, are in percent (lower is better)."
)
BIAS = (
    "What IoU the head predicts and what is true (means), by the IoU with the nearest object of any class: object "
    "(0.5 and more), poorly placed box, background (below 0.1). It is trained on boxes with an object alone."
)
_KEY = ["run", "split", "rule"]
# By heading: how a number is shown, and which it is: a column, the boxes and the score of the correlations, or a
# column of the errors.
_CORRELATIONS = {
    "Objects found": ("{:,.0f}", ("detections", "found", "confidence")),
    "Spearman": ("{:.2f}", ("spearman", "found", "confidence")),
    "Pearson": ("{:.2f}", ("pearson", "found", "confidence")),
    "Predicted IoU alone": ("{:.2f}", ("spearman", "found", "iou_pred")),
    "With duplicates": ("{:.2f}", ("spearman", "near", "confidence")),
}
_ERRORS = {
    "oLRP": ("{:.1f}", "olrp"),
    "Localisation": ("{:.1f}", "localisation"),
    "False positives": ("{:.1f}", "false"),
    "Misses": ("{:.1f}", "missed"),
    "LaECE": ("{:.1f}", "laece"),
}
# A column of the bias, and the group.
_BIAS = {
    f"{group}: {what}": (form, (column, group))
    for group in GROUPS
    for what, form, column in (
        ("number", "{:,.0f}", "detections"),
        ("predicted", "{:.2f}", "iou_pred"),
        ("true", "{:.2f}", "iou"),
    )
}


def premise_tables(
    folder: Path, runs: Mapping[str, Run], rules: Mapping[str, Sequence[str]], every: bool = False
) -> dict[str, pd.DataFrame]:
    """Return two tables of text by their captions, if they have rows: confidence under each rule, bias of the head.

    Each has a row per run, split and rule, the baseline's before those of the first IoU-aware run that has it; the
    first two columns name it, the others are numbers.

    Args:
        folder: What the stage ``premise`` wrote; before it has run there is no table.
        runs: The experiment's runs by name.
        rules: The rules of each.
        every: Whether to show every rule instead of ``SHOWN``.
    """
    frames = load_premise(folder)
    if frames is None:
        return {}
    wide = frames["correlations"].pivot(index=_KEY, columns=["boxes", "score"])
    confidence = _text(wide, _CORRELATIONS).join(_text(frames["lrp"].set_index(_KEY), _ERRORS), how="inner")
    bias = _text(frames["bias"].pivot(index=_KEY, columns="group"), _BIAS)
    paper = bias[bias.index.get_level_values("rule") == "alpha=0.50"]
    # The boxes are nearly the same under every rule: the bias under the paper's stands for all, where it is measured.
    tables = {CONFIDENCE: confidence, BIAS: bias if every or paper.empty else paper}
    shown = _shown(runs, rules, every)
    named = {caption: shown.merge(table.reset_index(), on=["run", "rule"]) for caption, table in tables.items()}
    for table in named.values():
        table.insert(0, "Run", [f"{runs[run].title()}, {split}" for run, split in table[["run", "split"]].to_numpy()])
    return {caption: table.drop(columns=_KEY) for caption, table in named.items() if len(table)}


def _text(numbers: pd.DataFrame, columns: Mapping[str, tuple[str, Any]]) -> pd.DataFrame:
    """Return some columns as text under other names; one that is absent, and a number that is, is empty."""
    return pd.DataFrame(
        {
            heading: ["" if pd.isna(value) else form.format(value) for value in numbers[column]]
            if column in numbers
            else ""
            for heading, (form, column) in columns.items()
        },
        index=numbers.index,
    )


def _shown(runs: Mapping[str, Run], rules: Mapping[str, Sequence[str]], every: bool) -> pd.DataFrame:
    """Return run and rule of each row in order, and what ranks it: of each IoU-aware run, its baseline's first."""
    baselines, ranked = dict(matched_pairs(runs)), {}
    for name in (name for name, run in runs.items() if run.is_iou_aware):
        if name in baselines:
            ranked.setdefault((baselines[name], BASELINE_RULE), "baseline, score")
        ranked |= {(name, rule): rule for rule in rules[name] if every or rule in SHOWN}
    return pd.DataFrame([(*key, by) for key, by in ranked.items()], columns=["run", "rule", "Ranked by"])
