"""The report and the documentation: what they say of the numbers, of a part of them, and without any."""

import json
import os
import re
from html import unescape
from pathlib import Path

import nbformat
import pytest
from builders.data import put
from builders.results import BASELINE, REPORTS, experiment, paper_shaped, write_evaluation, write_results, write_run

from iou_aware.analysis.claims.claims import write_claims
from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.figures.write import write_figures
from iou_aware.analysis.report.docs import write_docs
from iou_aware.analysis.report.notebook import write_notebook
from iou_aware.analysis.report.sections import Results, runs_page
from iou_aware.analysis.tables.write import write_table
from iou_aware.common.messages import InputError
from iou_aware.data.manifest import Manifest, SplitData

COUNTS = {"images": 7, "boxes": 5, "areas": {"small": 3, "medium": 2, "large": 0}}


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return experiment(tmp_path)


def finish(study) -> None:
    """Write all that the stages before the report would have written, tables and figures apart."""
    write_results(study, paper_shaped(study))
    collect(study)
    write_claims(study)
    study.write_resolved()


@pytest.mark.parametrize("comparison", ["pattern", "values"])
def test_the_page_says_how_many_claims_hold_and_has_each_with_its_numbers(tmp_path, comparison):
    study = experiment(tmp_path, comparison=comparison)
    finish(study)
    judged = json.loads(study.paths.claims.read_text())
    first, _, _ = Results(study.results).heading().partition("</p>")
    words = re.sub("<[^>]+>", "", first)
    assert f"{len(judged['claims'])} claims" in words
    assert all(f"{count} {verdict}" in words for verdict, count in judged["verdicts"].items())
    assert ("sizes are not" in words) == (comparison == "pattern")
    shown = unescape(Results(study.results).claims())
    for claim in judged["claims"]:
        assert claim["statement"] in shown
        assert f'<div id="{claim["id"]}">' in shown
        assert all(number in shown for number in claim["deciding"])
    folded = [claim["statement"] for claim in judged["claims"] if claim["verdict"] == "not run"]
    listed, _, rest = shown.partition('<details class="rest">')
    assert folded and all(text in rest and text not in listed for text in folded)


def test_the_page_is_made_in_a_folder_of_its_own_and_away_from_home(study, tmp_path, monkeypatch):
    finish(study)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    put(study.paths.table("table1", "html"), f'<a href="../report/index.html#run-{next(iter(study.runs))}">1.0</a>')
    before = dict(os.environ)
    text = write_notebook(study).read_text(encoding="utf-8")
    assert dict(os.environ) == before
    assert list(home.iterdir()) == []
    assert [path.name for path in study.paths.report.parent.iterdir()] == ["index.html"]
    for shown in ("A study for tests", "reproduced", "1:02", *study.runs):
        assert shown in text
    assert "<script" not in text and "http" not in text
    # Cells of tables lead to runs on the page itself.
    links = set(re.findall(r'href="#([^"]+)"', text))
    wanted = {"In-short", "Tables", "table1", f"run-{next(iter(study.runs))}"}
    assert wanted <= links <= set(re.findall(r'id="([^"]+)"', text))


def test_pages_are_made_of_what_there_is(study):
    """All runs but one are missing, and so is all that is drawn; the report says so, and each notebook."""
    write_run(study, BASELINE)
    write_evaluation(study, BASELINE, "val", {"cls": {"AP": 12.5, "AP50": 30.0}})
    collect(study)
    text = write_notebook(study).read_text(encoding="utf-8")
    assert "1 of 17 models" in text
    assert "marks.retinanet.tiny.quick.72x72.seed0 on test" in text
    assert "The claims are not judged yet" in text
    for notebook in ("alpha", "premise", "tables"):
        text = write_notebook(study, notebook).read_text(encoding="utf-8")
        assert "marks.retinanet.tiny.quick.72x72.seed0 on test: not trained" in text
        assert "results</span>" in text and "<script" not in text


def test_every_run_unfolds_to_what_made_it(study):
    empty = runs_page(study.paths, study.runs)
    assert all(f'<dl id="run-{run}"><dt>State</dt><dd>not trained</dd></dl>' in empty for run in study.runs)
    finish(study)
    put(study.paths.log("train", BASELINE), "")
    (mine,) = re.findall(rf'<dl id="run-{BASELINE}">(.*?)</dl>', Results(study.results).provenance())
    for fact in ("<dd>1:02</dd>", "<dt>Seed</dt><dd>0</dd>", "<dd>abc</dd>", "torch 2.13.0", "cls 0.250", "w" * 64):
        assert fact in mine
    links = re.findall(r'href="([^"]+)"', mine)
    assert [link.rpartition("/")[2] for link in links] == ["history.csv", "run.json", f"{BASELINE}.log", "val.json"]
    study.paths.report.parent.mkdir()
    assert all((study.paths.report.parent / link).is_file() for link in links)


