"""The notations of tables: Markdown, LaTeX, HTML."""

import xml.dom.minidom

import pytest
from builders.results import text

from iou_aware.analysis.tables.layout import Cell, Section, TextTable
from iou_aware.analysis.tables.write import render

NAMES = [f"table{number}" for number in range(1, 6)]


@pytest.mark.parametrize("name", NAMES)
def test_html_is_well_formed_and_labelled_and_latex_and_it_are_ascii(study, name):
    content = text(study, name, "html")
    assert content.isascii() and text(study, name, "tex").isascii()
    document = xml.dom.minidom.parseString(f"<div>{content}</div>")
    tables = document.getElementsByTagName("table")
    assert len(tables) == len(document.getElementsByTagName("caption")) == 2
    for table in tables:
        heads = table.getElementsByTagName("th")
        assert {head.getAttribute("scope") for head in heads} == {"col", "row", "rowgroup"}
        width = len(table.getElementsByTagName("thead")[0].getElementsByTagName("th"))
        for row in table.getElementsByTagName("tr"):
            cells = [cell for cell in row.childNodes if cell.nodeName in ("th", "td")]
            assert sum(int(cell.getAttribute("colspan") or 1) for cell in cells) == width
    scrolling = [part for part in document.getElementsByTagName("div") if part.getAttribute("role") == "region"]
    assert len({part.getAttribute("aria-label") for part in scrolling}) == 2
    assert {part.getAttribute("tabindex") for part in scrolling} == {"0"}


@pytest.mark.parametrize(
    ("suffix", "caption", "head", "row"),
    [
        ("md", r"\_my\_ & 100 %", "VOC07 AP<sub>50</sub>", r"| Retina\_Net \<b\> | **40.0** (41.0) ✓ |"),
        ("tex", r"\_my\_ \& 100 \%", "VOC07 AP$_{50}$", r"Retina\_Net <b> & \textbf{40.0} (41.0) $\surd$ \\"),
        ("html", "_my_\n&amp; 100 %", "VOC07 AP<sub>50</sub>", ">Retina_Net &lt;b&gt;</th><td><strong>40.0</strong>"),
    ],
)
def test_special_signs_are_quoted_no_row_is_broken_and_the_best_and_verdicts_are_marked(suffix, caption, head, row):
    cells = [Cell("Retina_Net\r\n\n <b>"), Cell("40.0", "(41.0)", best=True, verdict="reproduced")]
    heads, section = ("Its\n_name_", "VOC07_AP50"), Section("red\n_cell_", [cells])
    table = TextTable("T", "_my_\n& 100 %.", heads, frozenset(), [section], notes=("One\n_note_.",))
    content = render(suffix, "cells", table, table)
    assert all(part in content for part in (caption, head, row))
    named = (
        ["red\n_cell_", "One\n_note_."] if suffix == "html" else [r"red \_cell\_", r"One \_note\_.", r"Its \_name\_"]
    )
    assert all(part in content for part in named)


def test_a_number_is_a_link_to_its_run_a_mean_names_all_and_a_heading_has_a_link_to_each():
    def link(run: str, title: str = "", text: str = "") -> str:
        return f'<a href="../report/index.html#run-{run}"{title}>{text or run}</a>'

    row = [Cell("AP"), Cell("1.0", runs=("a",)), Cell("2.0", runs=("a", "b")), Cell("–", runs=("a",))]
    sections = [Section("Both", [row], "cls", ("a", "b")), Section("None", [], missing="missing: not trained")]
    table = TextTable("T", "", ("", "One", "Mean", "None"), frozenset(), sections)
    content = render("html", "cells", table, table)
    one, mean = link("a", ' title="a"', "1.0"), link("a", ' title="mean of a, b"', "2.0")
    assert f"<td>{one}</td><td>{mean}</td><td>–</td>".replace("–", "&#8211;") in content
    assert f"Both <small>cls: {link('a')}, {link('b')}</small>" in content
    assert "None <small>missing: not trained</small>" in content


@pytest.mark.parametrize(
    ("rows", "size", "sections", "pages"), [(35, r"\small", 11, [11]), (36, r"\scriptsize", 23, [11, 11, 1])]
)
def test_what_fits_on_a_page_of_latex(rows, size, sections, pages):
    """Headings and rules count: 36 lines of the table itself, 44 of the numbers, whose sections stay together."""
    row = [Cell("AP50"), Cell("1.0", "(2.0)", best=True, verdict="reproduced")]
    table = TextTable("T", "Of _a_.", ("", "AP75"), frozenset({1}), [Section("", [row] * rows)], ("100 %.",))
    numbers = TextTable("T, by number", "", ("Column", "Ours"), frozenset({1}), [Section("S", [row] * 3)] * sections)
    main, *rest = render("tex", "t", table, numbers).split(r"\begin{table}")[1:]
    assert rf"\centering{size}\set" in main and r"\label{tab:t}" in main and r"\caption{Of \_a\_. 100 \%.}" in main
    assert main.count(r"AP$_{50}$ & \textbf{1.0} (2.0) $\surd$ \\") == rows
    assert [page.count(r"\emph{S}") for page in rest] == pages
    assert [r"\caption{T, by number, continued.}" in page for page in rest] == [page > 0 for page in range(len(pages))]
    assert [r"\label{tab:t-comparison}" in page for page in rest] == [page == 0 for page in range(len(pages))]
