"""What a finished table consists of. What stands in a cell is decided before; how it is written, after."""

import re
from dataclasses import dataclass

DAGGER = "†"
MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """One cell of the table in the paper's layout.

    Attributes:
        ours: Our value; may be empty.
        paper: The paper's; may be empty.
        best: Whether ours is the best, to be set in bold.
        verdict: The verdict on it; empty without one.
    """

    ours: str
    paper: str = ""
    best: bool = False
    verdict: str = ""


@dataclass(frozen=True)
class TextRow:
    """One row: its labels, its cells, and the runs that they come from.

    ``seeds`` is empty unless the sheet has a column for it.
    """

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    seeds: str = ""
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """Rows under a common heading; the first section of a sheet has none."""

    heading: str
    rows: tuple[TextRow, ...]


@dataclass(frozen=True)
class Column:
    """A column of the comparison: its heading, and whether it holds ``numbers``, our numbers (``ours``) or words."""

    heading: str
    kind: str


@dataclass(frozen=True)
class Group:
    """All numbers of one row of the table, one below the other.

    Attributes:
        heading: The row's labels.
        runs: The runs that have values.
        rule: The rule that they are ranked by.
        missing: Why there are none; empty where there are.
        metrics: What each line is about.
        lines: The lines' cells, one per column.
    """

    heading: str
    runs: tuple[str, ...]
    rule: str
    missing: str
    metrics: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Details:
    """The table once more, number by number.

    Attributes:
        title: ``Table 1, number by number``.
        caption: What its columns are.
        summary: The title, and how many numbers have which verdict.
        columns: What stands beside a metric.
        groups: The lines, by row of the table.
    """

    title: str
    caption: str
    summary: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Sheet:
    """A table ready to be written.

    Attributes:
        name: Its name, for LaTeX's ``label``.
        title: ``Table 1``.
        caption: What it shows.
        headings: What stands above the labels.
        metrics: What stands above the values, as ``metrics.csv`` calls it.
        seeds: Whether there is a last column with the number of seeds.
        sections: The rows.
        notes: Sentences below the table.
        details: Its numbers one by one.
    """

    name: str
    title: str
    caption: str
    headings: tuple[str, ...]
    metrics: tuple[str, ...]
    seeds: bool
    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    details: Details


def joined(*parts: str) -> str:
    """Return the parts that are not empty, with a space between them."""
    return " ".join(part for part in parts if part)


def subscript(metric: str, form: str, plain=str) -> str:
    """Return AP50 as AP with a subscript; ``form`` takes the two parts, ``plain`` quotes what has none."""
    match = re.fullmatch(r"(?:(VOC07)_)?(A[PR])(\d+|[sml])?", metric)
    if match is None:
        return plain(metric)
    protocol, name, part = match.groups()
    name = f"{protocol} {name}" if protocol else name
    return form.format(name, part.upper()) if part else name
