"""Finished tables as Markdown, LaTeX and HTML. What stands in a cell is decided elsewhere; here is only notation."""

import re
from dataclasses import dataclass
from html import escape

DAGGER = "†"
MISSING = "–"
_TEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "α": r"$\alpha$",
    "−": "$-$",
    DAGGER: r"$^\dagger$",
    MISSING: "--",
    "×": r"$\times$",
}
_STYLE = (
    "<style>.iou-table{border-collapse:collapse;font:14px/1.4 system-ui,sans-serif;font-variant-numeric:tabular-nums}"
    ".iou-table caption{caption-side:top;text-align:left;padding:.4em 0;max-width:60em}"
    ".iou-table th,.iou-table td{padding:.2em .7em;text-align:left;font-weight:normal;white-space:nowrap}"
    ".iou-table .number{text-align:right}.iou-table thead th{font-weight:600;border-bottom:1px solid}"
    ".iou-table thead tr,.iou-table tbody+tbody tr:first-child{border-top:1px solid}"
    ".iou-table tbody:last-of-type{border-bottom:1px solid}.iou-table .paper{opacity:.75}"
    ".iou-table tbody th[colspan]{font-style:italic}.iou-table-scroll{overflow-x:auto}"
    ".iou-table-notes{font:13px/1.4 system-ui,sans-serif;max-width:60em}</style>"
)


@dataclass(frozen=True)
class Cell:
    """Our value, the paper's value (either may be empty) and whether ours is the best to be set in bold."""

    ours: str
    paper: str = ""
    best: bool = False


@dataclass(frozen=True)
class TextRow:
    """One row: its labels and its cells; ``seeds`` is empty unless the sheet has a column for it."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    seeds: str = ""


@dataclass(frozen=True)
class Section:
    """Rows under a common heading; the first section of a sheet has none."""

    heading: str
    rows: tuple[TextRow, ...]


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
    """

    name: str
    title: str
    caption: str
    headings: tuple[str, ...]
    metrics: tuple[str, ...]
    seeds: bool
    sections: tuple[Section, ...]
    notes: tuple[str, ...]


def markdown(sheet: Sheet) -> str:
    """Return a sheet as a GitHub Markdown table, to be pasted anywhere."""
    heads = [*map(_md, sheet.headings), *(_subscript(metric, "{}<sub>{}</sub>") for metric in sheet.metrics)]
    aligns = ["---"] * len(sheet.headings) + ["---:"] * len(sheet.metrics)
    if sheet.seeds:
        heads, aligns = [*heads, "Seeds"], [*aligns, "---:"]
    lines = [_pipes(heads), _pipes(aligns)]
    for section in sheet.sections:
        if section.heading:
            lines.append(_pipes([f"*{_md(section.heading)}*", *[""] * (len(heads) - 1)]))
        for row in section.rows:
            cells = [_joined(f"**{cell.ours}**" if cell.best else cell.ours, cell.paper) for cell in row.cells]
            lines.append(_pipes([*map(_md, row.labels), *cells, *([row.seeds] if sheet.seeds else [])]))
    notes = [f"- {_md(note)}" for note in sheet.notes]
    return "\n".join([f"**{_md(sheet.title)}.** {_md(sheet.caption)}", "", *lines, "", *notes]) + "\n"


def latex(sheet: Sheet) -> str:
    r"""Return a sheet as a LaTeX ``table`` to ``\input``; it needs the package booktabs and nothing else."""
    heads = [*map(_tex, sheet.headings), *(_subscript(metric, "{}$_{{{}}}$", _tex) for metric in sheet.metrics)]
    columns = "l" * len(sheet.headings) + "r" * len(sheet.metrics)
    if sheet.seeds:
        heads, columns = [*heads, "Seeds"], columns + "r"
    lines = []
    for section in sheet.sections:
        lines.append(r"\midrule")
        if section.heading:
            lines.append(rf"\multicolumn{{{len(heads)}}}{{l}}{{\emph{{{_tex(section.heading)}}}}} \\")
        for row in section.rows:
            shown = [(rf"\textbf{{{_tex(cell.ours)}}}" if cell.best else _tex(cell.ours), cell) for cell in row.cells]
            cells = [_joined(ours, _tex(cell.paper)) for ours, cell in shown]
            lines.append(_ampersands([*map(_tex, row.labels), *cells, *([_tex(row.seeds)] if sheet.seeds else [])]))
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering\small\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{_tex(sheet.caption)} {_tex(' '.join(sheet.notes))}}}",
            rf"\label{{tab:{sheet.name}}}",
            r"\sbox0{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _ampersands(heads),
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            # Shrunk to the page where it is too wide and the paper has graphicx; as it is otherwise.
            r"\ifdim\wd0>\linewidth\ifdefined\resizebox\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi\else\usebox0\fi",
            r"\end{table}",
            "",
        ]
    )


def html(sheet: Sheet) -> str:
    """Return a sheet as an accessible HTML fragment with its own style, in ASCII, so that it needs no encoding."""
    heads = [f'<th scope="col">{escape(heading)}</th>' for heading in sheet.headings]
    heads += [
        f'<th scope="col" class="number">{_subscript(metric, "{}<sub>{}</sub>", escape)}</th>'
        for metric in sheet.metrics
    ]
    if sheet.seeds:
        heads.append('<th scope="col" class="number">Seeds</th>')
    bodies = []
    for section in sheet.sections:
        rows = [_html_row(row, sheet.seeds) for row in section.rows]
        if section.heading:
            rows.insert(0, f'<tr><th scope="rowgroup" colspan="{len(heads)}">{escape(section.heading)}</th></tr>')
        bodies.append("<tbody>\n" + "\n".join(rows) + "\n</tbody>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in sheet.notes)
    parts = [
        _STYLE,
        '<div class="iou-table-scroll"><table class="iou-table">',
        f"<caption><strong>{escape(sheet.title)}.</strong> {escape(sheet.caption)}</caption>",
        f"<thead><tr>{''.join(heads)}</tr></thead>",
        *bodies,
        "</table></div>",
        f'<ul class="iou-table-notes">{notes}</ul>',
        "",
    ]
    return "\n".join(parts).encode("ascii", "xmlcharrefreplace").decode()


def _html_row(row: TextRow, seeds: bool) -> str:
    cells = [
        f'<th scope="row">{escape(row.labels[0])}</th>',
        *(f"<td>{escape(label)}</td>" for label in row.labels[1:]),
    ]
    for cell in row.cells:
        ours = f"<strong>{escape(cell.ours)}</strong>" if cell.best else escape(cell.ours)
        paper = cell.paper and f'<span class="paper">{escape(cell.paper)}</span>'
        cells.append(f'<td class="number">{_joined(ours, paper)}</td>')
    if seeds:
        cells.append(f'<td class="number">{escape(row.seeds)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _joined(ours: str, paper: str) -> str:
    return " ".join(part for part in (ours, paper) if part)


def _subscript(metric: str, form: str, plain=str) -> str:
    """Return AP50 as AP with a subscript; ``form`` takes the two parts, ``plain`` quotes what has none."""
    match = re.fullmatch(r"(?:(VOC07)_)?(A[PR])(\d+|[sml])?", metric)
    if match is None:
        return plain(metric)
    protocol, name, part = match.groups()
    name = f"{protocol} {name}" if protocol else name
    return form.format(name, part.upper()) if part else name


def _pipes(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ampersands(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _md(text: str) -> str:
    return re.sub(r"([\\|*_<>\[\]])", r"\\\1", text)


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
