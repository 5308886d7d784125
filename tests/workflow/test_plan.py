"""The plan: its hours follow from the published numbers, its jobs are Snakemake's, its days hold for any machine."""

import csv
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from iou_aware.common.assignments import place
from iou_aware.common.errors import InputError
from iou_aware.data.manifest import Manifest, SplitData
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.layout import STAGES
from iou_aware.experiment.recipe import Recipe
from iou_aware.training import config
from iou_aware.workflow.costs import Costs, Estimates
from iou_aware.workflow.needs import MOST_OF_TRAINING, Needs
from iou_aware.workflow.plan import duration, jobs, makespan, print_plan
from iou_aware.workflow.rows import print_rows

ROOT = Path(__file__).parents[2]
PAPER = "configs/experiments/paper.yaml"
RETINANET = "coco.retinanet.r50.paper.1333x800.seed0"
IOU_AWARE = "coco.iou_aware_retinanet.r50.bce.paper.1333x800.seed0"
SMALL = "coco.retinanet.r50.paper.1000x600.seed0"
VOC = "voc0712.retinanet.r101.paper.1000x600.seed1"


@pytest.fixture(autouse=True)
def in_project(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def paper() -> Experiment:
    return Experiment.load(PAPER)


def changed(path: Path, **settings) -> Experiment:
    """Return the paper's experiment with other settings, in a project of its own."""
    if not path.joinpath("configs").exists():
        path.joinpath("configs").symlink_to(ROOT / "configs")
        path.joinpath("reports").symlink_to(ROOT / "reports")
    return Experiment.load(path / PAPER, {"settings": settings})


def test_every_row_of_the_papers_tables_that_is_not_cited_has_its_runs(paper):
    reproduced = {table.paper: table for table in paper.tables.values() if table.paper}
    assert list(reproduced) == [f"table{number}" for number in range(1, 6)]
    for name, table in reproduced.items():
        with (ROOT / "reports" / "paper" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            ours = {row["row"] for row in csv.DictReader(file) if row["cited"] == "0"}
        assert ours == {key for key, row in table.rows.items() if not row.addition}, name
    needed = {run for table in paper.tables.values() for row in table.rows.values() for run in row.runs}
    assert needed == set(paper.runs)


def test_paper_has_baselines_under_the_same_recipe_and_three_seeds_on_voc(paper):
    aware = [run for run in paper.runs.values() if run.is_iou_aware]
    for run in aware:
        assert replace(run, detector="retinanet", iou_loss=None, target_grad=None).name in paper.runs
    shown = {run for table in paper.tables.values() if table.paper for row in table.rows.values() for run in row.runs}
    assert not any(paper.runs[run].target_grad for run in shown)
    assert {len(row.runs) for row in paper.tables["table5"].rows.values()} == {3}


def test_released_weights_stand_beside_the_baselines_of_table_1_and_cost_no_training(paper):
    rows = paper.tables["table1"].rows
    baselines = [key for key in rows if key.startswith(("retinanet", "faster_rcnn")) and not rows[key].addition]
    assert [rows[f"{key}_zoo"].runs for key in baselines] == [
        (replace(paper.run(rows[key].runs[0]), recipe="zoo").name,) for key in baselines
    ]
    assert {run for key in baselines for run in rows[f"{key}_zoo"].runs} == set(paper.released)
    estimates = Estimates(paper)
    for run in paper.released.values():
        trained = replace(run, recipe="paper")
        assert estimates.gpu_hours(run) == estimates.testing_hours(trained, "val")
        assert estimates.gigabytes(run) < estimates.gigabytes(trained)


def test_every_row_is_listed_with_configs_that_exist(paper, capsys):
    print_rows(paper)
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines(), delimiter="\t"))
    assert [(row["table"], row["row"]) for row in rows] == [
        (name, key) for name, table in paper.tables.items() for key in table.rows
    ]
    for row in rows:
        if row["recipe"] == "zoo":
            assert place(Path(), row["detector"]).is_file() and not row["backbone"]
        else:
            assert Path(row["detector"]).is_file() and Path(row["backbone"]).is_file()
        assert set(row["runs"].split(", ")) <= set(paper.runs)


def test_the_documentation_has_the_rows_as_they_are_configured(paper, capsys):
    print_rows(paper, markdown=True)
    printed = capsys.readouterr().out
    assert printed in (ROOT / "docs" / "rows.md").read_text(encoding="utf-8"), "see docs/rows.md for how it is made"
    assert all(
        row.key in printed for table in paper.tables.values() for row in table.rows.values() if "_0." not in row.key
    )
    assert all(str(paper.paths.detector(run.recipe, run.detector)) in printed for run in paper.trained.values())


