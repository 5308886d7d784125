"""CSV for spreadsheets: text stays text, numbers stay numbers, and what was text is read back as it was."""

import csv
import re
from pathlib import Path

import numpy as np
from builders.results import experiment, md_rows, own_table, write_results

from iou_aware.analysis.collect.collect import collect
from iou_aware.analysis.tables.write import write_table
from iou_aware.common.files import csv_text, text_of_cell

FORMULAS = [
    *("=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1|cmd", "@SUM(1)", "\t=1", "\n=1", "'=1", "''+x"),
    *("=1,2", '="a"', "-x\n=1"),
]
TEXTS = ["=", "+", "-", "@", "a\nb", "cat", "red cell", "'", "'tis", "a=b", "a-b", "", "x@y", "1+1"]
NUMBERS = [1, -1, 0.5, -0.25, 1e-20, "-1", "+0.1250", "-1e5", np.float64(-0.5)]


def cells(values) -> list[str]:
    text = csv_text(["a", "b"], [{"a": value, "b": 1} for value in values])
    lines = list(csv.reader(text.splitlines(keepends=True)))
    assert lines[0] == ["a", "b"] and all(line[1] == "1" for line in lines[1:])
    return [line[0] for line in lines[1:]]


def test_no_cell_begins_a_formula_and_text_comes_back():
    written = cells(FORMULAS)
    assert all(cell[0] == "'" for cell in written)
    assert [text_of_cell(cell) for cell in written] == FORMULAS


def test_other_text_and_numbers_are_left():
    assert cells(TEXTS) == TEXTS == [text_of_cell(text) for text in TEXTS]
    assert [float(cell) for cell in cells(NUMBERS)] == [float(number) for number in NUMBERS]
    assert cells([None, True, False, "a\rb", "\r=1"]) == ["", "true", "false", "a\nb", "'\n=1"]


def test_classes_and_labels_of_hostile_names_reach_no_spreadsheet_and_every_page(tmp_path):
    rows = {"=row": {"detector": "retinanet", "label": "@label"}}
    study = experiment(tmp_path, tables={"own": own_table(rows, per_class=True)})
    write_results(study, {}, classes=["=HYPERLINK(1)", "+1+1|x"])
    collect(study)
    write_table(study, "own")
    for file in (study.paths.per_class, study.paths.metrics, study.paths.table("own", "csv")):
        assert not re.search(r"(?m)(^|,)\"?([=@]|[+-][^\d.])", file.read_text())
    heads = [row[0] for row in md_rows(study, "own")]
    assert {"*=HYPERLINK(1)*", "@label"} <= set(heads)


def test_there_is_one_writer():
    source = Path(__file__).parents[2] / "src" / "iou_aware"
    writers = {file.name for file in source.rglob("*.py") if re.search(r"csv\.(Dict)?[wW]riter", file.read_text())}
    assert writers == {"files.py"}
