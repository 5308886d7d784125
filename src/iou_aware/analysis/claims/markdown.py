"""The claims as a page of Markdown: the verdicts first, then the numbers behind each."""

from collections import Counter
from collections.abc import Sequence

from iou_aware.analysis.bootstrap.resamples import RESAMPLES
from iou_aware.analysis.markdown import table
from iou_aware.analysis.uncertainty.verdict import VERDICTS, Claim, Finding, signed

_HEAD = [
    "what",
    "expected",
    "paper",
    "ours",
    "95 % interval",
    "with the noise of trainings",
    "n",
    "range over seeds",
    "verdict",
    "why",
]


def markdown(title: str, comparison: str, claims: Sequence[Claim]) -> str:
    """Return the page: a table of all claims and a section for each that anything of has been run."""
    counts = Counter(claim.verdict for claim in claims)
    lines = [f"# {title}: the paper's claims", ""]
    lines += [", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS) + f", of {len(claims)} claims.", ""]
    if comparison == "pattern":
        lines += [
            "The paper's numbers stand beside ours for the pattern: signs and orderings are judged, sizes are not.",
            "",
        ]
    lines += [
        f"Intervals: paired bootstrap over the images, {RESAMPLES:,} resamples; beside them, and with the verdicts,"
        " with the noise between two trainings as well. n is the number of seeds; there is no interval over seeds.",
        "",
        *table(["claim", "place", "verdict", "what decides it"], [_quoted(_summary(claim)) for claim in claims]),
    ]
    for claim in filter(_measured, claims):
        lines += ["", f"## {claim.id}: {claim.verdict}", "", f"{claim.statement} *({claim.place})*", ""]
        lines += [claim.reading, ""] if claim.reading else []
        lines += table(_HEAD, [_quoted(_row(finding)) for finding in claim.findings])
    return "\n".join(lines) + "\n"


def _measured(claim: Claim) -> bool:
    return any(finding.quantity.value is not None for finding in claim.findings)


def _summary(claim: Claim) -> list[str]:
    link = f"[{claim.statement}](#{claim.id}-{claim.verdict.replace(' ', '-')})"
    return [
        link if _measured(claim) else claim.statement,
        claim.place,
        f"**{claim.verdict}**",
        claim.why + (f": {'; '.join(claim.deciding)}" if claim.deciding else ""),
    ]


def _row(finding: Finding) -> list[str]:
    quantity = finding.quantity
    seeds = str(quantity.seeds) if quantity.seeds else ""
    span = f"{signed(quantity.span[0])} … {signed(quantity.span[1])}" if quantity.span else ""
    return [
        quantity.label,
        finding.expected,
        _signed(quantity.paper),
        _signed(quantity.value),
        "" if quantity.interval is None else _bracketed(quantity.interval.low, quantity.interval.high),
        "" if quantity.value is None else _bracketed(quantity.low, quantity.high),
        seeds,
        span,
        finding.verdict,
        finding.why,
    ]


def _signed(value: float | None) -> str:
    return "" if value is None else signed(value)


def _bracketed(low: float, high: float) -> str:
    return f"[{signed(low)}, {signed(high)}]"


def _quoted(cells: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|") for cell in cells]
