"""The stage ``claims``: what the paper claims, held against the experiment's numbers, with a verdict for each.

The claims are data, ``reports/claims.yaml``; what a verdict is, ``verdict`` says.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from iou_aware.analysis.claims.markdown import markdown
from iou_aware.analysis.paper import load_paper
from iou_aware.analysis.uncertainty.quantity import METRICS, Measurements, Noise, Quantity, Statistic, Term
from iou_aware.analysis.uncertainty.verdict import (
    INCONCLUSIVE,
    NOT_COMPARED,
    NOT_RUN,
    ROUNDING,
    UNMET,
    VERDICTS,
    Claim,
    Finding,
    judge_least,
    judge_number,
    judge_step,
    noise_in,
    together,
)
from iou_aware.common import documents, provenance
from iou_aware.common.documents import Document, Key
from iou_aware.common.files import sha256, write_json, write_text
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.table import Table

logger = logging.getLogger(__name__)


def write_claims(experiment: Experiment) -> list[Path]:
    """Write ``results/<experiment>/claims.json`` and ``claims.md``, and return the paths.

    Works on whatever ``metrics.csv`` has; a claim without numbers is ``not run``.

    Raises:
        InputError: ``metrics.csv`` or ``reports/claims.yaml`` is malformed, or names a run, table, row or metric that
            does not exist.
    """
    claims = judge(experiment)
    counts = Counter(claim.verdict for claim in claims)
    source = experiment.paths.statements
    made = provenance.collect() | {
        "claims_sha256": sha256(source),
        "metrics_sha256": sha256(experiment.paths.metrics),
    }
    data = {
        "experiment": experiment.name,
        "comparison": experiment.comparison,
        "verdicts": {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
        "claims": [asdict(claim) for claim in claims],
        "provenance": made,
    }
    target = experiment.paths.claims
    write_json(target, data)
    write_text(target.with_suffix(".md"), markdown(experiment.title, experiment.comparison, claims))
    logger.info("%s: %s", target, ", ".join(f"{count} {verdict}" for verdict, count in data["verdicts"].items()))
    return [target, target.with_suffix(".md")]


def judge(experiment: Experiment) -> list[Claim]:
    """Return the claims of ``reports/claims.yaml`` with their verdicts; see ``write_claims``."""
    document = documents.read(experiment.paths.statements)
    documents.check(document, "claims")
    cells = Measurements(experiment, experiment.paths.premise / "correlations.csv")
    judged, seen = [], set()
    for index, content in enumerate(document.content["claims"]):
        if content["id"] in seen:
            raise document.error(("claims", index, "id"), f"the claim {content['id']!r} stands here a second time")
        seen.add(content["id"])
        judged.append(_Judge(document, index, cells).claim())
    return judged


class _Judge:
    """Judges one claim."""

    def __init__(self, document: Document, index: int, cells: Measurements):
        self.document, self.cells = document, cells
        self.key: Key = ("claims", index)
        self.content = document.content["claims"][index]
        self.values = cells.experiment.comparison == "values"

    def claim(self) -> Claim:
        findings: list[Finding] = []
        for index, check in enumerate(self.content["checks"]):
            key = (*self.key, "checks", index)
            self._check_names(key, check)
            findings += self._findings(key, check)
        verdict, why, deciding = together(findings)
        text = {
            name: " ".join(self.content[name].split())
            for name in ("place", "statement", "reading")
            if name in self.content
        }
        return Claim(
            self.content["id"],
            text["place"],
            text["statement"],
            text.get("reading"),
            verdict,
            why,
            deciding,
            tuple(findings),
        )

    def _check_names(self, key: Key, check: Mapping[str, Any]) -> None:
        """Raise InputError about a metric, or a row of the paper's tables, that does not exist."""
        for name in check.get("metrics", ()):
            documents.require(self.document, (*key, "metrics"), name, METRICS, "column")
        if "metrics" not in check:
            raise self.document.error(key, "metrics is missing")
        kinds = [kind for kind in ("gain", "best", "trend") if kind in check]
        if len(kinds) != 1:
            raise self.document.error(key, f"found {' and '.join(kinds) or 'none'} of gain, best, trend; expected one")
        rows = [*check.get("best", ()), *check.get("among", ()), *check.get("along", ())]
        rows += [row for pair in check.get("gain", {}).items() for row in pair if row is not None]
        known = self._known_rows(check["table"])
        for row in rows:
            if row not in known:
                raise self.document.error(
                    key, f"unknown row {row!r} of {check['table']}; expected {documents.one_of(known, row)}"
                )

    def _known_rows(self, table: str) -> list[str]:
        """Return the rows that a table may have: the paper's, and the experiment's own."""
        experiment = self.cells.experiment
        path = experiment.paths.paper(table)
        rows = list(load_paper(path).index) if path.is_file() else []
        rows += self.document.content.get("own_tables", {}).get(table, [])
        return rows + list(experiment.tables[table].rows if table in experiment.tables else ())

    def _table(self, name: str) -> Table | None:
        """Return the experiment's table that shows the rows of the paper's table ``name``."""
        tables = self.cells.experiment.tables
        if name in tables:
            return tables[name]
        of_paper = [table for table in tables.values() if table.paper == name]
        others = [
            tables[other] for other in self.document.content.get("stand_ins", {}).get(name, ()) if other in tables
        ]
        return next(iter([*of_paper, *others]), None)

    def _findings(self, key: Key, check: Mapping[str, Any]) -> Iterator[Finding]:
        table = self._table(check["table"])
        for metric in check["metrics"]:
            if "gain" in check:
                yield from self._gains(check, table, metric)
            elif "best" in check:
                yield self._best(check, table, metric)
            else:
                yield from self._trend(check, table, metric)

    def _quantity(self, label: str, check: Mapping[str, Any], table: Table | None, terms: Sequence[Term]) -> Quantity:
        return self.cells.quantity(label, table, check["table"], terms, self._noise(check))

    def _noise(self, check: Mapping[str, Any]) -> Noise:
        table = self._table(check["table"])
        runs = self.cells.experiment.noise_in.get(table.name) if table else None
        return noise_in(self.document, check["table"], self.content.get("noise"), runs)

    def _gains(self, check: Mapping[str, Any], table: Table | None, metric: str) -> Iterator[Finding]:
        times, where = check.get("times", 1.0), check.get("judged")
        for row, over in check["gain"].items():
            terms, label = [Term(1.0, row, metric)], f"{metric}: {row}"
            if over is not None:
                terms.append(Term(-times, over, metric))
                label += f" − {'' if times == 1 else f'{times:g} × '}{over}"
            if "beyond" in check:
                terms += [Term(-term.factor, term.row, check["beyond"]) for term in terms]
                label += f", beyond that in {check['beyond']}"
            quantity = self._quantity(label, check, table, terms)
            finding = judge_number(
                quantity, check.get("sign"), check.get("range"), self.values or where == "everywhere"
            )
            if where == "values" and not self.values and quantity.value is not None:
                finding = replace(finding, verdict=NOT_COMPARED, why=UNMET)
            yield finding

    def _best(self, check: Mapping[str, Any], table: Table | None, metric: str) -> Finding:
        """Judge which row is best: the best of those claimed less the best of the others."""
        rows, mine = check["among"], check["best"]
        others = [row for row in rows if row not in mine]
        pairs = [[(row == claimed) - (row == other) for row in rows] for claimed in mine for other in others]
        shape = (len(mine), len(others))
        quantity = self.cells.derived(
            f"{metric}: best of {', '.join(mine)} − best of the others",
            table,
            check["table"],
            [(row, metric) for row in rows],
            Statistic(
                np.array(pairs, float).T,
                lambda values: values.reshape(*values.shape[:-1], *shape).min(-1).max(-1),
            ),
            self._noise(check),
        )
        expected = f"best among {rows[0]} … {rows[-1]}: {' or '.join(mine)}"
        if quantity.value is None:
            return Finding(quantity, expected, NOT_RUN, quantity.missing or "")
        known = {row: self._quantity(row, check, table, [Term(1.0, row, metric)]).value for row in rows}
        best = max(known, key=known.__getitem__)
        verdict = judge_least(quantity, -ROUNDING)
        unsure = ", but another may be, within the uncertainty" if verdict == INCONCLUSIVE else ""
        return Finding(quantity, expected, verdict, f"the best is {best} with {metric} {known[best]:.1f}{unsure}")

    def _trend(self, check: Mapping[str, Any], table: Table | None, metric: str) -> Iterator[Finding]:
        """Judge a trend: the last row against the first, and the step on the way that goes furthest against it."""
        rows, sign = check["along"], 1.0 if check["trend"] == "rises" else -1.0
        label, terms = f"{metric}: {rows[-1]} − {rows[0]}", [Term(1.0, rows[-1], metric), Term(-1.0, rows[0], metric)]
        whole = self._quantity(label, check, table, terms)
        finding = judge_number(whole, "positive" if sign > 0 else "negative", None, self.values)
        yield replace(finding, expected=f"{check['trend']} from {rows[0]} to {rows[-1]}")
        against = self.cells.derived(
            f"{metric}: the step that {'rises' if sign > 0 else 'falls'} least",
            table,
            check["table"],
            [(row, metric) for row in rows],
            Statistic(np.diff(np.eye(len(rows)), axis=1), lambda values: (values.min if sign > 0 else values.max)(-1)),
            self._noise(check),
        )
        yield judge_step(against, sign, f"no step {'down' if sign > 0 else 'up'}")
