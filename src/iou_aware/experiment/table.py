"""An experiment's tables and the runs of their rows, checked before anything is trained."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iou_aware.common.documents import Document, Key, one_of, require
from iou_aware.data.dataset import Dataset
from iou_aware.experiment.columns import FURTHER, PAPER
from iou_aware.experiment.layout import Layout
from iou_aware.experiment.run import BASELINE_RULE, FIELDS, Run, read_rule
from iou_aware.method.confidence import Rule


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        key: the row's name in the YAML, and in the paper's CSV where it has one.
        runs: names of the runs that it shows, which differ in their seed only; their mean is the value.
        rule: the rule whose detections it shows.
        label: its heading; None for the paper's label, or else the key.
    """

    key: str
    runs: tuple[str, ...]
    rule: Rule
    label: str | None = None


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: its name, ``table1``.
        caption: what it shows.
        split: the split that its numbers are measured on.
        rows: its rows by key, in order.
        paper: the paper's table that it reproduces, a file in ``reports/paper``; None for a table of our own.
        columns: the metrics it shows; empty for the paper's own.
        per_class: whether the metrics of every class stand below.
    """

    name: str
    caption: str
    split: str
    rows: dict[str, Row]
    paper: str | None = None
    columns: tuple[str, ...] = ()
    per_class: bool = False

    @property
    def title(self) -> str:
        """The table's name for people: ``Table 1`` for ``table1``, ``Per class`` for ``per_class``."""
        words = re.sub(r"[-_]+", " ", re.sub(r"^table(?=\d)", "table ", self.name))
        return words[:1].upper() + words[1:]


def read_tables(
    document: Document,
    paths: Layout,
    runs: Mapping[str, Run],
    rules: Mapping[str, tuple[Rule, ...]],
    datasets: Mapping[str, Dataset],
) -> dict[str, Table]:
    """Return the tables of an experiment by name.

    Args:
        document: the experiment's YAML, which follows its schema.
        paths: where files lie.
        runs: the experiment's runs by name.
        rules: each run's rules.
        datasets: its datasets by name.

    Raises:
        InputError: naming the table and row that no run fits, that runs fit which differ in more than their seed, or
            whose rule or split is never computed.
    """
    reader = _Reader(document, paths, runs, rules, datasets)
    return {name: reader.table(name, content) for name, content in document.content["tables"].items()}


