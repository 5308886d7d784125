"""The documentation's pages of results: complete, made of what the stages wrote, refused while a part is missing."""

import re
from pathlib import Path

import pytest
from builders.data import put
from builders.results import finished

from iou_aware.analysis.claims.judge import write_claims
from iou_aware.analysis.figures.write import write_figures
from iou_aware.analysis.report.docs import write_docs
from iou_aware.analysis.tables.write import write_table
from iou_aware.common.errors import InputError


@pytest.fixture
def study(tmp_path):
    """A finished study of the paper's own numbers."""
    made = finished(tmp_path)
    for name in made.tables:
        write_table(made, name)
    write_figures(made)
    made.paths.statements.write_text("noise: {runs: 0.3, rules: 0.1}\nclaims:\n" + CLAIM)
    write_claims(made)
    put(made.paths.benchmark("train", "x"), "s\tmax_rss\tcpu_time\n62.0\t600.0\t60.0\n")
    return made


CLAIM = """\
  - id: gain
    place: Table 1
    statement: The head helps.
    expected:
      - {table: table1, metrics: [AP], gain: {iou_aware_r50: retinanet_r50}, sign: positive}
"""


def links(page: Path) -> list[Path]:
    """Return what a page links to or shows, after checking that it is there, with the anchor if there is one."""
    targets = []
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        targets.append(page.parent / file if file else page)
        headings = re.findall(r"^#+ (.+)", targets[-1].read_text(encoding="utf-8"), re.MULTILINE)
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", text).replace(" ", "-") for text in headings]
    return targets


def test_the_page_is_one_screen_and_leads_to_every_part(study):
    page = write_docs(study)
    text = page.read_text(encoding="utf-8")
    assert "| 1 reproduced | [gain](study/claims.md#gain-reproduced) |" in text
    assert len(text.split()) < 500 and text.count("![") == 2
    folder = page.with_suffix("")
    linked = {target for file in (page, *folder.glob("*.md")) for target in links(file)}
    assert linked - {page} == set(folder.iterdir())
    assert {file.name for file in folder.glob("*.svg")} == {file.name for file in study.paths.figures.glob("*.svg")}
    tables = (folder / "tables.md").read_text(encoding="utf-8")
    assert all(study.paths.table(name, "md").read_text().strip() in tables for name in study.tables)
    assert "The head helps." in (folder / "claims.md").read_text(encoding="utf-8")
    assert not any(str(study.root) in file.read_text(encoding="utf-8") for file in (page, *folder.iterdir()))


def test_a_figure_that_is_drawn_no_more_leaves_the_documentation(study):
    write_docs(study)
    removed = next(study.paths.figures.glob("alpha*.svg"))
    removed.unlink()
    folder = write_docs(study).with_suffix("")
    assert not (folder / removed.name).exists()
    assert removed.name not in (folder / "figures.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("missing", ["metrics.csv", "claims.md", "tables/table2.md"])
def test_a_part_that_is_not_made_yet_is_named(study, missing):
    (study.results / missing).unlink()
    with pytest.raises(InputError, match=missing.rpartition("/")[2]):
        write_docs(study)
    assert not (study.root / "docs" / f"{study.name}.md").exists()
