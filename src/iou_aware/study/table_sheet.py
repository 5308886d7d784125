"""From a table's numbers to what its reader sees: which sections, which digits, what is bold, what the notes say."""

from collections.abc import Callable

from iou_aware.study.collect import missing
from iou_aware.study.experiment import Experiment
from iou_aware.study.metrics import VOC07
from iou_aware.study.table import Table
from iou_aware.study.table_content import Content, Line, difference
from iou_aware.study.table_text import DAGGER, MISSING, Cell, Section, Sheet, TextRow

_PATTERN = "The paper's values are of other data and larger models, for the pattern only: compare gains and orderings."
# Returns ours and the paper's number for a line and a metric, given the lines by key.
_Numbers = Callable[[Line, str, dict[str, Line]], tuple[float | None, float | None]]


def sheet(experiment: Experiment, table: Table, content: Content) -> Sheet:
    """Lay out a table: values, gains over the baseline, differences from the paper, then each class.

    Gains stand there when a row has a baseline; differences when the paper's values are to be compared number by
    number; classes when the table asks for them.
    """
    seeds = any(len(line.runs) > 1 for line in content.lines)
    best = _best(content)
    sections = [_section("", content.lines, content, _values, best=best, seeds=seeds)]
    if gaining := [line for line in content.lines if line.baseline]:
        sections.append(_section("Gain over the baseline", gaining, content, _gains, signed=True))
    printed = [line for line in content.lines if line.paper and line.runs]
    if printed and experiment.comparison == "values":
        sections.append(_section("Difference from the paper", printed, content, _deltas, signed=True))
    sections += [_section(name, lines, content, _values) for name, lines in content.classes.items()]
    return Sheet(
        name=table.name,
        title=table.title,
        caption=table.caption,
        headings=content.headings,
        metrics=content.metrics,
        seeds=seeds,
        sections=tuple(sections),
        notes=tuple(_notes(experiment, table, content, any(best.values()))),
    )


def _values(line: Line, metric: str, lines: dict[str, Line]) -> tuple[float | None, float | None]:
    return line.values.get(metric), line.paper.get(metric)


def _gains(line: Line, metric: str, lines: dict[str, Line]) -> tuple[float | None, float | None]:
    base = lines[line.baseline]
    return difference(line.values, base.values, metric), difference(line.paper, base.paper, metric)


def _deltas(line: Line, metric: str, lines: dict[str, Line]) -> tuple[float | None, float | None]:
    return difference(line.values, line.paper, metric), None


def _section(
    heading: str,
    lines: list[Line],
    content: Content,
    numbers: _Numbers,
    *,
    signed: bool = False,
    best: dict[str, set[str]] | None = None,
    seeds: bool = False,
) -> Section:
    by_key = {line.key: line for line in content.lines}
    rows = []
    for line in lines:
        cells = []
        for metric in content.metrics:
            ours, paper = (_shown(number, signed) for number in numbers(line, metric, by_key))
            if not ours and line.kind != "cited":
                ours = MISSING
            cells.append(Cell(ours, f"({paper})" if paper else "", metric in (best or {}).get(line.key, set())))
        marked = f" {DAGGER}" if line.kind == "addition" else ""
        count = f"{line.seeds}" if line.seeds == len(line.runs) else f"{line.seeds} of {len(line.runs)}"
        labels = (line.labels[0] + marked, *line.labels[1:])
        rows.append(TextRow(labels, tuple(cells), count if seeds and line.runs else ""))
    return Section(heading, tuple(rows))


def _shown(number: float | None, signed: bool) -> str:
    """Return one decimal, as the paper prints; with a sign for differences, and none for a difference of 0.0."""
    if number is None:
        return ""
    text = f"{number:+.1f}" if signed else f"{number:.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


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


def _notes(experiment: Experiment, table: Table, content: Content, bold: bool) -> list[str]:
    lines = content.lines
    printed = any(line.paper for line in lines)
    notes = ["All values in percent."]
    if printed:
        notes.append("Ours, then the paper's in parentheses.")
    if any(line.kind == "cited" for line in lines):
        notes.append("Rows with the paper's values alone are those that it cites from others.")
    if printed and experiment.comparison == "pattern":
        notes.append(_PATTERN)
    if any(metric in VOC07 for metric in content.metrics):
        why = ", as the authors' evaluation script has it; the paper says COCO-style" if printed else ""
        notes.append(f"VOC07: AP over 11 recalls{why}.")
    if bold:
        rows = "the paper's rows" if printed else "rows"
        notes.append(f"Bold: the best of ours per column among {rows} with the same backbone.")
    if any(line.kind == "addition" for line in lines):
        notes.append(f"{DAGGER} An addition, not in the paper.")
    if all(len(line.runs) < 2 for line in lines):
        notes.append("One seed per row.")
    else:
        notes.append("Means over the seeds counted in the last column.")
    return notes + _absent(experiment, table, lines)


def _absent(experiment: Experiment, table: Table, lines: list[Line]) -> list[str]:
    """Say of every row without values, or with fewer seeds than asked for, what is missing and why."""
    lacking = [line for line in lines if line.kind != "cited" and (line.seeds < len(line.runs) or not line.runs)]
    if not lacking:
        return []
    reasons = {(gap.run, gap.split, rule): gap.why for gap in missing(experiment) for rule in gap.rules}
    parts = []
    for line in lacking:
        why = {reasons.get((run, table.split, line.rule)) for run in line.runs}
        named = ", ".join(sorted(reason for reason in why if reason)) or "not collected"
        parts.append(f"{line.key} ({named if line.runs else 'no run in this experiment'})")
    return [f"{MISSING} Missing: {'; '.join(parts)}."]