@dataclass(frozen=True)
class _Reader:
    """Reads tables and finds the runs of their rows; the fields are the arguments of ``read_tables``."""

    document: Document
    paths: Layout
    runs: Mapping[str, Run]
    rules: Mapping[str, tuple[Rule, ...]]
    datasets: Mapping[str, Dataset]

    def table(self, name: str, content: Mapping[str, Any]) -> Table:
        key = ("tables", name)
        paper, printed = content.get("paper"), []
        if paper is not None:
            known = sorted(file.stem for file in self.paths.paper(paper).parent.glob("*.csv"))
            require(self.document, (*key, "paper"), paper, known, "table of the paper")
            printed = self._printed(paper)
        written = self._written_out((*key, "rows"), content)
        if paper is None and "columns" not in content:
            raise self.document.error(key, "columns is missing, which a table that is not the paper's needs")
        for row, own in written.items():
            if paper is not None and row not in printed and not own.get("addition"):
                raise self.document.error(
                    (*key, "rows", row),
                    f"{self.paths.paper(paper)} has no such row to reproduce; expected {one_of(printed, row)}, or "
                    "addition: true",
                )
        for i, column in enumerate(content.get("columns", ())):
            require(self.document, (*key, "columns", i), column, [*PAPER, *FURTHER], "metric")
        rows = {row: self._row((*key, "rows", row), content, own) for row, own in written.items()}
        return Table(
            name=name,
            caption=content["caption"],
            split=content["split"],
            rows=rows,
            paper=paper,
            columns=tuple(content.get("columns", ())),
            per_class=content.get("per_class", False),
        )

    def _printed(self, paper: str) -> list[str]:
        """Return the keys of the paper's rows that it does not cite from elsewhere."""
        with self.paths.paper(paper).open(encoding="utf-8", newline="") as lines:
            return [row["row"] for row in csv.DictReader(lines) if row["cited"] != "1"]

    def _written_out(self, key: Key, table: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """Return a table's rows by key, each row with ``by_rule`` as one row per rule, named ``alpha_0.5``.

        The rules are those of the row's runs, in the order of falling alpha, then of the kinds as written. The paper
        need not have such a row.
        """
        rows: dict[str, Mapping[str, Any]] = {}
        for name, own in table["rows"].items():
            own = dict(own or {})
            labels = own.pop("by_rule", None)
            if labels is None:
                rows[name] = own
                continue
            runs = self._find((*key, name), table, own)
            kinds = list(labels)
            swept = [rule for rule in self.rules[runs[0]] if rule.kind in kinds]
            if not swept:
                raise self.document.error(
                    (*key, name),
                    f"{runs[0]} has no rule of the kind {one_of(kinds)}; add some to `rules`, or correct the row",
                )
            for rule in sorted(swept, key=lambda rule: (-rule.alpha, kinds.index(rule.kind))):
                row = f"{rule.kind}_{rule.alpha}"
                label = labels[rule.kind] and labels[rule.kind].replace("{alpha}", str(rule.alpha))
                rows[row] = own | {"rule": rule, "label": label, "addition": True}
        return rows

    def _row(self, key: Key, table: Mapping[str, Any], own: Mapping[str, Any]) -> Row:
        runs = self._find(key, table, own)
        splits = self.datasets[self.runs[runs[0]].dataset].evaluate
        if table["split"] not in splits:
            raise self.document.error(
                (*key[:2], "split"),
                f"{self.runs[runs[0]].dataset} is not evaluated on {table['split']!r}, which the row {key[-1]} needs;"
                f" expected {one_of(splits, table['split'])}",
            )
        return Row(
            key=str(key[-1]),
            runs=runs,
            rule=self._rule(key, own.get("rule", table.get("select", {}).get("rule")), runs),
            label=own.get("label"),
        )

    def _find(self, key: Key, table: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the runs that have a row's values, the table's ``select`` among them."""
        values = dict(table.get("select", {})) | own
        selector = {name: values[name] for name in FIELDS if values.get(name) is not None}
        runs = [run for run in self.runs.values() if selector.items() <= run.as_dict().items()]
        wanted = ", ".join(f"{name}: {value}" for name, value in selector.items()) or "anything"
        if not runs:
            raise self.document.error(key, f"no run of this experiment fits ({wanted}); {self._nearest(selector)}")
        differing = [n for n in FIELDS if n != "seed" and any(getattr(run, n) != getattr(runs[0], n) for run in runs)]
        names = [run.name for run in runs]
        if differing:
            raise self.document.error(
                key,
                f"{len(names)} runs fit ({wanted}) which differ in {', '.join(differing)}: {', '.join(names[:4])}"
                f"{', ...' if len(names) > 4 else ''}; say which is meant",
            )
        return tuple(names)

    def _nearest(self, selector: Mapping[str, Any]) -> str:
        """Describe the run that has most of the values, and where it differs."""

        def nearness(run: Run) -> tuple[int, int]:
            values = [(getattr(run, name), value) for name, value in selector.items()]
            return sum(has == wanted for has, wanted in values), sum(has is not None for has, _ in values)

        run = max(self.runs.values(), key=nearness)
        differing = [f"{n} {getattr(run, n)}" for n, value in selector.items() if getattr(run, n) != value]
        return f"the nearest, {run.name}, has {', '.join(differing)}. Add the run, or correct the row"

    def _rule(self, key: Key, text: str | None, runs: tuple[str, ...]) -> Rule:
        if text is None and not self.runs[runs[0]].is_iou_aware:
            return BASELINE_RULE
        if text is None:
            raise self.document.error(key, f"rule is missing; expected {one_of(self.rules[runs[0]])}")
        rule = read_rule(self.document, (*key, "rule"), text)
        for run in runs:
            if rule not in self.rules[run]:
                raise self.document.error(
                    (*key, "rule"),
                    f"the rule {rule} is not computed for {run}; expected {one_of(self.rules[run], rule)}",
                )
        return rule
