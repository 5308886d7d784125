"""An experiment's YAML: what it becomes, and how every mistake in it is named before anything is trained."""

import os
from pathlib import Path

import pytest
import yaml
from builders.data import put
from builders.experiments import REPOSITORY, TEXT, load, with_a_table

from iou_aware.common.documents import one_of
from iou_aware.common.messages import InputError
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import matched_pairs

AWARE = "dataset: shapes, scale: 96x64, detector: iou_aware_retinanet, backbone: r50, iou_loss: bce"


def test_a_baseline_differs_in_nothing_but_the_iou_head(project):
    runs = load(TEXT.replace("seed: 0", "seed: [0, 1]")).runs
    found = dict(matched_pairs(runs))
    assert set(found) == {name for name in runs if ".iou_aware_" in name} and len(found) == 8
    for name, baseline in found.items():
        _, _, backbone, _, *rest = name.split(".")
        assert baseline == ".".join(["shapes.retinanet", backbone, *rest])
    alone = {name: run for name, run in runs.items() if run.detector != "retinanet"}
    assert matched_pairs(alone) == []


def test_lists_multiply_out_in_the_order_written_and_equal_runs_merge(project):
    again = "  - {dataset: shapes, scale: 96x64, detector: retinanet, backbone: r50}\ntables:"
    models = [
        *("faster_rcnn.r50", "faster_rcnn.r101", "retinanet.r50", "retinanet.r101"),
        *("iou_aware_retinanet.r50.bce", "iou_aware_retinanet.r50.l2"),
        *("iou_aware_retinanet.r101.bce", "iou_aware_retinanet.r101.l2"),
    ]
    assert list(load(TEXT.replace("tables:", again)).runs) == [f"shapes.{model}.quick.96x64.seed0" for model in models]


def test_names_tell_runs_apart(project):
    text = TEXT.replace("seed: 0, target_grad: false", "seed: [0, 1], target_grad: [false, true]")
    content = with_a_table(yaml.safe_load(text.replace("96x64", "[96x64, 64x96]")) | {"tables": {}}, "val")
    runs = load(**content).runs
    assert len(runs) == 2**4 + 2**5 == len({tuple(run.as_dict().items()) for run in runs.values()})
    assert all(run.name == name for name, run in runs.items())


def test_iou_head_defaults_are_for_iou_aware_runs_only(project):
    found = {(run.is_iou_aware, run.iou_loss, run.target_grad) for run in load().runs.values()}
    assert found == {(False, None, None), (True, "bce", False), (True, "l2", False)}


def test_rules_are_written_one_way_and_baselines_are_ranked_by_cls(project):
    experiment = load(TEXT.replace("alpha=1]", "alpha=1, alpha=0.500]"))
    rules = {run.detector: experiment.rules_for(run) for run in experiment.runs.values()}
    ours = ["none", "alpha=0.50", "alpha=1.00"]
    assert rules == {"faster_rcnn": ["cls"], "retinanet": ["cls"], "iou_aware_retinanet": ours}


def test_single_runs_have_rules_of_their_own(project):
    own = f"  - {{{AWARE}, rules: [oracle]}}"
    row = "      upper: {iou_loss: bce, rule: oracle=0.5, addition: true}"
    experiment = load(TEXT.replace("tables:", f"{own}\ntables:") + row)
    assert list(experiment.runs) == list(load().runs)
    rules = ["none", "alpha=0.50", "alpha=1.00"]
    for name, run in experiment.runs.items():
        expected = ["cls"] if not run.is_iou_aware else [*rules, "oracle=0.50"] if "r50.bce" in name else rules
        assert experiment.rules_for(run) == expected
    assert experiment.tables["table2"].rows["upper"].rule == "oracle=0.50"
    with pytest.raises(InputError, match=r"unknown rule of .*r50\.l2\S* 'oracle=0\.50'"):
        load(TEXT.replace("tables:", f"{own}\ntables:") + row.replace("bce", "l2"))


def test_a_new_alpha_is_one_edit(project):
    sweep = """      sweep: {iou_loss: bce, by_rule: {oracle: "{alpha} {true}", alpha: null}}"""
    text = TEXT.replace("tables:", f"  - {{{AWARE}, rules: [oracle=*]}}\ntables:") + sweep
    expected = ["baseline", "bce", "half"]
    for alphas in (["1.0", "0.5"], ["1.0", "0.55", "0.5"]):  # the second has one more in `rules` and nowhere else
        table = load(text.replace("alpha=1]", f"{', '.join(f'alpha={alpha}' for alpha in alphas if alpha != '0.5')}]"))
        rows = table.tables["table2"].rows
        assert list(rows) == expected + [f"{kind}_{alpha}" for alpha in alphas for kind in ("oracle", "alpha")]
        assert [rows[f"oracle_{alpha}"].label for alpha in alphas] == [f"{alpha} {{true}}" for alpha in alphas]
        assert {str(float(rows[f"alpha_{alpha}"].rule.partition("=")[2])) for alpha in alphas} == set(alphas)
        assert all(rows[f"alpha_{alpha}"].label is None for alpha in alphas)