def test_training_hours_are_the_published_ones(paper):
    estimates = Estimates(paper)
    # 12 epochs of 118,287 images, 16 per step of 0.308 s, on 8 GPUs.
    assert estimates.training_hours(paper.run(RETINANET)) == pytest.approx(12 * 118287 / 16 * 0.308 * 8 / 3600)
    # The small scale has 600,000 of 1,066,400 pixels; images per step change the steps and not the work.
    assert estimates.training_hours(paper.run(SMALL)) == pytest.approx(
        12 * 118287 / 16 * 0.308 * 8 / 3600 * 600_000 / 1_066_400
    )
    assert estimates.training_hours(paper.run(VOC)) == pytest.approx(
        12 * 16551 / 16 * 0.429 * 8 / 3600 * 600_000 / 1_066_400
    )
    assert estimates.training_hours(paper.run(IOU_AWARE)) == estimates.training_hours(paper.run(RETINANET))
    assert estimates.testing_hours(paper.run(RETINANET), "val") == pytest.approx(5000 / 12.1 / 3600)


def test_hours_follow_the_settings_and_the_speed_of_the_gpus(tmp_path):
    def hours(costs: Costs | None = None, **settings) -> float:
        experiment = changed(tmp_path, **settings)
        return Estimates(experiment, costs).training_hours(experiment.run(RETINANET))

    assert hours(epochs=3) == pytest.approx(hours() / 4)
    assert hours(images=1000) == pytest.approx(hours() * 1000 / 118287)
    assert hours(images=10**9) == hours()
    assert hours(gpus=8) == hours(batch_size=64) == hours()
    fast = replace(Costs.load(ROOT / "configs"), speed=2.5)
    assert hours(fast) == pytest.approx(hours() / 2.5)


@pytest.mark.parametrize("recipe", ["paper", "mmdet3"])
def test_recipe_says_what_the_run_is_trained_with(paper, tmp_path, recipe):
    """The plan reads recipes without MMDetection; training resolves them with it."""
    split = SplitData(annotations="a.json", images="i", labelled=True, counts={}, sha256="")
    splits = dict.fromkeys(["train", "trainval", "val", "test"], split)
    read = Recipe.load(paper.paths.schedule(recipe))
    runs = {(run.backbone, run.scale): run for run in paper.runs.values() if run.detector == "retinanet"}
    for run in runs.values():
        run = replace(run, recipe=recipe)
        data = paper.datasets[run.dataset]
        manifest = Manifest(run.dataset, "coco", "d", ["a"], [1], data.train, list(data.evaluate), "keep", splits)
        for settings in ({"gpus": 4}, {"gpus": 2, "batch_size": 32, "epochs": 5}):
            resolved = config.resolve(run, manifest, ROOT, settings, tmp_path)
            images = resolved.train_dataloader.batch_size * settings["gpus"]
            assert read.images_per_step(run, settings) == images
            assert read.passes(settings) == resolved.train_cfg.max_epochs


@pytest.mark.parametrize("submissions", [[], ["table1"]])
def test_jobs_are_those_that_snakemake_would_run(submissions):
    """Snakemake's own count, of a project in which nothing has been run."""
    paper = Experiment.load(PAPER, {"submissions": submissions})
    command = ["snakemake", "-n", "--quiet", "host", "--configfile", PAPER, "--forceall", "--cores", "1"]
    command += ["--config", f"submissions={submissions}"]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=True)
    counted = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    assert {stage: str(number) for stage, number in jobs(paper).items()} == {
        stage: number for stage, number in counted.items() if stage not in ("all", "total")
    }
    if submissions:  # then nothing of the workflow is left out
        assert counted.keys() - {"all", "total"} == set(STAGES)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30), st.integers(1, 40))
def test_makespan_is_between_what_any_schedule_needs_and_what_the_greedy_one_guarantees(lengths, places):
    found = makespan(lengths, places)
    least = max(*lengths, sum(lengths) / places)
    assert least <= found * (1 + 1e-9)
    assert found <= sum(lengths) / places + max(lengths) + 1e-9
    assert places > 1 or found == pytest.approx(sum(lengths))
    assert places < len(lengths) or found == pytest.approx(max(lengths))


