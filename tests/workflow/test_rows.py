"""The rows of the paper's experiment: each has its runs, its configs, and its line in the documentation."""

from pathlib import Path

from builders.data import csv_rows
from builders.experiments import REPOSITORY
from builders.results import cells

from iou_aware.common.assignments import place
from iou_aware.workflow.rows import print_rows


def test_every_row_of_the_papers_tables_that_is_not_cited_has_its_runs(paper):
    reproduced = {table.paper: table for table in paper.tables.values() if table.paper}
    assert list(reproduced) == [f"table{number}" for number in range(1, 6)]
    for name, table in reproduced.items():
        ours = {row["row"] for row in csv_rows(paper.paths.paper(name)) if row["cited"] == "0"}
        assert ours <= set(table.rows), name
    needed = {run for table in paper.tables.values() for row in table.rows.values() for run in row.runs}
    assert needed == set(paper.runs)


def test_paper_has_baselines_under_the_same_recipe_and_three_seeds_on_voc(paper):
    for run in paper.runs.values():
        assert not run.is_iou_aware or run.baseline.name in paper.runs
    assert {len(row.runs) for row in paper.tables["table5"].rows.values()} == {3}


def test_every_row_is_listed_with_configs_that_exist_and_in_the_documentation(paper, capsys):
    print_rows(paper)
    listed = capsys.readouterr().out
    rows = cells(listed)[2:]
    assert [row[:2] for row in rows] == [[name, key] for name, table in paper.tables.items() for key in table.rows]
    for *_, recipe, detector, backbone, runs in rows:
        files = [place(Path(), detector)] if recipe == "zoo" else [Path(detector), Path(backbone)]
        assert all(map(Path.is_file, files)) and set(runs.split(", ")) <= set(paper.runs)
    documented = (REPOSITORY / "docs" / "rows.md").read_text(encoding="utf-8")
    assert listed in documented, "see docs/rows.md for how it is made"
