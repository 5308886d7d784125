"""An experiment's YAML: what it becomes."""

from pathlib import Path

import pytest
import yaml
from builders.experiments import TEXT, load, with_a_table

from iou_aware.common.messages import InputError
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import matched_pairs

AWARE = "dataset: shapes, scale: 96x64, detector: iou_aware_retinanet, backbone: r50, iou_loss: bce"
EXPERIMENTS = Path(__file__).parents[2] / "configs" / "experiments"


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
    assert table.title == "Table 2"
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


def test_overrides_replace_what_the_file_says(project):
    experiment = load(rules=["none", "alpha=0.50", "alpha=0.20"], roots={"shapes": "elsewhere"})
    assert experiment.rules == ("none", "alpha=0.50", "alpha=0.20")
    assert experiment.datasets["shapes"].root == Path("elsewhere")


def test_the_resolved_copy_is_the_same_experiment_and_left_alone_when_nothing_changed(project):
    experiment = load(title="Another")
    path = experiment.write_resolved()
    assert path == Path("results/trial/experiment.yaml")
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


def test_an_override_may_rename_an_experiment(project):
    renamed = load(experiment="other")
    assert renamed.results == Path("results/other")
    assert Experiment.load(renamed.write_resolved()).name == "other"


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_experiments_of_this_project_are_valid(path):
    experiment = Experiment.load(path)
    assert experiment.name == path.stem
    assert experiment.tables
