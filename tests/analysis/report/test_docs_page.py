"""The documentation's page of results: complete, made of what the stages wrote, refused while a part is missing."""

import re

import pytest
from builders.results import experiment, paper_shaped, write_results, write_run

from iou_aware.analysis.claims.judge import write_claims
from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.figures.write import write_figures
from iou_aware.analysis.report.docs_page import publish
from iou_aware.analysis.tables.write import write_table
from iou_aware.common.errors import InputError


@pytest.fixture
def study(tmp_path):
    """A finished study of the paper's own numbers."""
    made = experiment(tmp_path)
    (tmp_path / "reports").mkdir(exist_ok=True)
    write_results(made, paper_shaped(made))
    for name in made.runs:
        write_run(made, name)
    collect(made)
    for name in made.tables:
        write_table(made, name)
    write_figures(made)
    made.paths.statements.write_text("noise: {runs: 0.3, rules: 0.1}\nclaims:\n" + CLAIM)
    write_claims(made)
    benchmark = made.paths.benchmark("train", "x")
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\tmax_rss\tcpu_time\n62.0\t600.0\t60.0\n")
    return made


CLAIM = """\
  - id: gain
    place: Table 1
    statement: The head helps.
    checks:
      - {table: table1, metrics: [AP], gain: {iou_aware_r50: retinanet_r50}, sign: positive}
"""


def test_the_page_has_every_part_and_every_figure_it_shows(study):
    page = publish(study)
    text = page.read_text(encoding="utf-8")
    for part in ("The head helps.", *(study.paths.table(name, "md").read_text().strip() for name in study.tables)):
        assert part in text
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert shown and all((page.parent / file).is_file() for file in shown)
    assert {path.name for path in study.paths.figures.glob("*.svg")} == {file.rpartition("/")[2] for file in shown}
    assert str(study.root) not in text


def test_a_figure_that_is_drawn_no_more_leaves_the_documentation(study):
    publish(study)
    gone = next(study.paths.figures.glob("alpha*.svg"))
    gone.unlink()
    assert gone.name not in publish(study).read_text(encoding="utf-8")
    assert not (study.root / "docs" / study.name / gone.name).exists()


@pytest.mark.parametrize("missing", ["metrics.csv", "claims.md", "tables/table2.md"])
def test_a_part_that_is_not_made_yet_is_named(study, missing):
    (study.results / missing).unlink()
    with pytest.raises(InputError, match=missing.rpartition("/")[2]):
        publish(study)
    assert not (study.root / "docs" / f"{study.name}.md").exists()
