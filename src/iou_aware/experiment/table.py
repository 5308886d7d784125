"""An experiment's tables and the runs of their rows, checked before anything is trained."""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from iou_aware.common.documents import Document, Key, names_beside, one_of, require
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


@dataclass(frozen=True)
class TableReader:
    """Reads the tables of an experiment, and finds the runs of their rows.

    Attributes:
        document: the experiment's YAML, which follows its schema.
        paths: where files lie.
        runs: the experiment's runs by name.
        rules: each run's rules.
        datasets: its datasets by name.
    """

    document: Document
    paths: Layout
    runs: Mapping[str, Run]
    rules: Mapping[str, tuple[Rule, ...]]
    datasets: Mapping[str, Dataset]

    def read(self) -> dict[str, Table]:
        """Return the tables by name.

        Raises:
            InputError: naming the table and row that no run fits, that runs fit which differ in more than their seed,
                or whose rule or split is never computed.
        """
        return {name: self._table(name, content) for name, content in self.document.content["tables"].items()}

    def _table(self, name: str, content: Mapping[str, Any]) -> Table:
        key, paper, columns = ("tables", name), content.get("paper"), tuple(content.get("columns", ()))
        printed = None
        if paper is not None:
            file = self.paths.paper(paper)
            require(self.document, (*key, "paper"), paper, names_beside(file), "table of the paper")
            with file.open(encoding="utf-8", newline="") as lines:
                printed = [row["row"] for row in csv.DictReader(lines) if row["cited"] != "1"]
        elif not columns:
            raise self.document.error(key, "columns is missing, which a table that is not the paper's needs")
        for i, column in enumerate(columns):
            require(self.document, (*key, "columns", i), column, [*PAPER, *FURTHER], "metric")
        rows = [
            row
            for place, own in content["rows"].items()
            for row in self._rows((*key, "rows", place), content, own or {}, printed)
        ]
        by_key, per_class = {row.key: row for row in rows}, content.get("per_class", False)
        return Table(name, content["caption"], content["split"], by_key, paper, columns, per_class)

    def _rows(
        self, key: Key, table: Mapping[str, Any], own: Mapping[str, Any], printed: list[str] | None
    ) -> Iterator[Row]:
        """Yield the row at a key; in place of one with ``by_rule`` a row per rule, named ``alpha_0.5``.

        The rules are then those of the row's runs, in the order of falling alpha, then of the kinds as written. The
        paper need not have such a row. ``printed`` are the rows that it has and does not cite; None for a table of our
        own.
        """
        name, labels = str(key[-1]), own.get("by_rule")
        if labels is None and printed is not None and not own.get("addition"):
            what = f"row of {self.paths.paper(table['paper'])} (and no `addition: true`)"
            require(self.document, key, name, printed, what)
        values = table.get("select", {}) | own
        runs = self._find(key, values)
        evaluated = self.datasets[self.runs[runs[0]].dataset].evaluate
        require(self.document, (*key[:2], "split"), table["split"], evaluated, f"evaluated split, for the row {name},")
        if labels is None:
            yield Row(name, runs, self._rule(key, values.get("rule"), runs), own.get("label"))
            return
        kinds = list(labels)
        swept = [rule for rule in self.rules[runs[0]] if rule.kind in kinds]
        if not swept:
            raise self.document.error(key, f"{runs[0]} has no rule of the kind {one_of(kinds)} Add some to `rules`")
        for rule in sorted(swept, key=lambda rule: (-rule.alpha, kinds.index(rule.kind))):
            label = labels[rule.kind] and labels[rule.kind].replace("{alpha}", str(rule.alpha))
            yield Row(f"{rule.kind}_{rule.alpha}", runs, self._rule(key, rule, runs), label)

    def _find(self, key: Key, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the runs that have a row's values."""
        selector = {name: values[name] for name in FIELDS if values.get(name) is not None}
        runs = [run for run in self.runs.values() if selector.items() <= run.as_dict().items()]
        wanted = ", ".join(f"{name}: {value}" for name, value in selector.items()) or "anything"
        if not runs:
            raise self.document.error(key, f"no run of this experiment fits ({wanted}); {self._nearest(selector)}")
        differing = [n for n in FIELDS if n != "seed" and any(getattr(run, n) != getattr(runs[0], n) for run in runs)]
        names = tuple(run.name for run in runs)
        if differing:
            told = f"{len(names)} runs fit ({wanted}) which differ in {', '.join(differing)}; say which is meant: "
            raise self.document.error(key, told + one_of(names))
        return names

    def _nearest(self, selector: Mapping[str, Any]) -> str:
        """Describe the run that differs in the fewest values, of those one that has most of the fields."""
        differing = {
            run: [(name, getattr(run, name)) for name, value in selector.items() if getattr(run, name) != value]
            for run in self.runs.values()
        }
        run, fields = min(differing.items(), key=lambda item: (len(item[1]), [value is None for _, value in item[1]]))
        has = ", ".join(f"{name} {value}" for name, value in fields)
        return f"the nearest, {run.name}, has {has}. Add the run, or correct the row"

    def _rule(self, key: Key, text: str | None, runs: tuple[str, ...]) -> Rule:
        if text is None and not self.runs[runs[0]].is_iou_aware:
            return BASELINE_RULE
        if text is None:
            raise self.document.error(key, f"rule is missing; expected {one_of(self.rules[runs[0]])}")
        rule = read_rule(self.document, (*key, "rule"), text)
        for run in runs:
            require(self.document, (*key, "rule"), rule, self.rules[run], f"rule of {run}")
        return rule