def test_results_are_shown_in_the_folder_of_the_notebooks_as_well(study, monkeypatch):
    """As Jupyter opens a notebook: in its own folder, with the parameter that it comes with."""
    finish(study)
    write_table(study, "table1")
    shown = [Results(study.results).tables(), Results(study.results).provenance()]
    monkeypatch.chdir(study.root / "reports")
    by_hand = Results(f"../results/{study.name}")
    assert [by_hand.tables(), by_hand.provenance()] == shown


def test_a_notebook_of_ones_own_that_is_none_is_named(study):
    (study.root / "reports" / "own.ipynb").write_text("")
    with pytest.raises(InputError, match=r"reports/own\.ipynb: cannot be run as a notebook"):
        write_notebook(study, "own")
    assert not study.paths.page("own").exists()


def test_a_notebook_of_ones_own_that_fails_says_so_on_its_page(study, caplog):
    cells = [nbformat.v4.new_code_cell(source) for source in ("40 + 2", "1 / 0")]
    content = nbformat.v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})
    (study.root / "reports" / "own.ipynb").write_text(nbformat.writes(content))
    page = write_notebook(study, "own").read_text(encoding="utf-8")
    assert "An Exception was encountered at" in page
    assert "ZeroDivisionError" in page and "42" in page
    assert re.search(r"reports/own\.ipynb: a cell failed(.|\n)*division by zero", caplog.text)


def test_what_was_left_out_of_the_data_is_told_with_its_number(study):
    finish(study)
    dataset = next(iter(study.datasets))
    excluded = {"invalid": [{}], "excluded": [{"image": "a"}] * 2, "unlisted": {"cow": 1}}
    doubtful = {"small": ["a"], "turned": ["b", "c"], "padded": ["d"] * 3}
    parts = {
        name: SplitData(f"{name}.json", name, True, COUNTS, "0" * 64, **faults)
        for name, faults in {"train": excluded, "val": doubtful}.items()
    }
    Manifest(dataset, "coco", ".", ["cat"], [1], "train", ["val"], "error", parts).write(study.paths.manifest(dataset))
    shown = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in Results(study.results).data().split("<tr>")]
    heads, *rows = (row[7:] for row in shown[1:4])
    assert [{head: number for head, number in zip(heads, row, strict=True) if number != "0"} for row in rows] == [
        {"Invalid boxes": "1", "Boxes of unlisted classes": "1", "Images left out": "2"},
        {"Images too small to train on": "1", "Images turned by EXIF": "2", "Images ending in zeros": "3"},
    ]


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(InputError, match=r"experiment\.yaml: missing"):
        Results(tmp_path)


@pytest.mark.parametrize("path", sorted(REPORTS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
    assert any('results = "../results/micro"' in cell.source for cell in notebook.cells)


def links(page: Path) -> list[Path]:
    """Return what a page links to or shows, after checking that it is there, with the anchor if there is one."""
    targets = []
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        targets.append(page.parent / file if file else page)
        headings = re.findall(r"^#+ (.+)", targets[-1].read_text(encoding="utf-8"), re.MULTILINE)
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", text).replace(" ", "-") for text in headings]
    return targets


def test_the_documentation_is_one_screen_that_leads_to_every_part_and_refused_while_one_is_missing(study, tmp_path):
    finish(study)
    for name in study.tables:
        write_table(study, name)
    write_figures(study)
    put(study.paths.benchmark("train", "x"), "s\tmax_rss\tcpu_time\n62.0\t600.0\t60.0\n")
    for part in ("metrics.csv", "claims.md", "tables/table2.md"):
        missing = (study.results / part).rename(tmp_path / "aside")
        with pytest.raises(InputError, match=part.rpartition("/")[2]):
            write_docs(study)
        missing.rename(study.results / part)
    assert not (study.root / "docs" / f"{study.name}.md").exists()
    page = write_docs(study)
    text, folder = page.read_text(encoding="utf-8"), page.with_suffix("")
    for verdict, count in json.loads(study.paths.claims.read_text())["verdicts"].items():
        assert f"| {count} {verdict} | [" in text
    assert len(text.split()) < 500 and text.count("![") == 2
    linked = {target for file in (page, *folder.glob("*.md")) for target in links(file)}
    assert linked - {page} == set(folder.iterdir())
    tables = (folder / "tables.md").read_text(encoding="utf-8")
    assert all(study.paths.table(name, "md").read_text().strip() in tables for name in study.tables)
    assert not any(str(tmp_path) in file.read_text(encoding="utf-8") for file in (page, *folder.iterdir()))
    # A figure that is drawn no more leaves the documentation.
    next(study.paths.figures.glob("alpha*.svg")).unlink()
    write_docs(study)
    figures = {file.name for file in study.paths.figures.glob("*.svg")}
    assert {file.name for file in folder.glob("*.svg")} == figures
    assert set(re.findall(r"\w+\.svg", (folder / "figures.md").read_text(encoding="utf-8"))) == figures