def test_rows_find_their_runs_of_all_seeds(project):
    table = load().tables["table2"]
    assert (table.title, table.per_class) == ("Table 2", False)
    assert load(TEXT.replace("  table2:", "  per_class:")).tables["per_class"].title == "Per class"
    seeds = load(TEXT.replace("seed: 0", "seed: [3, 4]")).tables["table2"].rows["baseline"].runs
    assert seeds == tuple(f"shapes.retinanet.r50.quick.96x64.seed{seed}" for seed in (3, 4))
    assert {key: (row.runs, row.rule, row.label) for key, row in table.rows.items()} == {
        "baseline": (("shapes.retinanet.r50.quick.96x64.seed0",), "cls", None),
        "bce": (("shapes.iou_aware_retinanet.r50.bce.quick.96x64.seed0",), "none", None),
        "half": (("shapes.iou_aware_retinanet.r50.bce.quick.96x64.seed0",), "alpha=0.50", "Half"),
    }


def test_a_row_can_take_back_what_its_table_selects(project):
    text = TEXT.replace("select: {", "select: {detector: iou_aware_retinanet, iou_loss: bce, ")
    rows = load(text.replace("{detector: retinanet}", "{detector: retinanet, iou_loss: null}")).tables["table2"].rows
    assert rows["baseline"].runs == ("shapes.retinanet.r50.quick.96x64.seed0",)


def test_the_resolved_copy_holds_what_was_overridden_and_is_left_alone_when_nothing_changed(project):
    experiment = load(experiment="other", rules=["none", "alpha=0.50", "alpha=0.20"], roots={"shapes": "elsewhere"})
    assert experiment.rules == ("none", "alpha=0.50", "alpha=0.20")
    assert experiment.datasets["shapes"].root == Path("elsewhere")
    path = experiment.write_resolved()
    assert path == Path("results/other/experiment.yaml")
    assert Experiment.load(path) == experiment
    before = path.stat().st_mtime_ns, path.stat().st_ino
    experiment.write_resolved()
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_paths_are_relative_in_the_project_and_absolute_elsewhere(project, monkeypatch):
    assert load().paths.weights("{run}") == Path("results/trial/runs/{run}/weights.pth")
    (project / "deeper").mkdir()
    monkeypatch.chdir(project / "deeper")
    experiment = Experiment.load("../configs/experiments/trial.yaml")
    assert experiment.paths.metrics.resolve() == (project / "results/trial/metrics.csv").resolve()


def test_what_decides_training_leaves_the_machine_out(project):
    name = "shapes.retinanet.r50.quick.96x64.seed0"
    values = load(settings={"epochs": 3}).training_values(name)
    assert values != load(settings={"epochs": 4}).training_values(name)
    machine = {"workers": 2, "device": "cpu"}
    assert values == load(settings={"epochs": 3} | machine).training_values(name)
    assert values == load(settings={"epochs": 3}, rules=["none", "alpha=0.50", "alpha=0.10"]).training_values(name)


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("configs/experiments/*.yaml")), ids=lambda path: path.stem)
def test_the_experiments_of_this_project_are_valid(path):
    assert Experiment.load(path).name == path.stem


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
    "row unknown to the paper": ("      bce:", "      bcf:", 20, "rows.bcf", "Did you mean 'bce'?", "addition: true"),
    "cited row": ("      bce:", "      other:", 20, "rows.other", "table2.csv"),
    "unknown table": ("paper: table2", "paper: table9", 14, "key tables.table2.paper", "Did you mean 'table2'?"),
    "columns missing": ("    paper: table2\n", "", 13, "key tables.table2", "columns is missing"),
    "unknown column": ("paper: table2", "columns: [AP, APP50]", 14, "tables.table2.columns[1]", "Did you mean 'AP50'?"),
    "a list's kind": ("[none, alpha=0.5, alpha=1]", "none", 4, "key rules: found 'none', expected a list: "),
    "misspelt, so missing": ("title: A", "titel: A", 2, "key titel: unknown key; expected", "Did you mean 'title'?"),
    "another's name": ("experiment: trial", "experiment: trail", 1, "'trail', expected 'trial', the name of the file"),
    "unknown split": ("split: val", "split: vall", 16, "key tables.table2.split", "Did you mean 'val'?"),
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
