"""Finished tables as GitHub Markdown, to be pasted anywhere."""

import re

from iou_aware.analysis.tables.sheet import Comparison, Sheet, joined, subscript
from iou_aware.analysis.uncertainty.verdict import MARKS


def markdown(sheet: Sheet) -> str:
    """Return a sheet as Markdown: the table, its notes, and folded away its numbers one by one."""
    heads = [*map(_quoted, sheet.headings), *map(_metric, sheet.metrics)]
    aligns = ["---"] * len(sheet.headings) + ["---:"] * len(sheet.metrics)
    if sheet.seeds:
        heads, aligns = [*heads, "Seeds"], [*aligns, "---:"]
    lines = [_pipes(heads), _pipes(aligns)]
    for section in sheet.sections:
        if section.heading:
            lines.append(_heading(section.heading, len(heads)))
        for row in section.rows:
            cells = [
                joined(f"**{cell.ours}**" if cell.best else cell.ours, cell.paper, MARKS.get(cell.verdict, ""))
                for cell in row.cells
            ]
            lines.append(_pipes([*map(_quoted, row.labels), *cells, *([row.seeds] if sheet.seeds else [])]))
    notes = [f"- {_quoted(note)}" for note in sheet.notes]
    top = f"**{_quoted(sheet.title)}.** {_quoted(sheet.caption)}"
    return "\n".join([top, "", *lines, "", *notes, "", *_comparison(sheet.comparison)]) + "\n"


def _comparison(comparison: Comparison) -> list[str]:
    heads = ["Column", *(_quoted(column.heading) for column in comparison.columns)]
    aligns = ["---", *("---" if column.kind == "words" else "---:" for column in comparison.columns)]
    lines = [_pipes(heads), _pipes(aligns)]
    for group in comparison.groups:
        lines.append(_heading(joined(group.heading, group.missing and f"({group.missing})"), len(heads)))
        for metric, cells in zip(group.metrics, group.lines, strict=True):
            lines.append(_pipes([_metric(metric), *map(_quoted, cells)]))
    runs = [
        f"- {_quoted(group.heading)}: {group.rule}, {', '.join(f'`{run}`' for run in group.runs)}"
        for group in comparison.groups
        if group.runs
    ]
    return [
        *(f"<details><summary>{_quoted(comparison.summary)}</summary>", "", _quoted(comparison.caption), ""),
        *(*lines, "", "The runs behind the rows:", ""),
        *(*(runs or ["- none yet"]), "", "</details>"),
    ]


def _heading(text: str, width: int) -> str:
    return _pipes([f"*{_quoted(text)}*", *[""] * (width - 1)])


def _metric(metric: str) -> str:
    return subscript(metric, "{}<sub>{}</sub>", _quoted)


def _pipes(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _quoted(text: str) -> str:
    return re.sub(r"([\\|*_<>\[\]])", r"\\\1", text)
