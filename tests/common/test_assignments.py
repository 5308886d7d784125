"""Configs are read as data: what MMEngine reads by running them, and nothing that would have to be run."""

from pathlib import Path

import mmdet
import pytest
from mmengine.config import Config

from iou_aware.common import assignments
from iou_aware.common.messages import InputError

CONFIGS = Path(__file__).parents[2] / "configs"
OWN = [file for folder in ("detectors", "schedules", "backbones") for file in sorted((CONFIGS / folder).rglob("*.py"))]
THEIRS = sorted((Path(mmdet.__file__).parent / ".mim" / "configs" / "_base_" / "models").glob("*r50*.py"))


def plain(value):
    """Return a config without MMEngine's notes of where its parts came from."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items() if key != "_scope_"}
    return type(value)(map(plain, value)) if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("file", [*OWN, *THEIRS], ids=lambda file: "-".join(file.with_suffix("").parts[-2:]))
def test_a_config_is_read_as_mmengine_reads_it(file):
    expected = plain(Config.fromfile(file, import_custom_modules=False)._cfg_dict.to_dict())
    assert repr(assignments.read(file)) == repr(expected)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("import os\nos.mkdir('hacked')", 1),
        ("a = 1\nb = __import__('os').mkdir('hacked')", 2),
        ("a = [print for _ in (1,)]", 1),
        ("a = dict(**{'b': open('hacked', 'w')})", 1),
        ("a = dict(dict(b=1), c=2)", 1),
        ("a, b = 1, 2", 1),
        ("a = b", 1),
        ("a = 'x' * 10", 1),
        ("a = 2 ** 10", 1),
        ("a = 1 / 0", 1),
        ("a = dict(", 1),
        ("\n\na = {[]: 1}", 3),
    ],
)
@pytest.mark.parametrize("reader", [assignments.read, assignments.literals])
def test_what_would_have_to_be_run_is_refused(tmp_path, monkeypatch, reader, text, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.py").write_text(text)
    with pytest.raises(InputError, match=rf"odd\.py, line {line}: cannot be read as a config .*nothing in it was run"):
        reader(tmp_path / "odd.py")
    assert not (tmp_path / "hacked").exists()


def test_a_config_of_unknown_origin_refers_to_no_name(tmp_path):
    (tmp_path / "odd.py").write_text("a = 1\nb = dict(c=a)")
    assert assignments.read(tmp_path / "odd.py") == {"a": 1, "b": {"c": 1}}
    with pytest.raises(InputError, match=r"odd\.py, line 2"):
        assignments.literals(tmp_path / "odd.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("_base_ = 'nowhere::a.py'", r"odd\.py: it names nowhere::a\.py, but nowhere is not installed"),
        ("_base_ = './absent.py'", r"absent\.py: cannot be read"),
        ("_base_ = ['./one.py', './other.py']", r"odd\.py, _base_: 'a' is assigned by \./other\.py and"),
    ],
)
def test_bases_that_cannot_be_had_are_named(tmp_path, text, message):
    for name, content in {"odd": text, "one": "a = 1", "other": "a = 2"}.items():
        (tmp_path / f"{name}.py").write_text(content)
    with pytest.raises(InputError, match=message):
        assignments.read(tmp_path / "odd.py")
