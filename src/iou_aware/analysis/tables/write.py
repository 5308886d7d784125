"""The stage ``table``: the paper's rows, labels and columns, with our values beside the paper's, in four formats.

Markdown, LaTeX and HTML are made of tables of text by the templates beside this file.
"""

import re
from collections.abc import Callable
from pathlib import Path

from markupsafe import Markup, escape

from iou_aware.analysis.metrics import load_metrics, load_missing, load_paper, load_per_class
from iou_aware.analysis.tables import layout, notes
from iou_aware.analysis.tables.layout import DAGGER, MISSING, Section, TextTable
from iou_aware.analysis.tables.rows import NOTHING, TableContent, read_content, with_numbers
from iou_aware.analysis.uncertainty.quantity import Measurements
from iou_aware.analysis.uncertainty.verdict import CONTRADICTED, INCONCLUSIVE, MARKS, REPRODUCED, VERDICTS
from iou_aware.common import templates
from iou_aware.common.files import csv_text, write_text
from iou_aware.experiment.experiment import Experiment

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


def write_table(experiment: Experiment, name: str) -> list[Path]:
    """Write ``results/<experiment>/tables/<name>`` as csv, md, tex and html, and return the paths.

    The CSV is tidy: one line per row, class (empty for all of them together) and metric, in percent at full precision;
    ``Number`` has its columns. ``ours`` is the mean over ``n`` of ``seeds`` seeds, and ``baseline`` the row that gains
    are measured over, the same model without the IoU head. The others show one decimal.

    Raises:
        InputError: ``metrics.csv``, the paper's table or ``reports/claims.yaml`` is
            malformed, or resamples are of other weights.
    """
    table, paths, by_size = experiment.tables[name], experiment.paths, experiment.comparison == "values"
    paper = load_paper(paths.paper(table.paper)) if table.paper else None
    per_class = load_per_class(paths.per_class) if table.per_class else None
    content = read_content(table, experiment.runs, paper, load_metrics(paths.metrics), per_class)
    content = with_numbers(content, Measurements(experiment).in_table(table), by_size)
    below = notes.notes_below(table.split, content, by_size, load_missing(paths.missing))
    main = layout.in_columns(table.title, table.caption, content, below)
    title = f"{table.title}, number by number"
    summary = f"{title}. {notes.verdict_counts(content)}".strip()
    single = layout.one_by_one(title, notes.on_columns(content), summary, content, by_size)
    texts = {"csv": _csv(name, content)}
    texts |= {suffix: render(suffix, name, main, single) for suffix in ("md", "tex", "html")}
    for suffix, text in texts.items():
        write_text(paths.table(name, suffix), text)
    return [paths.table(name, suffix) for suffix in texts]


def _csv(name: str, content: TableContent) -> str:
    columns = ["table", "row", *content.headings, "kind", "class", "metric", *NOTHING]
    lines = []
    for one, rows in {"": content.rows, **content.classes}.items():
        for row in rows:
            about = {"table": name, "row": row.key, "kind": row.kind, "class": one, "n": len(row.measured)}
            about |= {"seeds": len(row.runs), "rule": row.rule, "baseline": row.baseline, "runs": " ".join(row.runs)}
            about |= dict(zip(content.headings, row.labels, strict=True))
            lines += [about | {"metric": metric} | number for metric, number in row.numbers.items()]
    return csv_text([*columns, "n", "seeds", "rule", "baseline", "runs"], lines)


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


def _pages(sections: list[Section]) -> list[list[Section]]:
    """Return the sections in portions that fit on a page each; a section stays together."""
    pages: list[list[Section]] = []
    for section in sections:
        if not pages or sum(len(one.rows) + 1 for one in [*pages[-1], section]) > _PAGE:
            pages.append([])
        pages[-1].append(section)
    return pages
