"""Names become paths and words on command lines: one pattern holds for all of them, and the workflow quotes each."""

import re

import pytest
from builders.data import COCO, prepared, write_own_coco
from builders.experiments import REPOSITORY, TEXT, load

from iou_aware.common.messages import InputError
from iou_aware.experiment.layout import Layout

HOSTILE = [
    *("../../x", "/tmp/x", "..", ".hidden", "a/b", "-x", "--help", "", " ", "a b", "val$(touch x)", "`touch x`", "a;b"),
    *("a'b", 'a"b', "a|b", "a*", "{x}", "~", "a\n", "a\0b", "a\tb", "ü"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_split_is_named_and_nothing_is_written(tmp_path, name):
    project = tmp_path / "a" / "b" / "project"
    splits = {"train": COCO["splits"]["train"], name: COCO["splits"]["train"]}
    write_own_coco(project, splits=splits)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"own\.yaml, line \d+, key splits.*letters, digits"):
        prepared(project)
    assert sorted(tmp_path.rglob("*")) == before


PLACES = {
    "experiment": ("experiment: trial", "experiment: {}"),
    "dataset": ("dataset: shapes\n", "dataset: {}\n"),
    "detector": ("detector: iou_aware_retinanet", "detector: {}"),
    "backbone": ("backbone: [r50, r101]\n", "backbone: [r50, {}]\n"),
    "recipe": ("recipe: quick", "recipe: {}"),
    "table": ("  table2:", "  {}:"),
    "paper": ("paper: table2", "paper: {}"),
    "split": ("split: val", "split: {}"),
}


@pytest.mark.parametrize("name", ["../../x", "val$(touch x)", "-x", "a\0b", "a\n"])
@pytest.mark.parametrize("place", PLACES)
def test_a_hostile_name_in_an_experiment_is_told_with_its_line(project, place, name):
    before, after = PLACES[place]
    assert before in TEXT
    quoted = '"' + name.replace("\0", "\\0").replace("\n", "\\n") + '"'
    with pytest.raises(InputError, match=r"trial\.yaml, line \d+, key .*(letters, digits, '-' and '_'|printable text)"):
        load(TEXT.replace(before, after.format(quoted), 1))


def test_a_notebook_of_a_hostile_name_is_told(tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "a;b.ipynb").touch()
    with pytest.raises(InputError, match=r"a;b\.ipynb: expected a name of letters, digits"):
        Layout(tmp_path, "study").notebooks  # noqa: B018


def test_every_word_of_every_rule_is_quoted():
    files = [REPOSITORY / "workflow" / "Snakefile", *(REPOSITORY / "workflow" / "rules").glob("*.smk")]
    commands = [command for file in files for command in re.findall(r'"((?:exec )?iou-aware [^"]*)"', file.read_text())]
    assert len(commands) > len(files)
    for command in commands:
        words = re.findall(r"\{[^}]*\}", command)
        assert words and all(word.endswith(":q}") for word in words), command
