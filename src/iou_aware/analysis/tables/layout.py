"""From a table's numbers to its text: which sections, rows and columns there are, which digits, what is bold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from iou_aware.analysis.tables.rows import Number, TableContent, TableRow

DAGGER = "†"
MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """What stands in one cell.

    Attributes:
        text: A label, or a number of ours.
        paper: The paper's number beside it; may be empty.
        best: Whether ours is the best, to be set in bold.
        verdict: The verdict on it, to be shown as a mark; empty without one.
        runs: The runs that the number is the mean of, to link to; empty for a text and for the paper's numbers.
    """

    text: str
    paper: str = ""
    best: bool = False
    verdict: str = ""
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """Rows under a common heading; the first section of a table may have none.

    Attributes:
        heading: What stands above the rows.
        rows: The cells of each.
        rule: The rule that ranks what the numbers are of, where that is one for all of them.
        runs: The runs that have values, likewise.
        missing: Why there are none; empty where there are.
    """

    heading: str
    rows: list[list[Cell]]
    rule: str = ""
    runs: tuple[str, ...] = ()
    missing: str = ""

    @property
    def title(self) -> str:
        """The heading, with why there are no values."""
        return f"{self.heading} ({self.missing})" if self.missing else self.heading


@dataclass(frozen=True)
class TextTable:
    """A table ready to be written.

    Attributes:
        title: ``Table 1``.
        caption: What it shows.
        heads: The columns' headings; metrics are called as in ``metrics.csv``.
        numeric: The columns that hold numbers.
        sections: The rows.
        notes: Sentences below the table.
        summary: What stands for the table where it is folded away.
    """

    title: str
    caption: str
    heads: tuple[str, ...]
    numeric: frozenset[int]
    sections: list[Section]
    notes: tuple[str, ...] = ()
    summary: str = ""


def shown(number: float | None, form: str = ".1f") -> str:
    """Return a number as the paper prints it, with one decimal, or in another form; nothing has no sign."""
    if number is None:
        return MISSING
    text = f"{number:{form}}"
    return text.lstrip("+-").replace("-", "−") if not text.strip("+-0.") else text.replace("-", "−")


def in_columns(title: str, caption: str, content: TableContent, notes: Sequence[str]) -> TextTable:
    """Lay a table out as the paper does: values, gains over the baseline with their verdicts, then each class.

    Gains stand there when a row has a baseline, classes when the table asks for them.
    """
    metrics, seeds, best = content.metrics, content.has_seeds, best_of(content)
    values = [
        _line(row, [_value(row, m, m in best[row.key]) for m in metrics], seeds, _count(row)) for row in content.rows
    ]
    gaining = [row for row in content.rows if row.baseline]
    gains = [_line(row, [_gain(row, row.numbers[m]) for m in metrics], seeds, _count(row)) for row in gaining]
    sections = [Section("", values), *([Section("Gain over the baseline", gains)] if gains else [])]
    sections += [
        Section(name, [_line(row, [_value(row, m) for m in metrics], seeds) for row in rows])
        for name, rows in content.classes.items()
    ]
    heads = (*content.headings, *metrics, *(["Seeds"] if seeds else []))
    numeric = frozenset(range(len(content.headings), len(heads)))
    return TextTable(title, caption, heads, numeric, sections, tuple(notes))


def one_by_one(title: str, caption: str, summary: str, content: TableContent, by_size: bool) -> TextTable:
    """Lay a table out number by number: paper, ours, difference, gain with its interval, seeds and verdicts.

    Columns that would be empty throughout are left out.
    """
    present = {
        "paper": any(row.paper for row in content.rows),
        "seeds": content.has_seeds,
        "sizes": by_size,
        "gain": any(row.baseline for row in content.rows),
    }
    columns = [head for head, (needed, _) in _COLUMNS.items() if all(map(present.get, needed))]
    sections = []
    for row in content.rows:
        if row.kind == "cited":
            continue
        why = next((number["why"] for number in row.numbers.values() if number["why"]), "not collected")
        cells = [
            [Cell(metric), *(_cell(head, row, number) for head in columns), Cell(_count(row))]
            for metric, number in row.numbers.items()
        ]
        heading = ", ".join(label for label in row.labels if label not in ("", "-"))
        heading += f" {DAGGER}" if row.kind == "addition" else ""
        sections.append(Section(heading, cells, row.rule, row.measured, "" if row.measured else f"missing: {why}"))
    heads = ("Column", *columns, "Seeds")
    numeric = frozenset(i for i, head in enumerate(heads) if i and not head.startswith("Verdict"))
    return TextTable(title, caption, heads, numeric, sections, summary=summary)


def best_of(content: TableContent) -> dict[str, set[str]]:
    """Return the metrics in which a row is the best of ours, by the row's key.

    Compared are, at the precision shown, the rows of the paper which share dataset, scale, backbone and recipe.
    """
    best: dict[str, set[str]] = {row.key: set() for row in content.rows}
    for group in {row.group for row in content.rows if row.runs}:
        rivals = [row for row in content.rows if row.group == group and row.kind == "ours"]
        for metric in content.metrics:
            values = {row.key: round(row.ours[metric], 1) for row in rivals if metric in row.ours}
            if len(values) > 1:
                for key in [key for key, value in values.items() if value == max(values.values())]:
                    best[key].add(metric)
    return best


# What stands in each column, number by number, by its heading: what the table must have for it, and the text.
_COLUMNS: dict[str, tuple[Sequence[str], Callable[[Number], str]]] = {
    "Paper": (["paper"], lambda number: shown(number["paper"])),
    "Ours": ([], lambda number: shown(number["ours"])),
    "Range over seeds": (["seeds"], lambda number: _range(number["lowest"], number["highest"], absent="")),
    "Ours − paper": (["paper"], lambda number: shown(number["delta"], "+.1f")),
    "Verdict": (["paper", "sizes"], lambda number: number["verdict"]),
    "Gain, paper": (["gain", "paper"], lambda number: shown(number["gain_paper"], "+.1f")),
    "Gain, ours": (["gain"], lambda number: shown(number["gain"], "+.2f")),
    "95 % interval": (["gain"], lambda number: _range(number["gain_low"], number["gain_high"], "+.2f")),
    "Its range over seeds": (
        ["gain", "seeds"],
        lambda number: _range(number["gain_lowest"], number["gain_highest"], "+.2f", ""),
    ),
    "Verdict on the gain": (["gain", "paper"], lambda number: number["gain_verdict"]),
}
_LINKED = ("Ours", "Gain, ours")


def _cell(head: str, row: TableRow, number: Number) -> Cell:
    """Return what stands in a column of ``_COLUMNS``: nothing about a gain in a row without a baseline."""
    needed, text = _COLUMNS[head]
    is_empty = "gain" in needed and not row.baseline
    return Cell("" if is_empty else text(number), runs=row.measured if head in _LINKED else ())


def _line(row: TableRow, cells: list[Cell], seeds: bool, count: str = "") -> list[Cell]:
    first = row.labels[0] + (f" {DAGGER}" if row.kind == "addition" else "")
    return [Cell(first), *map(Cell, row.labels[1:]), *cells, *([Cell(count)] if seeds else [])]


def _value(row: TableRow, metric: str, best: bool = False) -> Cell:
    """Return our value with the paper's in parentheses."""
    ours = "" if row.kind == "cited" else shown(row.ours.get(metric))
    return Cell(ours, _beside(row.paper.get(metric)), best, runs=row.measured)


def _gain(row: TableRow, number: Number) -> Cell:
    """Return what a row gains over its baseline, the paper's gain in parentheses, and the verdict."""
    paper = _beside(number["gain_paper"], "+.1f")
    return Cell(shown(number["gain"], "+.1f"), paper, verdict=number["gain_verdict"], runs=row.measured)


def _count(row: TableRow) -> str:
    """Return how many seeds a row is the mean of, and of how many where some are missing."""
    seeds, wanted = len(row.measured), len(row.runs)
    return f"{seeds}" * (wanted > 0) if seeds == wanted else f"{seeds} of {wanted}"


def _beside(paper: float | None, form: str = ".1f") -> str:
    return "" if paper is None else f"({shown(paper, form)})"


def _range(low: float | None, high: float | None, form: str = ".1f", absent: str = MISSING) -> str:
    return absent if low is None else f"{shown(low, form)} … {shown(high, form)}"
