"""The tables in a paper: LaTeX takes them, they fit the page, and their captions come out."""

import re
import subprocess

import pytest

PAPER = r"""
\documentclass{article}
\usepackage{booktabs}
%s
\begin{document}
As Table~\ref{tab:%s} shows.
\input{%s}
\end{document}
"""


def typeset(study, folder, table: str, packages: str = "") -> tuple[str, str]:
    """Return LaTeX's log of a paper that has one table, and the paper's text."""
    source = study.paths.table(table, "tex").resolve()
    (folder / "paper.tex").write_text(PAPER % (packages, table, source), encoding="utf-8")
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper"]
    for _ in range(2):  # the first time over, references are not known yet
        done = subprocess.run(latex, cwd=folder, check=False, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-3000:]
    text = subprocess.run(["pdftotext", "paper.pdf", "-"], cwd=folder, check=True, capture_output=True, text=True)
    return (folder / "paper.log").read_text(errors="replace"), text.stdout


def letters(text: str) -> str:
    """Return a text without what typesetting may change: spaces, hyphens at the ends of lines, ligatures."""
    return re.sub(r"[^a-z0-9]", "", text.lower().replace("ﬁ", "fi").replace("ﬂ", "fl").replace("ﬀ", "ff"))


@pytest.mark.parametrize("packages", ["", r"\usepackage{graphicx}"], ids=["booktabs", "graphicx"])
def test_every_table_compiles_with_its_caption_and_its_rows(study, tmp_path, packages):
    for name, table in study.tables.items():
        log, text = typeset(study, tmp_path, name, packages)
        assert "undefined" not in log and "Missing character" not in log
        assert not packages or "Overfull" not in log  # with graphicx no table is wider than the page
        assert "Table 1 shows" in text
        assert letters(table.caption) in letters(text)
        for row in re.findall(r"^(\w[\w ]+?) &", study.paths.table(name, "tex").read_text(), re.MULTILINE):
            assert letters(row) in letters(text)
