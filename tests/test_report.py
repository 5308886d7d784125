"""The report: what it says of the numbers, what it does with a part of them, and with none."""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from study_project import experiment, paper_shaped, write_evaluation, write_results, write_run

from iou_aware.data.manifest import Manifest, SplitData
from iou_aware.errors import InputError
from iou_aware.study.collect import collect
from iou_aware.study.pages import Results
from iou_aware.study.report import write_report
from iou_aware.study.summary import findings

NOTEBOOKS = Path(__file__).parent.parent / "reports"


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = experiment(tmp_path)
    for name in ("report.ipynb", "page"):
        (tmp_path / "reports" / name).symlink_to(NOTEBOOKS / name)
    return loaded


def seal(study, name: str) -> None:
    """Write the record of a finished training."""
    write_run(study, name)
    record = json.loads(study.paths.seal(name).read_text())
    record |= {"epochs": 8, "images_per_second": 70.0, "peak_rss_mib": 600.0, "losses": {"loss_cls": 0.25}}
    study.paths.seal(name).write_text(json.dumps(record))


def finish(study, values=None) -> None:
    """Write all that the stages before the report would have written, tables and figures apart."""
    write_results(study, paper_shaped(study) if values is None else values)
    for name in study.runs:
        seal(study, name)
    counts = {"images": 20, "boxes": 50, "ignored": 0, "classes": {}, "areas": {"small": 5, "medium": 20, "large": 25}}
    wrong = [{"file": "a.xml", "line": 3, "why": "no area"}]
    for name in study.datasets:
        splits = {"val": SplitData("val.json", "val", True, counts, "f" * 64, wrong)}
        Manifest(name, "voc", "data", ["disc"], [1], "val", ["val"], "exclude", splits).write(
            study.paths.manifest(name)
        )
    collect(study)
    study.write_resolved()


def test_the_papers_own_numbers_point_where_the_paper_does(study):
    finish(study)
    found = findings(study)
    assert {finding.place for finding in found} == {f"Table {number}" for number in range(1, 6)}
    assert all(finding.agrees for finding in found)
    gain = next(finding for finding in found if finding.statement == "AP, IoU-aware minus baseline")
    assert gain.ours == gain.paper == "+1.0 (ResNet-50-FPN), +1.1 (ResNet-101-FPN), +1.6 (ResNeXt-32x8d-101-FPN)"


def test_the_opposite_is_called_so(study):
    values = paper_shaped(study)
    opposite = {key: {metric: 100 - value for metric, value in metrics.items()} for key, metrics in values.items()}
    finish(study, opposite)
    verdicts = {(finding.place, finding.statement): finding.agrees for finding in findings(study)}
    assert verdicts["Table 1", "AP, IoU-aware minus baseline"] is False
    assert verdicts["Table 2", "AP by IoU prediction loss"] is False
    assert verdicts["Table 4", "AP90 at alpha 0.1 minus at 1.0"] is False


def test_the_page_is_made_in_a_folder_of_its_own_and_away_from_home(study, tmp_path, monkeypatch):
    finish(study)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    before = dict(os.environ)
    text = write_report(study).read_text(encoding="utf-8")
    assert dict(os.environ) == before
    assert list(home.iterdir()) == []
    assert [path.name for path in study.paths.report.parent.iterdir()] == ["index.html"]
    for shown in ("A study for tests", "as in the paper", "a.xml", "no area", "1:02", *study.runs):
        assert shown in text
    assert "<script" not in text and "http" not in text
    links = set(re.findall(r'href="#([^"]+)"', text))
    assert {"In-short", "Tables", "table1"} <= links <= set(re.findall(r'id="([^"]+)"', text))


def test_a_page_is_made_of_what_there_is(study):
    """All runs but one are missing, and so is all that is drawn; the page says so."""
    name = "shapes.retinanet.tiny.quick.72x72.seed0"
    seal(study, name)
    write_evaluation(study, name, "val", {"cls": {"AP": 12.5, "AP50": 30.0}})
    collect(study)
    text = write_report(study).read_text(encoding="utf-8")
    assert "1 of 17 models" in text
    assert "marks.retinanet.tiny.quick.72x72.seed0 on test" in text
    assert "No table has values to compare yet" in text


def test_malformed_metrics_are_named(study):
    finish(study)
    study.paths.metrics.write_text("run,AP\nsomething,1\n")
    with pytest.raises(InputError, match=r"metrics\.csv"):
        write_report(study)
    assert not study.paths.report.exists()


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(InputError, match=r"experiment\.yaml: missing"):
        Results(tmp_path)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
