"""An experiment's YAML: what it becomes, and how every mistake in it is named before anything is trained."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from iou_aware.documents import one_of
from iou_aware.errors import InputError
from iou_aware.experiment.experiment import Experiment

EXPERIMENTS = Path(__file__).parent.parent / "configs" / "experiments"
TEXT = """\
experiment: trial
title: A trial
defaults: {recipe: quick, seed: 0, target_grad: false}
rules: [none, alpha=0.5, alpha=1]
runs:
  - {dataset: shapes, scale: 96x64, detector: [faster_rcnn, retinanet], backbone: [r50, r101]}
  - dataset: shapes
    scale: 96x64
    detector: iou_aware_retinanet
    backbone: [r50, r101]
    iou_loss: [bce, l2]
tables:
  table2:
    paper: table2
    caption: Losses
    split: val
    select: {dataset: shapes, backbone: r50}
    rows:
      baseline: {detector: retinanet}
      bce: {iou_loss: bce, rule: none}
      half: {iou_loss: bce, rule: alpha=0.50, label: Half, addition: true}
"""
DATASET = """\
dataset: shapes
layout: coco
root: data/shapes
splits:
  train: {annotations: train.json, images: train}
  val: {annotations: val.json, images: val}
train: train
evaluate: [val]
"""
FILES = {
    "configs/experiments/trial.yaml": TEXT,
    "configs/datasets/shapes.yaml": DATASET,
    "configs/detectors/quick/faster_rcnn.py": "",
    "configs/detectors/quick/retinanet.py": "",
    "configs/detectors/quick/iou_aware_retinanet.py": "",
    "configs/backbones/r50.py": "",
    "configs/backbones/r101.py": "",
    "configs/schedules/quick.py": "",
    "reports/paper/table2.csv": "row,cited,Loss,AP\nother,1,Other,1.0\nbaseline,0,baseline,2.0\nbce,0,BCE,3.0\n",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text: str = TEXT, **overrides) -> Experiment:
    path = Path("configs/experiments/trial.yaml")
    path.write_text(text)
    return Experiment.load(path, overrides)


def test_lists_multiply_out_in_the_order_written(project):
    assert list(load().runs) == [
        "shapes.faster_rcnn.r50.quick.96x64.seed0",
        "shapes.faster_rcnn.r101.quick.96x64.seed0",
        "shapes.retinanet.r50.quick.96x64.seed0",
        "shapes.retinanet.r101.quick.96x64.seed0",
        "shapes.iou_aware_retinanet.r50.bce.quick.96x64.seed0",
        "shapes.iou_aware_retinanet.r50.l2.quick.96x64.seed0",
        "shapes.iou_aware_retinanet.r101.bce.quick.96x64.seed0",
        "shapes.iou_aware_retinanet.r101.l2.quick.96x64.seed0",
    ]


def test_equal_runs_merge(project):
    again = "  - {dataset: shapes, scale: 96x64, detector: retinanet, backbone: r50}\ntables:"
    assert list(load(TEXT.replace("tables:", again)).runs) == list(load().runs)


def test_names_tell_runs_apart(project):
    content = yaml.safe_load(TEXT)
    content["runs"] = [
        content["runs"][0] | {"seed": [0, 1], "scale": ["96x64", "64x96"]},
        content["runs"][1] | {"target_grad": [False, True]},
    ]
    content["tables"] = {}
    experiment = load(**content)
    assert len(experiment.runs) == 2 * 2 * 2 * 2 + 2 * 2 * 2
    assert len({tuple(run.as_dict().items()) for run in experiment.runs.values()}) == len(experiment.runs)
    assert all(run.name == name for name, run in experiment.runs.items())


def test_iou_head_defaults_are_for_iou_aware_runs_only(project):
    runs = load().runs
    assert {(run.iou_loss, run.target_grad) for run in runs.values() if not run.is_iou_aware} == {(None, None)}
    assert {(run.iou_loss, run.target_grad) for run in runs.values() if run.is_iou_aware} == {
        ("bce", False),
        ("l2", False),
    }


def test_rules_are_written_one_way_and_baselines_are_ranked_by_cls(project):
    experiment = load()
    rules = {run.detector: experiment.rules_for(run) for run in experiment.runs.values()}
    assert rules == {
        "faster_rcnn": ["cls"],
        "retinanet": ["cls"],
        "iou_aware_retinanet": ["none", "alpha=0.50", "alpha=1.00"],
    }


def test_single_runs_have_rules_of_their_own(project):
    run = "dataset: shapes, scale: 96x64, detector: iou_aware_retinanet, backbone: r50, iou_loss: bce"
    own = f"  - {{{run}, rules: [oracle]}}"
    row = "      upper: {iou_loss: bce, rule: oracle=0.5, addition: true}"
    experiment = load(TEXT.replace("tables:", f"{own}\ntables:") + row)
    assert list(experiment.runs) == list(load().runs)
    rules = ["none", "alpha=0.50", "alpha=1.00"]
    for name, run in experiment.runs.items():
        expected = ["cls"] if not run.is_iou_aware else [*rules, "oracle=0.50"] if "r50.bce" in name else rules
        assert experiment.rules_for(run) == expected
    assert experiment.tables["table2"].rows["upper"].rule == "oracle=0.50"
    everywhere = load(TEXT.replace("alpha=1]", "alpha=1, oracle]"))
    with pytest.raises(InputError, match=r"rule oracle=0\.50 is not computed for .*r50\.l2"):
        load(TEXT.replace("tables:", f"{own}\ntables:") + row.replace("bce", "l2"))
    assert everywhere.runs == experiment.runs


def test_splits_come_from_the_dataset(project):
    experiment = load()
    assert set(experiment.evaluations()) == {(run, "val") for run in experiment.runs}


def test_rows_find_their_runs(project):
    table = load().tables["table2"]
    assert table.title == "Table 2"
    assert load(TEXT.replace("  table2:", "  per_class:")).tables["per_class"].title == "Per class"
    assert {key: (row.runs, row.rule, row.label, row.addition) for key, row in table.rows.items()} == {
        "baseline": (("shapes.retinanet.r50.quick.96x64.seed0",), "cls", None, False),
        "bce": (("shapes.iou_aware_retinanet.r50.bce.quick.96x64.seed0",), "none", None, False),
        "half": (("shapes.iou_aware_retinanet.r50.bce.quick.96x64.seed0",), "alpha=0.50", "Half", True),
    }


def test_a_row_gathers_all_seeds(project):
    experiment = load(TEXT.replace("seed: 0", "seed: [3, 4]"))
    assert experiment.tables["table2"].rows["baseline"].runs == (
        "shapes.retinanet.r50.quick.96x64.seed3",
        "shapes.retinanet.r50.quick.96x64.seed4",
    )


def test_a_row_can_take_back_what_its_table_selects(project):
    text = TEXT.replace("select: {", "select: {detector: iou_aware_retinanet, iou_loss: bce, ").replace(
        "{detector: retinanet}", "{detector: retinanet, iou_loss: null}"
    )
    rows = load(text).tables["table2"].rows
    assert rows["baseline"].runs == ("shapes.retinanet.r50.quick.96x64.seed0",)


def test_overrides_replace_what_the_file_says(project):
    experiment = load(rules=["none", "alpha=0.50", "alpha=0.20"], roots={"shapes": "elsewhere"})
    assert experiment.rules == ("none", "alpha=0.50", "alpha=0.20")
    assert experiment.datasets["shapes"].root == Path("elsewhere")


def test_the_resolved_copy_is_the_same_experiment(project):
    experiment = load(title="Another")
    path = experiment.write_resolved()
    assert path == Path("results/trial/experiment.yaml")
    assert Experiment.load(path) == experiment


def test_the_resolved_copy_is_left_alone_when_nothing_changed(project):
    path = load().write_resolved()
    before = path.stat().st_mtime_ns, path.stat().st_ino
    load().write_resolved()
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
    machine = {"workers": 2, "device": "cpu", "tensorboard": True}
    assert values == load(settings={"epochs": 3} | machine).training_values(name)
    assert values == load(settings={"epochs": 3}, rules=["none", "alpha=0.50", "alpha=0.10"]).training_values(name)


MISTAKES = {
    "unknown key": ("title: A trial", "title: A trial\nrule: [none]", 3, "key rule", "Did you mean 'rules'?"),
    "unknown key below": ("scale: 96x64\n", "scael: 96x64\n", 8, "key runs[1].scael", "Did you mean 'scale'?"),
    "missing key": ("title: A trial\n", "", 1, "'title' is missing", "heading of the report"),
    "duplicate key": ("title: A trial", "title: A trial\ntitle: B", 3, "key title", "written twice, first in line 2"),
    "not YAML": ("rules: [none", "rules: {none", 4, "not valid YAML"),
    "unknown rule": ("[none, alpha=0.5,", "[none, beta=0.5,", 4, "key rules[1]", "beta=0.5", "alpha=A"),
    "alpha above 1": ("alpha=0.5,", "alpha=1.5,", 4, "key rules[1]", "alpha=1.5", "[0, 1]"),
    "alpha below 0": ("alpha=0.5,", "alpha=-0.1,", 4, "key rules[1]", "alpha=-0.1", "[0, 1]"),
    "rule twice": ("alpha=1]", "alpha=0.500]", 4, "key rules[2]", "alpha=0.50 stands here twice"),
    "rules not a list": ("[none, alpha=0.5, alpha=1]", "none", 4, "key rules", "found 'none'"),
    "unknown dataset": ("dataset: shapes\n", "dataset: shape\n", 7, "key runs[1].dataset", "Did you mean 'shapes'?"),
    "unknown detector": ("[faster_rcnn,", "[fast_rcnn,", 6, "runs[0].detector", "'faster_rcnn'", "quick/fast_rcnn.py"),
    "unknown backbone": ("backbone: [r50, r101]\n", "backbone: r51\n", 10, "runs[1].backbone", "r101 or r50"),
    "unknown recipe": ("recipe: quick", "recipe: quack", 3, "key defaults.recipe", "Did you mean 'quick'?"),
    "bad scale": ("scale: 96x64\n", "scale: 96\n", 8, "key runs[1].scale", "found 96", "WIDTHxHEIGHT"),
    "bad scale text": ("scale: 96x64\n", "scale: 96*64\n", 8, "key runs[1].scale", "'96*64'", "WIDTHxHEIGHT"),
    "bad seed": ("seed: 0", "seed: -1", 3, "key defaults.seed", "found -1", "whole number from 0"),
    "no detector": ("    detector: iou_aware_retinanet\n", "", 7, "key runs[1]", "detector is missing"),
    "loss on a baseline": (
        "backbone: [r50, r101]}",
        "backbone: r50, iou_loss: l1}",
        6,
        "no IoU head",
        "runs[0].iou_loss",
    ),
    "rules of a baseline": ("backbone: [r50, r101]}", "backbone: r50, rules: [none]}", 6, "no IoU", "runs[0].rules"),
    "bad rule of a run": (
        "iou_loss: [bce, l2]",
        "iou_loss: bce\n    rules: [alpha=7]",
        12,
        "runs[1].rules[0]",
        "[0, 1]",
    ),
    "loss missing": ("    iou_loss: [bce, l2]\n", "", 7, "key runs[1]", "iou_loss is missing"),
    "unknown loss": ("[bce, l2]", "[bce, l3]", 11, "key runs[1].iou_loss[1]", "found 'l3'", "bce, l2 or l1"),
    "row without a run": (
        "{iou_loss: bce, rule: none}",
        "{iou_loss: l1, rule: none}",
        20,
        "no run",
        "has iou_loss bce",
    ),
    "ambiguous row": ("{iou_loss: bce, rule: none}", "{rule: none}", 20, "differ in detector, iou_loss"),
    "rule never computed": ("rule: none}", "rule: alpha=0.30}", 20, "rows.bce.rule", "alpha=0.30 is not computed"),
    "rule of a baseline": ("{detector: retinanet}", "{detector: retinanet, rule: none}", 19, "expected cls"),
    "rule missing": (", rule: none}", "}", 20, "key tables.table2.rows.bce", "rule is missing"),
    "bad rule of a row": ("rule: none}", "rule: alpha=2}", 20, "rows.bce.rule", "[0, 1]"),
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
    "unknown setting": ("runs:", "settings: {epoch: 3}\nruns:", 5, "settings.epoch", "Did you mean 'epochs'?"),
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


def test_an_override_may_rename_an_experiment(project):
    renamed = load(experiment="other")
    assert renamed.results == Path("results/other")
    assert Experiment.load(renamed.write_resolved()).name == "other"


def test_a_missing_file_is_named(project):
    with pytest.raises(InputError, match=r"trail\.yaml: there is no such file; .* Did you mean '.*/trial\.yaml'"):
        Experiment.load("configs/experiments/trail.yaml")


def test_an_experiment_outside_of_a_project_is_refused(tmp_path):
    (tmp_path / "trial.yaml").write_text(TEXT)
    with pytest.raises(InputError, match="configs/"):
        Experiment.load(tmp_path / "trial.yaml")


def test_a_name_is_listed_once(project):
    assert one_of(["bce", "l2", "bce"]) == "bce or l2."


def test_many_names_are_not_all_listed(project):
    experiment = load(TEXT.replace("seed: 0", f"seed: {list(range(50))}"))
    with pytest.raises(InputError, match=r"Did you mean 'shapes\.retinanet\.r50\.quick\.96x64\.seed7'") as caught:
        experiment.run("shapes.retinanet.r50.quick.96x64.seed7x")
    assert len(str(caught.value)) < 2000


def test_reading_one_needs_neither_torch_nor_a_second(project):
    code = (
        "import sys; from iou_aware.experiment.experiment import Experiment;"
        "Experiment.load('configs/experiments/trial.yaml');"
        "print([name for name in ('torch', 'mmengine', 'pandas', 'jsonschema') if name in sys.modules])"
    )
    load()
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_ten_times_the_grid_costs_about_ten_times_as_much(project):
    """Counts calls rather than seconds, so that a busy machine changes nothing."""

    def calls(seeds: int) -> int:
        content = yaml.safe_load(TEXT)
        content["defaults"]["seed"] = list(range(seeds))
        rows = {f"seed{seed}": {"detector": "retinanet", "seed": seed, "addition": True} for seed in range(seeds)}
        content["tables"]["table2"]["rows"] |= rows
        counter = itertools.count()
        sys.setprofile(lambda *_: next(counter))
        try:
            load(**content)
        finally:
            sys.setprofile(None)
        return next(counter)

    load()
    assert calls(200) < 12 * calls(20)


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_experiments_of_this_project_are_valid(path):
    experiment = Experiment.load(path)
    assert experiment.name == path.stem
    assert experiment.tables
