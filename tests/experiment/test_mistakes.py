"""An experiment's YAML: how every mistake in it is named before anything is trained."""

import os

import pytest
from builders.data import put
from builders.experiments import TEXT, load

from iou_aware.common.documents import one_of
from iou_aware.common.messages import InputError
from iou_aware.experiment.experiment import Experiment

BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
MISTAKES = {
    "unknown key": ("title: A trial", "title: A trial\nrule: [none]", 3, "key rule", "Did you mean 'rules'?"),
    "missing key": ("title: A trial\n", "", 1, "'title' is missing", "heading of the report"),
    "duplicate key": ("title: A trial", "title: A trial\ntitle: B", 3, "key title", "written twice, first in line 2"),
    "not YAML": ("rules: [none", "rules: {none", 4, "not valid YAML"),
    "unknown rule": ("[none, alpha=0.5,", "[none, beta=0.5,", 4, "key rules[1]", "beta=0.5", "alpha=A"),
    "unknown dataset": ("dataset: shapes\n", "dataset: shape\n", 7, "key runs[1].dataset", "Did you mean 'shapes'?"),
    "unknown detector": ("[faster_rcnn,", "[fast_rcnn,", 6, "runs[0].detector", "'faster_rcnn'", "detectors/quick"),
    "unknown recipe": ("recipe: quick", "recipe: quack", 3, "key defaults.recipe", "Did you mean 'quick'?"),
    "bad scale": ("scale: 96x64\n", "scale: 96\n", 8, "key runs[1].scale", "found 96", "WIDTHxHEIGHT"),
    "bad seed": ("seed: 0", "seed: -1", 3, "key defaults.seed", "found -1", "whole number from 0"),
    "no detector": ("    detector: iou_aware_retinanet\n", "", 7, "key runs[1]", "detector is missing"),
    "loss on a baseline": ("[r50, r101]}", "r50, iou_loss: l1}", 6, "no IoU head", "runs[0].iou_loss"),
    "rules of a baseline": ("[r50, r101]}", "r50, rules: [none]}", 6, "no IoU head", "runs[0].rules"),
    "bad rule of a run": ("[bce, l2]", "bce\n    rules: [alpha=7]", 12, "runs[1].rules[0]", "[0, 1]"),
    "loss missing": ("    iou_loss: [bce, l2]\n", "", 7, "key runs[1]", "iou_loss is missing"),
    "unknown loss": ("[bce, l2]", "[bce, l3]", 11, "key runs[1].iou_loss[1]", "found 'l3'", "bce, l2 or l1"),
    "row without a run": ("bce, rule: none}", "l1, rule: none}", 20, "no run", "has iou_loss bce"),
    "ambiguous row": ("{iou_loss: bce, rule: none}", "{rule: none}", 20, "differ in detector, iou_loss"),
    "rule never computed": ("rule: none}", "rule: alpha=0.30}", 20, "rows.bce.rule", "unknown rule", "'alpha=0.30'"),
    "rule of a baseline": ("{detector: retinanet}", "{detector: retinanet, rule: none}", 19, "expected cls"),
    "rule missing": (", rule: none}", "}", 20, "key tables.table2.rows.bce", "rule is missing"),
    "row unknown to the paper": ("      bce:", "      bcf:", 20, "rows.bcf", "Did you mean 'bce'?", "table2.csv"),
    "cited row": ("      bce:", "      other:", 20, "rows.other", "table2.csv"),
    "unknown table": ("paper: table2", "paper: table9", 14, "key tables.table2.paper", "Did you mean 'table2'?"),
    "columns missing": ("    paper: table2\n", "", 13, "key tables.table2", "columns is missing"),
    "unknown column": ("paper: table2", "columns: [AP, APP50]", 14, "tables.table2.columns[1]", "Did you mean 'AP50'?"),
    "a list's kind": ("[none, alpha=0.5, alpha=1]", "none", 4, "key rules: found 'none', expected a list: "),
    "misspelt, so missing": ("title: A", "titel: A", 2, "key titel: unknown key; expected", "Did you mean 'title'?"),
    "another's name": ("experiment: trial", "experiment: trail", 1, "'trail', expected 'trial', the name of the file"),
    "unknown split": ("split: val", "split: vall", 16, "key tables.table2.split", "Did you mean 'val'?"),
    "bad name": ("experiment: trial", "experiment: ../trial", 1, "key experiment", "letters, digits"),
    "empty": (TEXT, "", "configs/experiments/trial.yaml"),
    "root of no dataset": ("runs:", "roots: {shape: here}\nruns:", 5, "key roots.shape", "Did you mean 'shapes'?"),
    "an object": ("runs:", "settings: {augmentations: [{type: os.system}]}\nruns:", 5, "[0].type: found 'os.system'"),
    "whole number with a point": ("seed: 0", "seed: 1.0", 3, "key defaults.seed: found 1.0", "a whole number from 0"),
    "sweep of nothing": ("{iou_loss: bce, rule: none}", "{iou_loss: bce, by_rule: {oracle: null}}", 20, "kind oracle"),
    "no table": (TEXT[TEXT.index("tables:") :], "tables: {}", 12, "key tables: found {}", "one at least"),
    "date": ("A trial", "2024-01-01", 2, "found '2024-01-01' (date)", "Put text in quotes"),
    "no such date": ("A trial", "2024-13-45", 2, "'2024-13-45'", "Put text in quotes"),
    "no number": ("seed: 0", "seed: !!int x", 3, "found 'x'", "a finite number"),
    "NUL": ("A trial", '"a\\0b"', 2, r"found 'a\x00b'", "printable text"),
    "huge": ("seed: 0", f"seed: {'9' * 40}", 3, "(int)", "below 2^63"),
    "infinite": ("runs:", "noise_in: {table2: .inf}\nruns:", 5, "found '.inf' (float)", "below 2^63"),
    "wide": ("96x64", f"{'9' * 5000}x1", 6, "runs[0].scale", "WIDTHxHEIGHT"),
    "within itself": ("A trial", "&a [*a]", 2, "more than 50 lists or mappings within each other"),
    "endless by aliases": ("rules:", BOMB + "rules:", "more than 100000 values, aliases written out"),
    "merging": ("A trial", "{<<: {a: b}}", 2, "could not determine a constructor for the tag"),
    "deep blocks": ("A trial", "\n  " + "- " * 100_000, 3, "more than 50 lists or mappings within each other"),
    "too large": ("A trial", "A trial # " + "x" * (4 << 20), "bytes, more than 4194304"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_with_file_line_and_key(project, mistake):
    before, after, *expected = MISTAKES[mistake]
    assert before in TEXT
    with pytest.raises(InputError) as caught:
        load(TEXT.replace(before, after, 1))
    message = str(caught.value)
    assert message.startswith("configs/experiments/trial.yaml")
    for part in expected:
        assert (f", line {part}" if isinstance(part, int) else part) in message


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("configs/experiments/pipe.yaml", r"pipe\.yaml: .*no regular file"),  # which would be waited for
        ("configs/experiments/trail.yaml", r"trail\.yaml: there is no such file; .* Did you mean '.*/trial\.yaml'"),
        ("{}/outside.yaml", "below a project's folder, one that holds configs/; found none"),
    ],
)
def test_files_that_are_no_experiments_are_named(project, file, told, tmp_path_factory):
    os.mkfifo("configs/experiments/pipe.yaml")
    outside = put(tmp_path_factory.mktemp("outside") / "outside.yaml", TEXT).parent
    with pytest.raises(InputError, match=told):
        Experiment.load(file.format(outside))


def test_a_name_is_listed_once():
    assert one_of(["bce", "l2", "bce"]) == "bce or l2."


def test_many_names_are_not_all_listed(project):
    experiment = load(TEXT.replace("seed: 0", f"seed: {list(range(50))}"))
    with pytest.raises(InputError, match=r"Did you mean 'shapes\.retinanet\.r50\.quick\.96x64\.seed7'") as caught:
        experiment.run("shapes.retinanet.r50.quick.96x64.seed7x")
    assert len(str(caught.value)) < 2000