def test_plan_names_every_run_the_total_and_its_source_without_pytorch(paper):
    command = ["-X", "importtime", "-m", "iou_aware.cli", "plan", PAPER, "--gpus", "16"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    for name in paper.runs:
        length = "fetched" if name in paper.released else "[\\d.]+ (h|days)"
        assert re.search(rf"^{re.escape(name)} .* {length} +[\d.]+ +[\d.]+$", done.stdout, re.MULTILINE)
    estimates = Estimates(paper)
    total = sum(estimates.gpu_hours(run) for run in paper.runs.values())
    assert re.search(rf"^{len(paper.runs)} runs +{total:.1f} ", done.stdout, re.MULTILINE)
    assert "MMDetection model zoo" in done.stdout and "V100" in done.stdout
    assert "On 16 GPUs: " in done.stdout
    assert not re.search(r"\| +(torch|mmengine|mmdet)$", done.stderr, re.MULTILINE)


def test_plan_says_what_it_does_not_know(capsys):
    experiment = Experiment.load("configs/experiments/bccd.yaml")
    print_plan(experiment)
    out = capsys.readouterr().out
    assert "?" in out and f"{len(experiment.runs)} runs" in out
    assert "configs/costs.yaml" in out
    assert "On " not in out.replace("On disk", "")


def test_fewer_gpus_than_one_training_needs_are_refused(paper):
    with pytest.raises(InputError, match=r"--gpus: found 3, expected at least 4"):
        print_plan(paper, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speed": 0}, r"costs.yaml, line \d+, key speed"),
        ({"sped": 1}, r"costs.yaml, line \d+, key sped: unknown key.*speed"),
        ({"models": [{"detector": "retinanet"}]}, r"costs.yaml, line \d+, key models\[0\].*missing"),
    ],
)
def test_damaged_costs_are_named_by_file_line_and_key(tmp_path, change, message):
    content = yaml.safe_load((ROOT / "configs" / "costs.yaml").read_text())
    (tmp_path / "costs.yaml").write_text(yaml.safe_dump(content | change, sort_keys=False))
    with pytest.raises(InputError, match=message):
        Costs.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train_cfg = dict(", "cannot be read as a config"),
        ("train_cfg = dict(max_epochs=12)", "'train_dataloader' is missing"),
        ("_base_ = 'nowhere::a.py'", "nowhere is not installed"),
        ("_base_ = './absent.py'", "absent.py: cannot be read"),
    ],
)
def test_damaged_recipes_are_named(tmp_path, content, message):
    (tmp_path / "odd.py").write_text(content)
    with pytest.raises(InputError, match=message):
        Recipe.load(tmp_path / "odd.py")


def test_jobs_ask_for_what_their_run_needs(tmp_path):
    four = Needs(changed(tmp_path, gpus=4, workers=3))
    eight = Needs(changed(tmp_path, gpus=8, workers=3))
    none = Needs(changed(tmp_path))
    assert (four.training_gpus, four.training_cores, four.testing_gpus, four.testing_cores) == (4, 16, 1, 4)
    assert (eight.training_gpus, eight.training_cores, eight.testing_gpus) == (8, 32, 1)
    assert (none.training_gpus, none.training_cores, none.testing_gpus) == (0, 1, 0)
    assert eight.training_memory(IOU_AWARE, 1) == 2 * four.training_memory(IOU_AWARE, 1)
    assert four.training_memory(IOU_AWARE, 1) > none.training_memory(IOU_AWARE, 1)


def test_jobs_that_are_tried_again_and_again_still_fit_a_node_and_a_partition(paper):
    """Every preemption with notice is an attempt, and the profile allows ten more than one."""
    needs, name = Needs(paper), next(iter(paper.trained))
    assert MOST_OF_TRAINING * needs.training_memory(name, 11) <= 128_000
    for asked in (
        lambda attempt: needs.memory(4000, attempt),
        lambda attempt: int(needs.testing_time(name, "val", attempt).removesuffix("m")),
        lambda attempt: int(needs.hours(2, attempt).removesuffix("h")),
    ):
        assert asked(1) < asked(2) < asked(11) == 3 * asked(1)


def test_time_limits_leave_room_over_the_estimate(paper):
    needs, estimates = Needs(paper), Estimates(paper)
    for name, run in paper.trained.items():
        limit = int(needs.training_time(name).removesuffix("m"))
        assert 1.4 < limit / 60 / (estimates.training_hours(run) / 4) < 3
    unknown = Experiment.load("configs/experiments/bccd.yaml")
    assert Needs(unknown).training_time(next(iter(unknown.runs))).endswith("m")


@pytest.mark.parametrize(("hours", "text"), [(0.5, "30 min"), (7.46, "7.5 h"), (47, "47.0 h"), (96, "4.0 days")])
def test_durations_are_written_for_people(hours, text):
    assert duration(hours) == text
