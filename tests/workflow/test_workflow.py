"""The workflow: what runs, what runs again after a change, and what does not.

The stages themselves are stood in for by a shell script that writes their files, so that only Snakemake's decisions are
looked at. The project is a copy, with its own copy of the package, whose files the tests change.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from builders.data import put
from builders.processes import python
from builders.results import AWARE, BASELINE, SMALL_RUN
from builders.workflows import CONFIG, NOTEBOOKS, PREDICTED, SMALL, Project
from snakemake.cli import parse_config
from snakemake.utils import update_config

from iou_aware.workflow import stages as workflow

# What reads the tables.
READ = {"notebook": NOTEBOOKS, "report": 1}
ANALYSIS = Path(workflow.__file__).parents[1] / "analysis"


def test_a_finished_study_has_all_files_and_nothing_to_do(finished):
    assert finished.plan() == {}
    results = finished.folder / "results" / "study"
    for job in (f"train/{BASELINE}", f"train/{AWARE}", f"predict/{AWARE}.val", "collect", "figures", "report"):
        assert (results / "logs" / f"{job}.log").is_file()
        assert (results / "benchmarks" / f"{job}.tsv").read_text().startswith("s\t")


def half_a_row(study: Project) -> None:
    table = SMALL["tables"]["losses"]
    study.set(tables={"losses": table | {"rows": table["rows"] | {"half": {"iou_loss": "bce", "rule": "alpha=0.50"}}}})


def changed(*file_and_text: str) -> Callable[[Project], None]:
    return lambda study: study.append(*file_and_text)


CHANGES = {
    "alpha": (lambda study: study.set(rules=["none", "alpha=0.50", "alpha=0.25"]), PREDICTED),
    "run": (
        lambda study: study.set(runs=[*SMALL["runs"], SMALL_RUN | {"detector": "retinanet", "seed": 1}]),
        {"train": 1, **PREDICTED},
    ),
    "row": (half_a_row, {"table": 1} | READ),
    "machine": (lambda study: study.set(settings={"workers": 2, "device": "cpu"}), {}),
    "figures": (changed("src/iou_aware/analysis/figures/gains.py"), {"figures": 1, "report": 1}),
    "tables": (changed("src/iou_aware/analysis/tables/rows.py"), {"table": 1, "figures": 1} | READ),
    "template": (changed("src/iou_aware/analysis/tables/table.html.j2"), {"table": 1} | READ),
    "measure": (changed("src/iou_aware/evaluation/lrp.py"), {"premise": 1, "figures": 1, "claims": 1} | READ),
    "report": (changed("reports/report.ipynb", " "), {"report": 1}),
    "notebook": (changed("reports/alpha.ipynb", " "), {"notebook": 1, "report": 1}),
    "own notebook": (changed("reports/mine.ipynb", "{}"), {"notebook": 1, "report": 1}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_runs_what_follows_from_it_and_nothing_else(study, name):
    change, expected = CHANGES[name]
    change(study)
    assert study.plan() == expected


def test_released_weights_are_fetched_where_others_are_trained(tmp_path):
    for file in ("detectors/zoo/retinanet.py", "schedules/zoo.py"):
        put(tmp_path / "configs" / file, "released = dict(tiny='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')")
    put(tmp_path / "configs" / "backbones" / "zoo.py", "")  # a run that is trained may have the word in its name
    named_so, fetched = BASELINE.replace("tiny", "zoo"), BASELINE.replace("quick", "zoo")
    more = [SMALL_RUN | {"detector": "retinanet"} | value for value in ({"recipe": "zoo"}, {"backbone": "zoo"})]
    project = Project(tmp_path, **SMALL | {"runs": [*SMALL["runs"], *more], "tables": {}})
    project.run()
    runs = (tmp_path / "results" / "study" / "runs").iterdir()
    stages = {folder.name: (folder / "run.json").read_text().split()[0] for folder in runs}
    assert stages == {BASELINE: "train", AWARE: "train", named_so: "train", fetched: "release"}
    assert project.plan() == {}
    for change, again in (
        (lambda: project.set(settings={"epochs": 2}), {"train": 3}),
        (lambda: project.set(settings={}), {}),
        (lambda: project.append("configs/detectors/zoo/retinanet.py"), {"release": 1}),
    ):
        change()
        assert {stage: count for stage, count in project.plan().items() if stage in ("train", "release")} == again


# The command `compare` is no stage.
@pytest.mark.parametrize(
    "stage", sorted({folder.parent.name for folder in ANALYSIS.glob("*/__init__.py")} - {"compare"})
)
def test_the_code_of_a_stage_is_all_that_python_imports_for_it(stage):
    modules = [f"iou_aware.analysis.{stage}.{file.stem}" for file in (ANALYSIS / stage).glob("[!_]*.py")]
    code = (
        "import importlib, json, sys; [importlib.import_module(name) for name in sys.argv[1:]];"
        "print(json.dumps([getattr(module, '__file__', None) for module in sys.modules.values()]))"
    )
    done = python("-c", code, *modules, check=True)
    imported = {Path(file) for file in filter(None, json.loads(done.stdout)) if Path(file).name != "__init__.py"}
    ours = {file for file in imported if {ANALYSIS, ANALYSIS.with_name("evaluation")} & set(file.parents)}
    declared = {Path(file).absolute() for file in workflow.code(stage)}
    assert ours and ours <= declared
    # What is imported as a function is called, such as seaborn, is nothing of ours here.
    others = {file for file in declared - ours if file.name != "__init__.py"}
    style = {ANALYSIS / "style.mplstyle"} if ANALYSIS / "style.py" in ours else set()
    assert others == {*(ANALYSIS / stage).rglob("*.j2"), *style}


@pytest.mark.parametrize(
    ("file", "trained"),
    [
        ("configs/detectors/quick/retinanet.py", 2),  # the other's base
        ("configs/detectors/quick/iou_aware_retinanet.py", 1),
        ("configs/schedules/quick.py", 1),
        ("configs/backbones/tiny.py", 2),
        ("configs/backbones/deep.py", 0),
    ],
)
def test_a_changed_config_trains_the_runs_made_of_it(study, file, trained):
    study.append(file)
    assert study.plan().get("train", 0) == trained


def test_the_stages_read_what_the_command_line_changed(study):
    changed = ["--config", "rules=[none,alpha=0.5,alpha=0.25]"]
    assert study.plan(*changed) == PREDICTED
    study.run(*changed)
    resolved = study.folder / "results/study/experiment.yaml"
    assert yaml.safe_load(resolved.read_text())["rules"] == ["none", "alpha=0.5", "alpha=0.25"]


@pytest.mark.parametrize(
    ("option", "key", "found"),
    [
        ("settings={epochs: 3, amp: false}", "settings", {"epochs": 3, "amp": False, "device": "cpu"}),
        ("noise_in={losses: 1.5}", "noise_in", {"losses": 1.5}),
        ("roots={shapes: 2024}", "roots", {"shapes": "2024"}),
        ("rules=[none, alpha=0.5]", "rules", ("none", "alpha=0.50")),
    ],
)
def test_values_within_one_of_the_command_line_are_what_they_are_in_the_file(study, option, key, found):
    study.set(settings={"device": "cpu", "epochs": 2}, roots={"shapes": "2024"})
    file = study.folder / CONFIG
    config = yaml.safe_load(file.read_text())
    update_config(config, parse_config([option]))
    assert getattr(workflow.load([file], config), key) == found


def test_a_mistake_is_told_before_anything_runs(study):
    study.set(rules=["none", "alpha=1.5"])
    done = study.snakemake()
    assert done.returncode != 0
    assert re.search(r"configs/experiments/study\.yaml, line \d+, key rules\[1\]: .*alpha=1\.5.*\[0, 1\]", done.stderr)


def test_braces_in_the_path_of_the_project_are_told(tmp_path):
    stopped = Project(tmp_path / "a{b}", **SMALL).snakemake("--dry-run")
    assert stopped.returncode != 0
    assert "a{b}: Snakemake takes braces in a path for wildcards" in stopped.stdout + stopped.stderr


def test_snakemakes_report_has_a_category_per_table_and_takes_titles_as_text(study, tmp_path):
    (tmp_path / "secret").write_text("a secret of the machine's")
    hostile = "\n\n\u2028".join([f".. include:: {tmp_path / 'secret'}"] * 3) + " {x} {{y}} {wildcards.z}"
    losses = SMALL["tables"]["losses"] | {"caption": hostile}
    study.set(title=hostile, tables={"table1": losses, "own": losses})
    study.run()
    assert study.plan() == {}
    study.run("--report", "report.zip")
    shutil.unpack_archive(study.folder / "report.zip", tmp_path / "unpacked")
    text = "".join(file.read_text(errors="ignore") for file in (tmp_path / "unpacked").rglob("*.html"))
    assert all(f'"{category}"' in text for category in ("Table 1", "Own", "Figures", "Training", "Notebooks"))
    assert "a secret of the machine's" not in text and "secret" in text
