"""Finished tables as LaTeX: they need the package booktabs and nothing else."""

from collections.abc import Iterator, Sequence

from iou_aware.analysis.tables.sheet import DAGGER, MISSING, Details, Group, Sheet, joined, subscript
from iou_aware.analysis.uncertainty.verdict import CONTRADICTED, INCONCLUSIVE, MARKS, REPRODUCED

# So many lines of the comparison fit on a page.
_PAGE = 44
# So many lines of the table itself fit on one with its notes, at the size of the paper's own tables.
_SMALL = 36
_SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "α": r"$\alpha$",
    "−": "$-$",
    "…": r"\ldots{}",
    DAGGER: r"$^\dagger$",
    MISSING: "--",
    "×": r"$\times$",
    MARKS[REPRODUCED]: r"$\surd$",
    MARKS[CONTRADICTED]: r"$\times$",
    MARKS[INCONCLUSIVE]: "?",
}


def latex(sheet: Sheet) -> str:
    r"""Return a sheet as LaTeX to ``\input``: the table, and its numbers one by one on as many pages as they need."""
    heads = [*map(_quoted, sheet.headings), *map(_metric, sheet.metrics)]
    columns = "l" * len(sheet.headings) + "r" * len(sheet.metrics)
    if sheet.seeds:
        heads, columns = [*heads, "Seeds"], columns + "r"
    lines = []
    for section in sheet.sections:
        lines.append(r"\midrule")
        if section.heading:
            lines.append(_heading(section.heading, len(heads)))
        for row in section.rows:
            cells = [
                joined(_bold(cell.ours, cell.best), _quoted(cell.paper), _quoted(MARKS.get(cell.verdict, "")))
                for cell in row.cells
            ]
            seeds = [_quoted(row.seeds)] if sheet.seeds else []
            lines.append(_ampersands([*map(_quoted, row.labels), *cells, *seeds]))
    caption = f"{_quoted(sheet.caption)} {_quoted(' '.join(sheet.notes))}"
    size = r"\small" if len(lines) <= _SMALL else r"\scriptsize"
    main = _float(size, caption, rf"\label{{tab:{sheet.name}}}", columns, heads, lines)
    return "\n".join([r"% needs \usepackage{booktabs}", main, *_details(sheet.name, sheet.details)])


def _details(name: str, details: Details) -> Iterator[str]:
    """Yield the comparison, a float for every page of it."""
    heads = ["", *(_quoted(column.heading) for column in details.columns)]
    columns = "l" + "".join("l" if column.kind == "words" else "r" for column in details.columns)
    for number, groups in enumerate(_pages(details.groups)):
        lines = []
        for group in groups:
            lines += [r"\midrule", _heading(joined(group.heading, group.missing and f"({group.missing})"), len(heads))]
            for metric, cells in zip(group.metrics, group.lines, strict=True):
                lines.append(_ampersands([_metric(metric), *map(_quoted, cells)]))
        text = f"{details.title}, continued." if number else f"{details.summary} {details.caption}"
        label = "" if number else rf"\label{{tab:{name}-comparison}}"
        yield _float(r"\footnotesize", _quoted(text), label, columns, heads, lines)


def _pages(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Yield the groups in portions that fit on a page each; a group stays together."""
    page: list[Group] = []
    for group in groups:
        if page and sum(len(one.lines) + 1 for one in [*page, group]) > _PAGE:
            yield page
            page = []
        page.append(group)
    if page:
        yield page


def _float(size: str, caption: str, label: str, columns: str, heads: list[str], lines: list[str]) -> str:
    return "\n".join(
        [
            r"\begin{table}",
            # LaTeX's own classes expect captions below, and leave no space between one above and the table.
            rf"\centering{size}\setlength{{\tabcolsep}}{{4pt}}\setlength{{\belowcaptionskip}}{{6pt}}",
            rf"\caption{{{caption}}}",
            *([label] if label else []),
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


def _bold(text: str, best: bool) -> str:
    return rf"\textbf{{{_quoted(text)}}}" if best else _quoted(text)


def _heading(text: str, width: int) -> str:
    return rf"\multicolumn{{{width}}}{{l}}{{\emph{{{_quoted(text)}}}}} \\"


def _metric(metric: str) -> str:
    return subscript(metric, "{}$_{{{}}}$", _quoted)


def _ampersands(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _quoted(text: str) -> str:
    return "".join(_SIGNS.get(character, character) for character in text)
