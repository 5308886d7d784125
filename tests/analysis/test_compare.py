"""Results files, and runs with their rules, side by side."""

import json
import re
import shutil

import pandas as pd
import pytest
from builders.data import put
from builders.detections import entries, noisy, write_dataset, write_detections
from builders.results import AWARE, BASELINE, cells, experiment, write_sealed_run

from iou_aware.analysis.compare.compare import compare
from iou_aware.common.messages import InputError
from iou_aware.evaluation.resampled import METRICS

RULES = ["none", "alpha=0.50"]


@pytest.fixture
def study(tmp_path):
    """A run whose two rules differ in how well their boxes are placed, and its baseline, equal to the worse.

    Beside them results files of the worse and the better, ``A.json`` and ``B.json``.
    """
    study = experiment(tmp_path, rules=RULES, tables={})
    content = write_dataset(study)
    worse, better = noisy(content, 1, 0.1), noisy(content, 2, 0.01)
    for run, found in {AWARE: {"none": worse, "alpha=0.50": better}, BASELINE: {"cls": worse}}.items():
        write_detections(study, run, "val", found, weights=write_sealed_run(study, run))
    for name, found in {"A": worse, "B": better}.items():
        put(study.results / f"{name}.json", json.dumps(entries(found)))
    return study


def side(study, run, rule=None):
    return f"{study.paths.run_folder(run)}{f'@{rule}' if rule else ''}"


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of every line of a table by their first."""
    return {first: rest for first, *rest in cells(text)}


def test_two_rules_differ_and_a_run_and_its_equal_do_not(study, capsys):
    compare([side(study, AWARE, "none"), side(study, AWARE, "alpha=0.5")])
    table = rows(capsys.readouterr().out)
    assert table["AP90"][5] == "surely higher" and {"class 1", "class 2"} <= set(table)
    compare([side(study, BASELINE), side(study, AWARE, "none")], split="val")
    table = rows(capsys.readouterr().out)
    assert {cells[5] for metric, cells in table.items() if metric in METRICS} == {"equal"}


@pytest.mark.parametrize(
    ("sides", "options", "named"),
    [
        (["{ours}", "{base}"], {}, "say which, such as @none"),
        (["{ours}@alpha=2", "{base}"], {}, "alpha"),
        (["{ours}@cls", "{base}"], {}, "only by none, alpha=0.50"),
        (["{base}", "{base}"], {}, "expected 2 to 26 different"),
        (list(map(str, range(27))), {}, "expected 2 to 26 different"),
        (["{results}/runs/nothing", "{base}"], {}, "expected a results file, or a run's folder"),
        (["/", "{base}"], {}, "expected a results file, or a run's folder"),
        (["{A}", "{B}"], {}, "--annotations"),
        (["{A}", "{results}/nothing.json"], {"annotations": "val"}, "nothing.json: missing"),
        (["{A}"], {"annotations": "val"}, "expected 2 to 26"),
        (["{A}", "{B}"], {"annotations": "val", "images": "val"}, "--images without --into"),
        (["{A}", "{B}"], {"annotations": "A"}, "COCO's annotations"),
    ],
)
def test_what_cannot_be_compared_is_named(study, sides, options, named):
    places = {"ours": side(study, AWARE), "base": side(study, BASELINE), "results": study.results}
    places |= {name: study.results / f"{name}.json" for name in "AB"}
    files = {"val": study.paths.dataset_folder("shapes") / "val.json", "A": places["A"]}
    with pytest.raises(InputError, match=named):
        compare([one.format(**places) for one in sides], **{key: files[name] for key, name in options.items()})


def test_different_images_are_not_compared(study, tmp_path):
    moved = experiment(tmp_path / "other", rules=RULES, tables={})
    shutil.copytree(study.results, moved.results)
    write_dataset(moved, seed=1)
    with pytest.raises(InputError, match="same images"):
        compare([side(study, AWARE, "none"), side(moved, BASELINE)])


def test_two_splits_ask_for_one(study):
    for run in (AWARE, BASELINE):
        shutil.copy(study.paths.detections(run, "val"), study.paths.detections(run, "extra"))
    with pytest.raises(InputError, match="extra, val; expected --split"):
        compare([side(study, AWARE, "none"), side(study, BASELINE)])


def test_results_files_become_text_tables_a_page_and_pictures(study, tmp_path, capsys):
    truth, out = study.paths.dataset_folder("shapes") / "val.json", tmp_path / "out"
    sides = [str(study.results / f"{name}.json") for name in "AB"]
    compare(sides, truth, truth.with_suffix(""), out)
    text, page = capsys.readouterr().out, (out / "index.html").read_text()
    metrics = pd.read_csv(out / "metrics.csv").set_index("metric")
    shown = [f"{metrics.at['AP', side]:.2f}" for side in ("first", "value")]
    assert rows(text)["AP"][:2] == shown and all(f">{number}</td>" in page for number in shown)
    assert rows(text)["AP"][5] == "surely higher"
    pictures = sorted(out.glob("B-*.jpg"))
    captions = re.findall("<figcaption>(.*?) IoU of the most confident box", page)
    assert len(pictures) == page.count("<img") == len(captions) > 0
    listed = pd.read_csv(out / "images.csv")
    assert set(captions) <= {f"{one.file_name}, {one.influence:+.4f}." for one in listed.itertuples()}
    influences = listed["influence"]
    assert influences.abs().is_monotonic_decreasing and influences.sum() == pytest.approx(0, abs=1e-9)
