"""Finished tables as GitHub Markdown, to be pasted anywhere."""

import re

from iou_aware.analysis.markdown import table
from iou_aware.analysis.tables.sheet import Details, Sheet, joined, subscript
from iou_aware.analysis.uncertainty.verdict import MARKS


def markdown(sheet: Sheet) -> str:
    """Return a sheet as Markdown: the table, its notes, and folded away its numbers one by one."""
    heads = [*map(_quoted, sheet.headings), *map(_metric, sheet.metrics), *(["Seeds"] if sheet.seeds else [])]
    rows = []
    for section in sheet.sections:
        if section.heading:
            rows.append(_heading(section.heading, len(heads)))
        for row in section.rows:
            cells = [
                joined(f"**{cell.ours}**" if cell.best else cell.ours, cell.paper, MARKS.get(cell.verdict, ""))
                for cell in row.cells
            ]
            rows.append([*map(_quoted, row.labels), *cells, *([row.seeds] if sheet.seeds else [])])
    notes = [f"- {_quoted(note)}" for note in sheet.notes]
    top = f"**{_quoted(sheet.title)}.** {_quoted(sheet.caption)}"
    lines = table(heads, rows, range(len(sheet.headings), len(heads)))
    return "\n".join([top, "", *lines, "", *notes, "", *_details(sheet.details)]) + "\n"


def _details(details: Details) -> list[str]:
    heads = ["Column", *(_quoted(column.heading) for column in details.columns)]
    right = [place for place, column in enumerate(details.columns, 1) if column.kind != "words"]
    rows = []
    for group in details.groups:
        rows.append(_heading(joined(group.heading, group.missing and f"({group.missing})"), len(heads)))
        for metric, cells in zip(group.metrics, group.lines, strict=True):
            rows.append([_metric(metric), *map(_quoted, cells)])
    runs = [
        f"- {_quoted(group.heading)}: {group.rule}, {', '.join(f'`{run}`' for run in group.runs)}"
        for group in details.groups
        if group.runs
    ]
    return [
        *(f"<details><summary>{_quoted(details.summary)}</summary>", "", _quoted(details.caption), ""),
        *(*table(heads, rows, right), "", "The runs behind the rows:", ""),
        *(*(runs or ["- none yet"]), "", "</details>"),
    ]


def _heading(text: str, width: int) -> list[str]:
    return [f"*{_quoted(text)}*", *[""] * (width - 1)]


def _metric(metric: str) -> str:
    return subscript(metric, "{}<sub>{}</sub>", _quoted)


def _quoted(text: str) -> str:
    return re.sub(r"([\\|*_<>\[\]])", r"\\\1", text)
