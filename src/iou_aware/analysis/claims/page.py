"""The content of ``claims.json`` for people: the numbers behind a claim as rows of text, and all claims as Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iou_aware.analysis.uncertainty.verdict import NOT_RUN, signed
from iou_aware.common import markdown, templates
from iou_aware.evaluation.resampled import RESAMPLES

HEADS = (
    *("What", "Expected", "Paper", "Ours", "95 % interval", "With the noise of training"),
    *("Seeds", "Range over seeds", "Verdict", "Why"),
)
NUMERIC = (2, 3, 6)
# What the experiment's ``comparison`` means for its claims.
COMPARISONS = {
    "pattern": "Data and models are not the paper's, so signs and orderings are judged and sizes are not.",
    "values": "Signs, orderings and sizes are judged.",
}


def numbers(findings: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the findings of a claim as rows of text, a column for each of ``HEADS``."""
    rows = []
    for finding in findings:
        quantity, interval = finding["quantity"], finding["quantity"]["interval"]
        known = quantity["value"] is not None
        rows.append(
            [
                quantity["label"],
                finding["expected"],
                "" if quantity["paper"] is None else signed(quantity["paper"]),
                signed(quantity["value"]) if known else "",
                _range(interval["low"], interval["high"]) if interval else "",
                _range(quantity["low"], quantity["high"]) if known else "",
                str(quantity["seeds"] or ""),
                _range(*quantity["span"]) if quantity["span"] else "",
                finding["verdict"],
                finding["why"],
            ]
        )
    return rows


def counted(judged: Mapping[str, Any]) -> str:
    """Return how many claims have which verdict: ``3 reproduced, 1 not run``."""
    return ", ".join(f"{count} {verdict}" for verdict, count in judged["verdicts"].items())


def anchor(claim: Mapping[str, Any]) -> str:
    """Return the anchor of a claim's section on the page, as GitHub makes it of the heading."""
    return f"{claim['id']}-{claim['verdict'].replace(' ', '-')}"


def page(title: str, judged: Mapping[str, Any]) -> str:
    """Return the page: the verdicts, and a section for each claim, with its numbers where it was run.

    Args:
        title: The experiment's.
        judged: The content of ``claims.json``.
    """
    return templates.load(Path(__file__).with_name("claims.md.j2")).render(
        title=title,
        judged=judged,
        comparison=COMPARISONS[judged["comparison"]],
        counted=counted,
        table=markdown.table,
        resamples=RESAMPLES,
        summary=[[f"[{claim['statement']}](#{anchor(claim)})", claim["verdict"]] for claim in judged["claims"]],
        not_run=NOT_RUN,
        heads=HEADS,
        numbers=numbers,
        numeric=NUMERIC,
    )


def _range(low: float, high: float) -> str:
    return f"{signed(low)} to {signed(high)}"
