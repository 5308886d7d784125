"""Finished tables as accessible HTML fragments with their own style, in ASCII, so that they need no encoding."""

from collections.abc import Sequence
from html import escape

from iou_aware.analysis.tables.sheet import MISSING, Cell, Column, Details, Group, Sheet, TextRow, joined, subscript
from iou_aware.analysis.uncertainty.verdict import MARKS, VERDICTS

# The report's anchor of a run, seen from the folder of the tables, but for the run's name.
_RUN = "../report/index.html#run-"
_STYLE = (
    "<style>.iou-table{border-collapse:collapse;font:14px/1.4 system-ui,sans-serif;font-variant-numeric:tabular-nums}"
    ".iou-table caption{caption-side:top;text-align:left;padding:.4em 0;max-width:min(60em,88vw)}"
    ".iou-table th,.iou-table td{padding:.2em .7em;text-align:left;font-weight:normal;white-space:nowrap}"
    ".iou-table .number{text-align:right}.iou-table thead th{font-weight:600;border-bottom:1px solid}"
    ".iou-table thead tr,.iou-table tbody+tbody tr:first-child{border-top:1px solid}"
    ".iou-table tbody:last-of-type{border-bottom:1px solid}.iou-table .paper{font-size:.85em;opacity:.75}"
    ".iou-table tbody th[colspan]{font-style:italic}.iou-table abbr{text-decoration:none}"
    ".iou-table a{color:inherit;text-decoration:underline dotted;text-underline-offset:.2em}"
    ".iou-table .verdict{font-weight:600}.iou-table .reproduced{color:#0a6640}.iou-table .contradicted{color:#a4133c}"
    ".iou-table .inconclusive{color:#7a4d00}.iou-table small{font-style:normal;white-space:normal}"
    ".iou-table tbody th[scope=row]{position:sticky;left:0;background:Canvas}"
    "@media(max-width:40em){.iou-table th,.iou-table td{padding:.2em .4em}}"
    ".iou-table-scroll{overflow-x:auto}.iou-table-numbers summary{font:14px/1.6 system-ui,sans-serif;cursor:pointer}"
    ".iou-table-notes{font:13px/1.4 system-ui,sans-serif;max-width:60em}</style>"
)


def html(sheet: Sheet) -> str:
    """Return a sheet as HTML: the table, its notes, and folded away its numbers one by one.

    Every number of ours is a link to its run in the report; one that is a mean links to the first of its runs, names
    all of them, and the comparison links to each.
    """
    heads = [f'<th scope="col">{escape(heading)}</th>' for heading in sheet.headings]
    heads += [f'<th scope="col" class="number">{_metric(metric)}</th>' for metric in sheet.metrics]
    if sheet.seeds:
        heads.append('<th scope="col" class="number">Seeds</th>')
    bodies = []
    for section in sheet.sections:
        rows = [_row(row, sheet.seeds) for row in section.rows]
        if section.heading:
            rows.insert(0, f'<tr><th scope="rowgroup" colspan="{len(heads)}">{escape(section.heading)}</th></tr>')
        bodies.append(rows)
    caption = f"<strong>{escape(sheet.title)}.</strong> {escape(sheet.caption)}"
    notes = "".join(f"<li>{escape(note)}</li>" for note in sheet.notes)
    parts = [
        _STYLE,
        *_table(sheet.title, caption, heads, bodies),
        f'<ul class="iou-table-notes">{notes}</ul>',
        *_details(sheet.details),
        "",
    ]
    return "\n".join(parts).encode("ascii", "xmlcharrefreplace").decode()


def _table(title: str, caption: str, heads: Sequence[str], bodies: Sequence[Sequence[str]]) -> list[str]:
    """Return a table that scrolls by itself where it is too wide, by keyboard as well."""
    return [
        f'<div class="iou-table-scroll" role="region" aria-label="{escape(title)}" tabindex="0">',
        f'<table class="iou-table">\n<caption>{caption}</caption>',
        f"<thead><tr>{''.join(heads)}</tr></thead>",
        *("<tbody>\n" + "\n".join(rows) + "\n</tbody>" for rows in bodies),
        "</table></div>",
    ]


def _row(row: TextRow, seeds: bool) -> str:
    cells = [
        f'<th scope="row">{escape(row.labels[0])}</th>',
        *(f"<td>{escape(label)}</td>" for label in row.labels[1:]),
        *(f'<td class="number">{_cell(cell, row.runs)}</td>' for cell in row.cells),
    ]
    if seeds:
        cells.append(f'<td class="number">{escape(row.seeds)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _cell(cell: Cell, runs: Sequence[str]) -> str:
    ours = _linked(cell.ours, runs)
    paper = cell.paper and f'<span class="paper">{escape(cell.paper)}</span>'
    mark = MARKS.get(cell.verdict, "")
    if mark:
        mark = f'<abbr class="{escape(cell.verdict)}" title="{escape(cell.verdict)}">{mark}</abbr>'
    return joined(f"<strong>{ours}</strong>" if cell.best else ours, paper, mark)


def _linked(text: str, runs: Sequence[str]) -> str:
    """Return a number of ours as a link to its run, the first of them where it is a mean."""
    if not runs or text in ("", MISSING):
        return escape(text)
    title = escape(runs[0] if len(runs) == 1 else f"mean of {', '.join(runs)}")
    return f'<a href="{_RUN}{escape(runs[0])}" title="{title}">{escape(text)}</a>'


def _details(details: Details) -> list[str]:
    heads = ['<th scope="col">Column</th>']
    for column in details.columns:
        kind = "" if column.kind == "words" else ' class="number"'
        heads.append(f'<th scope="col"{kind}>{escape(column.heading)}</th>')
    bodies = [_group(group, details.columns) for group in details.groups]
    return [
        f'<details class="iou-table-numbers"><summary>{escape(details.summary)}</summary>',
        *_table(details.title, escape(details.caption), heads, bodies),
        "</details>",
    ]


def _group(group: Group, columns: Sequence[Column]) -> list[str]:
    runs = ", ".join(f'<a href="{_RUN}{escape(run)}">{escape(run)}</a>' for run in group.runs)
    origin = f"{escape(group.rule)}: {runs}" if runs else escape(group.missing)
    heading = f"{escape(group.heading)} <small>{origin}</small>"
    rows = [f'<tr><th scope="rowgroup" colspan="{len(columns) + 1}">{heading}</th></tr>']
    for metric, cells in zip(group.metrics, group.lines, strict=True):
        shown = [_number(text, column, group.runs) for text, column in zip(cells, columns, strict=True)]
        rows.append(f'<tr><th scope="row">{_metric(metric)}</th>{"".join(shown)}</tr>')
    return rows


def _number(text: str, column: Column, runs: Sequence[str]) -> str:
    if text in VERDICTS:
        return f'<td class="verdict {escape(text.replace(" ", "-"))}">{escape(text)}</td>'
    if column.kind == "words":
        return f"<td>{escape(text)}</td>"
    return f'<td class="number">{_linked(text, runs) if column.kind == "ours" else escape(text)}</td>'


def _metric(metric: str) -> str:
    return subscript(metric, "{}<sub>{}</sub>", escape)
