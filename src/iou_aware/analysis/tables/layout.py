"""From a table's numbers to its text: which sections, rows and columns there are, which digits, what is bold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from iou_aware.analysis.tables.numbers import Number, Numbers
from iou_aware.analysis.tables.rows import TableContent, TableRow

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


def in_columns(title: str, caption: str, content: TableContent, numbers: Numbers, notes: Sequence[str]) -> TextTable:
    """Lay a table out as the paper does: values, gains over the baseline with their verdicts, then each class.

    Gains stand there when a row has a baseline, classes when the table asks for them.
    """
    metrics, seeds, best = content.metrics, content.has_seeds, best_of(content)
    values = [
        _line(row, [_value(row, m, m in best[row.key]) for m in metrics], seeds, _count(row)) for row in content.rows
    ]
    gains = [
        _line(row, [_gain(row, numbers["", row.key, m]) for m in metrics], seeds, _count(row))
        for row in content.rows
        if row.baseline
    ]
    sections = [Section("", values), *([Section("Gain over the baseline", gains)] if gains else [])]
    sections += [
        Section(name, [_line(row, [_value(row, m) for m in metrics], seeds) for row in rows])
        for name, rows in content.classes.items()
    ]
    heads = (*content.headings, *metrics, *(["Seeds"] if seeds else []))
    numeric = frozenset(range(len(content.headings), len(heads)))
    return TextTable(title, caption, heads, numeric, sections, tuple(notes))


def one_by_one(
    title: str, caption: str, summary: str, content: TableContent, numbers: Numbers, by_size: bool
) -> TextTable:
    """Lay a table out number by number: paper, ours, difference, gain with its interval, seeds and verdicts.

    Columns that would be empty throughout are left out.
    """
    columns = _columns(content, by_size)
    sections = []
    for row in content.rows:
        if row.kind == "cited":
            continue
        mine = {metric: numbers["", row.key, metric] for metric in content.metrics}
        why = next((number["why"] for number in mine.values() if number["why"]), "not collected")
        cells = [[Cell(metric), *(cell(row, number) for cell in columns.values())] for metric, number in mine.items()]
        heading = ", ".join(label for label in row.labels if label not in ("", "-"))
        heading += f" {DAGGER}" if row.kind == "addition" else ""
        sections.append(Section(heading, cells, row.rule, row.measured, "" if row.measured else f"missing: {why}"))
    numeric = frozenset(i for i, head in enumerate(columns, 1) if not head.startswith("Verdict"))
    return TextTable(title, caption, ("Column", *columns), numeric, sections, summary=summary)


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


def _columns(content: TableContent, by_size: bool) -> dict[str, Callable[[TableRow, Number], Cell]]:
    """Return what stands in each column, by its heading."""
    printed = any(row.paper for row in content.rows)
    gaining = any(row.baseline for row in content.rows)
    seeds = content.has_seeds

    def column(text: Callable[[TableRow, Number], str], linked: bool = False) -> Callable[[TableRow, Number], Cell]:
        return lambda row, number: Cell(text(row, number), runs=row.measured if linked else ())

    def of_gain(text: Callable[[Number], str], linked: bool = False) -> Callable[[TableRow, Number], Cell]:
        return column(lambda row, number: text(number) if row.baseline else "", linked)

    columns = {
        "Paper": printed and column(lambda row, number: shown(number["paper"])),
        "Ours": column(lambda row, number: shown(number["ours"]), linked=True),
        "Range over seeds": seeds
        and column(lambda row, number: _range(number["lowest"], number["highest"], absent="")),
        "Ours − paper": printed and column(lambda row, number: shown(number["delta"], "+.1f")),
        "Verdict": printed and by_size and column(lambda row, number: number["verdict"]),
        "Gain, paper": gaining and printed and of_gain(lambda number: shown(number["gain_paper"], "+.1f")),
        "Gain, ours": gaining and of_gain(lambda number: shown(number["gain"], "+.2f"), linked=True),
        "95 % interval": gaining and of_gain(lambda number: _range(number["gain_low"], number["gain_high"], "+.2f")),
        "Its range over seeds": gaining
        and seeds
        and of_gain(lambda number: _range(number["gain_lowest"], number["gain_highest"], "+.2f", "")),
        "Verdict on the gain": gaining and printed and of_gain(lambda number: number["gain_verdict"]),
        "Seeds": column(lambda row, number: _count(row)),
    }
    return {heading: column for heading, column in columns.items() if column}


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
