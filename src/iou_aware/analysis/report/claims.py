"""The claims as a part of the report: a list of verdicts, and folded behind each claim its numbers."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from iou_aware.analysis.report.elements import table
from iou_aware.analysis.uncertainty.verdict import NOT_RUN, signed

HEADS = [
    *("What", "Expected", "Paper", "Ours", "95 % interval", "With the noise of trainings"),
    *("Seeds", "Range over seeds", "Verdict", "Why"),
]
NUMERIC = (2, 3, 6)
_SIZES = {
    "pattern": "Data and models are not the paper's, so signs and orderings are judged and sizes are not.",
    "values": "Signs, orderings and sizes are judged.",
}


def answer(judged: Mapping[str, Any]) -> str:
    """Return the first thing to read, HTML: how many claims of ``claims.json`` hold, and what that is about."""
    counts = judged["verdicts"]
    words = ", ".join(f"{_verdict(verdict, f'{count} {verdict}')}" for verdict, count in counts.items())
    return (
        f'<p class="answer"><strong>Does the paper reproduce?</strong> Of its {len(judged["claims"])} claims, here:'
        f" {words}. {_SIZES[judged['comparison']]}</p>"
    )


def claims_page(judged: Mapping[str, Any]) -> str:
    """Return HTML for the content of ``claims.json``: the claims in the paper's order, those not run folded away."""
    run, rest = (
        [claim for claim in judged["claims"] if (claim["verdict"] == NOT_RUN) == is_rest] for is_rest in (0, 1)
    )
    lists = [f'<ul class="claims">{"".join(map(_claim, claims))}</ul>' if claims else "" for claims in (run, rest)]
    summary = f"{len(rest)} {'claim' if len(rest) == 1 else 'claims'} not run here, and why"
    return lists[0] + (f'<details class="rest"><summary>{summary}</summary>{lists[1]}</details>' if rest else "")


def _claim(claim: Mapping[str, Any]) -> str:
    summary = (
        f"{_verdict(claim['verdict'], claim['verdict'])}"
        f'<span><span class="statement">{escape(claim["statement"])}</span>'
        f' <span class="place">{escape(claim["place"])}</span></span>'
        f' <span class="why">{"<br>".join(escape(line) for line in (claim["why"], *claim["deciding"]))}</span>'
    )
    reading = f"<p>{escape(claim['reading'])}</p>" if claim["reading"] else ""
    numbers = table(HEADS, [_numbers(finding) for finding in claim["findings"]], NUMERIC)
    # A link to what is folded away unfolds it; a link to the fold itself does not.
    return (
        f"<li><details><summary>{summary}</summary>"
        f'<div id="{escape(claim["id"])}">{reading}{numbers}</div></details></li>'
    )


def _numbers(finding: Mapping[str, Any]) -> list[str]:
    quantity = finding["quantity"]
    interval = quantity["interval"]
    return [
        quantity["label"],
        finding["expected"],
        _signed(quantity["paper"]),
        _signed(quantity["value"]),
        "" if interval is None else _range([interval["low"], interval["high"]]),
        "" if quantity["value"] is None else _range([quantity["low"], quantity["high"]]),
        str(quantity["seeds"] or ""),
        "" if quantity["span"] is None else _range(quantity["span"]),
        finding["verdict"],
        finding["why"],
    ]


def _verdict(verdict: str, text: str) -> str:
    return f'<span class="verdict {escape(verdict.replace(" ", "-"))}">{escape(text)}</span>'


def _signed(value: float | None) -> str:
    return "" if value is None else signed(value)


def _range(ends: Sequence[float]) -> str:
    return f"{signed(ends[0])} to {signed(ends[1])}"
