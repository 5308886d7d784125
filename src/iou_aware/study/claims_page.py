"""The claims as a part of the report: a list of verdicts, and folded behind each claim its numbers."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from iou_aware.study.page_html import table

HEADS = ["What", "Expected", "Paper", "Ours", "95 % interval", "Seeds", "Range over seeds", "Verdict", "Why"]
NUMERIC = (2, 3, 5)


def claims_page(judged: Mapping[str, Any]) -> str:
    """Return HTML for the content of ``claims.json``."""
    claims, counts = judged["claims"], judged["verdicts"]
    words = ", ".join(f"<strong>{count} {escape(verdict)}</strong>" for verdict, count in counts.items())
    return f'<p>{words}, of {len(claims)} claims.</p><ul class="claims">{"".join(map(_claim, claims))}</ul>'


def _claim(claim: Mapping[str, Any]) -> str:
    summary = (
        f"{_verdict(claim['verdict'])}"
        f'<span><span class="statement">{escape(claim["statement"])}</span>'
        f' <span class="place">{escape(claim["place"])}</span></span>'
        f' <span class="why">{escape(claim["why"])}</span>'
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
        str(quantity["seeds"] or ""),
        "" if quantity["span"] is None else _range(quantity["span"]),
        finding["verdict"],
        finding["why"],
    ]


def _verdict(verdict: str) -> str:
    return f'<span class="verdict {escape(verdict.replace(" ", "-"))}">{escape(verdict)}</span>'


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"


def _range(ends: Sequence[float]) -> str:
    return f"{ends[0]:+.2f} to {ends[1]:+.2f}"
