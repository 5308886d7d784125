"""Tables of text as Markdown, LaTeX and HTML, by the templates beside this file."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from markupsafe import Markup, escape

from iou_aware.analysis.tables.layout import DAGGER, MISSING, Section, TextTable
from iou_aware.analysis.uncertainty.verdict import CONTRADICTED, INCONCLUSIVE, MARKS, REPRODUCED, VERDICTS
from iou_aware.common import templates

# So many lines of the numbers one by one fit on a page of LaTeX.
_PAGE = 44
_LATEX = str.maketrans(
    {
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
)


# By format: how a metric with a subscript is written, and how any other text is quoted.
_WRITTEN: dict[str, tuple[str, Callable[[str], str]]] = {
    "md": ("{}<sub>{}</sub>", lambda text: re.sub(r"([\\|*_<>\[\]])", r"\\\1", text)),
    "tex": ("{}$_{{{}}}$", lambda text: text.translate(_LATEX)),
    "html": (Markup("{}<sub>{}</sub>"), escape),
}


def render(suffix: str, name: str, table: TextTable, numbers: TextTable) -> str:
    r"""Return a table in one format, with its notes, and below or folded away its numbers.

    ``md`` is GitHub's Markdown. ``tex`` is for ``\input``: it needs the package booktabs and nothing else, and its
    labels are ``tab:<name>`` and ``tab:<name>-comparison``. ``html`` is an accessible fragment with its own style, in
    ASCII, so that it needs no encoding: every number of ours is a link to its run in the report, a mean to the first of
    its runs.

    Args:
        suffix: The format.
        name: The table's name.
        table: It in the paper's layout.
        numbers: It number by number.
    """
    template = templates.load(
        Path(__file__).with_name(f"table.{suffix}.j2"), text=lambda text: _written(text, *_WRITTEN[suffix])
    )
    constants = {"MARKS": MARKS, "MISSING": MISSING, "VERDICTS": VERDICTS, "pages": _pages}
    text = template.render(constants, name=name, table=table, numbers=numbers)
    return text.encode("ascii", "xmlcharrefreplace").decode() if suffix == "html" else text


def _written(text: str, form: str, quote: Callable[[str], str]) -> str:
    """Return a text quoted and in one line, or AP50 as AP with a subscript."""
    text = re.sub(r"\s*[\r\n]\s*", " ", text)
    match = re.fullmatch(r"(?:(VOC07)_)?(A[PR])(\d+|[sml])?", text)
    if match is None:
        return quote(text)
    protocol, name, part = match.groups()
    name = f"{protocol} {name}" if protocol else name
    return form.format(name, part.upper()) if part else name


def _pages(sections: list[Section]) -> Iterator[list[Section]]:
    """Yield the sections in portions that fit on a page each; a section stays together."""
    page: list[Section] = []
    for section in sections:
        if page and sum(len(one.rows) + 1 for one in [*page, section]) > _PAGE:
            yield page
            page = []
        page.append(section)
    if page:
        yield page
