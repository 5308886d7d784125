"""From a table's numbers to what its reader sees: which sections, which digits, what is bold, what the notes say."""

from collections.abc import Mapping

from iou_aware.analysis.bootstrap.resamples import RESAMPLES
from iou_aware.analysis.tables.comparison import Comparisons
from iou_aware.analysis.tables.content import Content, Line
from iou_aware.analysis.tables.details import count, lay_out, shown, signed
from iou_aware.analysis.tables.sheet import DAGGER, MISSING, Cell, Section, Sheet, TextRow
from iou_aware.analysis.uncertainty.verdict import MARKS
from iou_aware.experiment.columns import VOC07
from iou_aware.experiment.table import Table

_PATTERN = "The paper's values are of other data and larger models, for the pattern only: compare gains and orderings."


def sheet(
    table: Table, content: Content, compared: Comparisons, comparison: str, missing: Mapping[tuple[str, str, str], str]
) -> Sheet:
    """Lay out a table: values, gains over the baseline with their verdicts, then each class; and number by number.

    Gains stand there when a row has a baseline, classes when the table asks for them.

    Args:
        table: What the experiment says of it.
        content: Its rows with their numbers.
        compared: Every number beside the paper's.
        comparison: ``values`` or ``pattern``, see ``Experiment.comparison``.
        missing: Why there is no number, by run, split and rule.
    """
    seeds = any(len(line.runs) > 1 for line in content.lines)
    best = _best(content)
    sections = [_values("", content.lines, content, best, seeds)]
    if gaining := [line for line in content.lines if line.baseline]:
        sections.append(_gains("Gain over the baseline", gaining, content, compared, seeds))
    sections += [_values(name, lines, content) for name, lines in content.classes.items()]
    return Sheet(
        name=table.name,
        title=table.title,
        caption=table.caption,
        headings=content.headings,
        metrics=content.metrics,
        seeds=seeds,
        sections=tuple(sections),
        notes=(
            *_notes(content, compared, comparison, any(best.values())),
            *_absent(table.split, content.lines, missing),
        ),
        details=lay_out(table.title, content, compared, values=comparison == "values"),
    )


def _values(
    heading: str, lines: list[Line], content: Content, best: dict[str, set[str]] | None = None, seeds: bool = False
) -> Section:
    """Return the rows with our values, the paper's in parentheses."""
    rows = []
    for line in lines:
        bold = (best or {}).get(line.key, set())
        cells = []
        for metric in content.metrics:
            ours = "" if line.kind == "cited" else shown(line.values.get(metric))
            cells.append(Cell(ours, _parenthesised(shown(line.paper.get(metric), absent="")), metric in bold))
        rows.append(_row(line, cells, seeds))
    return Section(heading, tuple(rows))


def _gains(heading: str, lines: list[Line], content: Content, compared: Comparisons, seeds: bool) -> Section:
    """Return the rows with what they gain over their baseline, the paper's gain in parentheses, and the verdict."""
    rows = []
    for line in lines:
        findings = [compared[line.key][metric].gain for metric in content.metrics]
        cells = [
            Cell(
                signed(gain.quantity.value),
                _parenthesised(signed(gain.quantity.paper, absent="")),
                verdict=gain.verdict,
            )
            for gain in findings
            if gain is not None
        ]
        rows.append(_row(line, cells, seeds))
    return Section(heading, tuple(rows))


def _row(line: Line, cells: list[Cell], seeds: bool) -> TextRow:
    marked = f" {DAGGER}" if line.kind == "addition" else ""
    labels = (line.labels[0] + marked, *line.labels[1:])
    return TextRow(labels, tuple(cells), count(line) if seeds else "", line.measured)


def _parenthesised(text: str) -> str:
    return f"({text})" if text else ""


def _best(content: Content) -> dict[str, set[str]]:
    """Return the metrics in which a row is the best of ours, by the row's key.

    Compared are, at the precision shown, the rows of the paper which share dataset, scale, backbone and recipe.
    """
    best: dict[str, set[str]] = {line.key: set() for line in content.lines}
    for group in {line.group for line in content.lines if line.runs}:
        rivals = [line for line in content.lines if line.group == group and line.kind == "ours"]
        for metric in content.metrics:
            shown = {line.key: round(line.values[metric], 1) for line in rivals if metric in line.values}
            if len(shown) > 1:
                for key, value in shown.items():
                    if value == max(shown.values()):
                        best[key].add(metric)
    return best


def _notes(content: Content, compared: Comparisons, comparison: str, bold: bool) -> list[str]:
    lines = content.lines
    printed = any(line.paper for line in lines)
    notes = ["All values in percent."]
    if printed:
        notes.append("Ours, then the paper's in parentheses.")
    if any(line.kind == "cited" for line in lines):
        notes.append("Rows with the paper's values alone are those that it cites from others.")
    if printed and comparison == "pattern":
        notes.append(_PATTERN)
    if any(metric in VOC07 for metric in content.metrics):
        why = ", as the authors' evaluation script has it; the paper says COCO-style" if printed else ""
        notes.append(f"VOC07: AP over 11 recalls{why}.")
    if bold:
        rows = "the paper's rows" if printed else "rows"
        notes.append(f"Bold: the best of ours per column among {rows} with the same backbone.")
    if any(line.kind == "addition" for line in lines):
        notes.append(f"{DAGGER} An addition, not in the paper.")
    notes += _on_verdicts(compared, comparison)
    if all(len(line.runs) < 2 for line in lines):
        notes.append("One seed per row.")
    else:
        notes.append("Means over the seeds counted in the last column.")
    return notes


def _on_verdicts(compared: Comparisons, comparison: str) -> list[str]:
    """Say what the marks at the gains mean, and what they take into account."""
    gains = [number.gain for row in compared.values() for number in row.values() if number.gain is not None]
    marks = [f"{mark} {verdict}" for verdict, mark in MARKS.items() if any(gain.verdict == verdict for gain in gains)]
    if not marks:
        return []
    what = "its sign" if comparison == "pattern" else "its sign and size"
    return [
        f"A gain is held against the paper's by {what}: {', '.join(marks)}. Taken into account: a paired bootstrap over"
        f" the images ({RESAMPLES:,} resamples), and what two trainings differ by."
    ]


def _absent(split: str, lines: list[Line], missing: Mapping[tuple[str, str, str], str]) -> list[str]:
    """Say of every row without values, or with fewer seeds than asked for, what is missing and why."""
    lacking = [
        line for line in lines if line.kind != "cited" and (len(line.measured) < len(line.runs) or not line.runs)
    ]
    if not lacking:
        return []
    parts = []
    for line in lacking:
        why = {missing.get((run, split, line.rule)) for run in line.runs}
        named = ", ".join(sorted(reason for reason in why if reason)) or "not collected"
        parts.append(f"{line.key} ({named if line.runs else 'no run in this experiment'})")
    return [f"{MISSING} Missing: {'; '.join(parts)}."]
