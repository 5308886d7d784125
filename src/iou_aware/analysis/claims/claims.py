"""The stage ``claims``: what the paper claims, compared with the experiment's numbers, with a verdict for each.

The claims are data, ``reports/claims.yaml``; ``uncertainty.verdict`` defines the verdicts. What is decided is written
for programs, ``claims.json``, and for people, ``claims.md``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from iou_aware.analysis.metrics import load_paper
from iou_aware.analysis.uncertainty.quantity import METRICS, Measure, Measurements, Term
from iou_aware.analysis.uncertainty.trainings import FEWEST_SEEDS
from iou_aware.analysis.uncertainty.verdict import (
    INCONCLUSIVE,
    NOT_COMPARED,
    NOT_RUN,
    OPEN_ALONE,
    UNMET,
    VERDICTS,
    Finding,
    judge_best,
    judge_number,
    judge_step,
    signed,
    together,
)
from iou_aware.common import documents, markdown, provenance, templates
from iou_aware.common.documents import Document, Key
from iou_aware.common.files import sha256, write_json, write_text
from iou_aware.common.messages import log
from iou_aware.evaluation.resampled import RESAMPLES
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.table import Table

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


def write_claims(experiment: Experiment) -> list[Path]:
    """Write ``results/<experiment>/claims.json`` and ``claims.md``, and return the paths.

    Works on whatever ``metrics.csv`` has; a claim without numbers is ``not run``.

    Raises:
        InputError: ``metrics.csv`` or ``reports/claims.yaml`` is malformed, or names a run, table, row or metric that
            does not exist.
    """
    claims, paths = judge(experiment), experiment.paths
    trainings = Measurements(experiment).deviations(experiment.tables.values())
    counts = Counter(claim["verdict"] for claim in claims.values())
    checksums = {"claims_sha256": sha256(paths.statements), "metrics_sha256": sha256(paths.metrics)}
    judged = {
        "experiment": experiment.name,
        "comparison": experiment.comparison,
        "verdicts": {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
        "claims": [claim | {"findings": [_written(one) for one in claim["findings"]]} for claim in claims.values()],
        **({"trainings": trainings} if trainings else {}),
        "provenance": provenance.collect() | checksums,
    }
    readable = paths.claims.with_suffix(".md")
    write_json(paths.claims, judged)
    write_text(readable, page(experiment.title, judged))
    log.info("%s: %s", paths.claims, counted(judged))
    return [paths.claims, readable]


def _written(finding: Finding) -> dict[str, Any]:
    """Return a finding as it is written: all but the values by seed."""
    return asdict(finding, dict_factory=lambda fields: {key: value for key, value in fields if key != "by_seed"})


def judge(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """Return the claims of ``reports/claims.yaml`` with their verdicts, by their short names; see ``write_claims``.

    Returns:
        Of each its ``id``, the short name; ``place``, where the paper makes it; ``statement``, what it says;
        ``reading``, how it was read, None where the paper leaves no room; ``verdict``, one of ``VERDICTS``; ``why``,
        what decided it; ``deciding``, the first of the numbers that it is about, each with its uncertainty; and
        ``findings``, the numbers behind it.
    """
    paths, tables = experiment.paths, experiment.tables
    document = documents.read(paths.statements, "claims")
    measurements, values = Measurements(experiment), experiment.comparison == "values"
    claims: dict[str, dict[str, Any]] = {}
    for index, content in enumerate(document.content["claims"]):
        if content["id"] in claims:
            raise document.error(("claims", index, "id"), f"the claim {content['id']!r} is in this file twice")
        findings: list[Finding] = []
        for number, expectation in enumerate(content["expected"]):
            name = expectation["table"]
            rows = list(load_paper(paths.paper(name)).index) if paths.paper(name).is_file() else []
            rows += document.content.get("own_tables", {}).get(name, [])
            rows += tables[name].rows if name in tables else ()
            _refuse_unknown(document, ("claims", index, "expected", number), expectation, rows)
            table = _showing(name, tables, document.content.get("stand_ins", {}).get(name, ()))
            measure = measurements.in_table(table, name, content.get("noise"))
            backbones = {row.key: experiment.runs[row.runs[0]].backbone for row in table.rows.values()} if table else {}
            for metric in expectation["metrics"]:
                if "gain" in expectation:
                    findings += _gains(expectation, metric, measure, values, backbones)
                else:
                    findings += (_best if "best" in expectation else _trend)(expectation, metric, measure)
        verdict, why, deciding = together(findings)
        texts = {key: " ".join(content.get(key, "").split()) or None for key in ("place", "statement", "reading")}
        decided = {"verdict": verdict, "why": why, "deciding": deciding, "findings": findings}
        claims[content["id"]] = {"id": content["id"]} | texts | decided
    return claims


def _refuse_unknown(document: Document, key: Key, expectation: Mapping[str, Any], known: list[str]) -> None:
    """Raise InputError about a metric, or a row of a table, that does not exist."""
    for name in expectation["metrics"]:
        documents.require(document, (*key, "metrics"), name, METRICS, "column")
    kinds = [kind for kind in ("gain", "best", "trend") if kind in expectation]
    if len(kinds) != 1:
        raise document.error(key, f"found {' and '.join(kinds) or 'none'} of gain, best, trend; expected one")
    rows = [*expectation.get("best", ()), *expectation.get("among", ()), *expectation.get("along", ())]
    rows += [row for pair in expectation.get("gain", {}).items() for row in pair if row is not None]
    for row in rows:
        documents.require(document, key, row, known, f"row of {expectation['table']}")


def _showing(name: str, tables: Mapping[str, Table], stand_ins: Sequence[str]) -> Table | None:
    """Return the experiment's table that has the rows of the paper's table ``name``."""
    of_paper = [table for table in tables.values() if table.paper == name]
    candidates = [tables.get(name), *of_paper, *(tables.get(other) for other in stand_ins)]
    return next((table for table in candidates if table), None)


def _gains(
    expectation: Mapping[str, Any], metric: str, measure: Measure, values: bool, backbones: Mapping[str, str]
) -> list[Finding]:
    """Judge every gain, and those of several backbones by their mean as well where each has three seeds.

    The mean is surer than each of them, so it decides what they leave open.
    """
    where, beyond = expectation.get("judged"), expectation.get("beyond")
    apart = f", beyond that in {beyond}" if beyond else ""

    def judged(label: str, terms: list[Term]) -> Finding:
        quantity = measure(f"{metric}: {label}{apart}", [terms])
        sizes = values or where == "everywhere"
        finding = judge_number(quantity, expectation.get("sign"), expectation.get("range"), sizes)
        if where == "values" and not values and quantity.value is not None:
            return replace(finding, verdict=NOT_COMPARED, why=UNMET)
        return finding

    findings, together = [], []
    for row, over in expectation["gain"].items():
        terms, label = [(1.0, row, metric)], row
        if over is not None:
            terms.append((-expectation.get("times", 1.0), over, metric))
            label += f" − {expectation['times']:g} × {over}" if "times" in expectation else f" − {over}"
        if beyond:
            terms += [(-factor, one, beyond) for factor, one, _ in terms]
        findings.append(judged(label, terms))
        together += [(factor / len(expectation["gain"]), *cell) for factor, *cell in terms]
    several = len({backbones.get(row) for row in expectation["gain"]}) == len(findings) > 1
    if several and all(finding.quantity.seeds >= FEWEST_SEEDS for finding in findings):
        alone = {"verdict": NOT_COMPARED, "why": OPEN_ALONE}
        findings = [replace(one, **alone) if one.verdict == INCONCLUSIVE else one for one in findings]
        findings.append(judged(f"mean gain of {', '.join(expectation['gain'])}", together))
    return findings


def _best(expectation: Mapping[str, Any], metric: str, measure: Measure) -> list[Finding]:
    """Judge which row is best: the best of those claimed less the best of the others."""
    rows, mine = expectation["among"], expectation["best"]
    others = [row for row in rows if row not in mine]
    lead = measure(
        f"{metric}: best of {', '.join(mine)} − best of the others",
        [[(1.0, claimed, metric), (-1.0, other, metric)] for claimed in mine for other in others],
        choose=lambda values: values.reshape(*values.shape[:-1], len(mine), len(others)).min(-1).max(-1),
    )
    named = ""
    if lead.value is not None:
        values = {row: measure(row, [[(1.0, row, metric)]]).value for row in rows}
        best = max(values, key=values.__getitem__)
        named = f"the best is {best} with {metric} {values[best]:.1f}"
    return [judge_best(lead, f"best among {rows[0]} … {rows[-1]}: {' or '.join(mine)}", named)]


def _trend(expectation: Mapping[str, Any], metric: str, measure: Measure) -> list[Finding]:
    """Judge a trend: the last row against the first, and the step on the way that goes furthest against it."""
    rows, rises = expectation["along"], expectation["trend"] == "rises"
    whole = measure(f"{metric}: {rows[-1]} − {rows[0]}", [[(1.0, rows[-1], metric), (-1.0, rows[0], metric)]])
    ends = judge_number(whole, "positive" if rises else "negative", None, False)
    ends = replace(ends, expected=f"{expectation['trend']} from {rows[0]} to {rows[-1]}")
    least = measure(
        f"{metric}: the step that {'rises' if rises else 'falls'} least",
        [[(-1.0, before, metric), (1.0, after, metric)] for before, after in pairwise(rows)],
        choose=lambda steps: (steps.min if rises else steps.max)(-1),
    )
    return [ends, judge_step(least, rises, f"no step {'down' if rises else 'up'}")]


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
