"""The claims as a part of the report: all verdicts in one table, and behind each claim its numbers."""

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
    rows = "".join(_row(claim) for claim in claims)
    head = "".join(f'<th scope="col">{text}</th>' for text in ("Claim", "Where", "Verdict", "What decides it"))
    overview = (
        f'<div class="scroll"><table class="plain"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
    return f"<p>{words}, of {len(claims)} claims.</p>{overview}{''.join(map(_details, claims))}"


def _row(claim: Mapping[str, Any]) -> str:
    link = f'<a href="#{escape(claim["id"])}">{escape(claim["statement"])}</a>'
    cells = [escape(claim["place"]), _verdict(claim["verdict"]), escape(claim["why"])]
    return f"<tr><td>{link}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _details(claim: Mapping[str, Any]) -> str:
    reading = f"<p>{escape(claim['reading'])}</p>" if claim["reading"] else ""
    numbers = table(HEADS, [_numbers(finding) for finding in claim["findings"]], NUMERIC)
    summary = f"<summary>{escape(claim['statement'])} {_verdict(claim['verdict'])}</summary>"
    # A link to what is folded away unfolds it; a link to the fold itself does not.
    return f'<details>{summary}<div id="{escape(claim["id"])}">{reading}{numbers}</div></details>'


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
