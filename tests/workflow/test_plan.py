"""What runs cost, by the published numbers; what jobs therefore request; and what is printed before anything runs.

Every row of the paper's tables has its runs, its configs, and its line in the documentation.
"""

import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders.data import csv_rows
from builders.experiments import PAPER, REPOSITORY, paper_with
from builders.processes import python
from builders.results import cells

from iou_aware.common.assignments import place
from iou_aware.common.messages import InputError
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.layout import STAGES
from iou_aware.workflow.costs import Estimates
from iou_aware.workflow.needs import MOST_OF_TRAINING, Needs
from iou_aware.workflow.plan import print_plan, print_rows, summary_lines, wall_hours

RETINANET = "coco.retinanet.r50.paper.1333x800.seed0"
IOU_AWARE = "coco.iou_aware_retinanet.r50.bce.paper.1333x800.seed0"
SMALL = "coco.retinanet.r50.paper.1000x600.seed0"
VOC = "voc0712.retinanet.r101.paper.1000x600.seed1"
HOURS = 12 * 118287 / 16 * 0.308 * 8 / 3600  # of RETINANET: 12 epochs, 16 images per step of 0.308 s, on 8 GPUs
AUTO = {"gpus": "auto"}
UNMEASURED = {"dataset": "coco", "scale": "1333x800", "detector": "retinanet", "backbone": "r18"}
TABLE = {"caption": "One run.", "split": "val", "columns": ["AP"], "rows": {"only": {}}}


@pytest.fixture(autouse=True)
def in_project(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def test_released_weights_stand_beside_the_baselines_of_table_1_and_cost_no_training(paper):
    rows = paper.tables["table1"].rows
    baselines = [key for key in rows if key.startswith(("retinanet", "faster_rcnn")) and not key.endswith("_zoo")]
    zoo = [replace(paper.run(rows[key].runs[0]), recipe="zoo").name for key in baselines]
    assert [rows[f"{key}_zoo"].runs for key in baselines] == [(name,) for name in zoo]
    assert set(zoo) == set(paper.released)
    estimates = Estimates(paper)
    for run in paper.released.values():
        assert estimates.gpu_hours(run) == estimates.testing_hours(replace(run, recipe="paper"), "val")


def test_training_hours_are_the_published_ones(paper):
    estimates = Estimates(paper)
    # The small scale has 600,000 of 1,066,400 pixels; images per step change the steps and not the work.
    small, voc = HOURS * 600_000 / 1_066_400, 12 * 16551 / 16 * 0.429 * 8 / 3600 * 600_000 / 1_066_400
    expected = {RETINANET: HOURS, IOU_AWARE: HOURS, SMALL: small, VOC: voc}
    assert {name: estimates.training_hours(paper.run(name)) for name in expected} == pytest.approx(expected)
    assert estimates.testing_hours(paper.run(RETINANET), "val") == pytest.approx(5000 / 12.1 / 3600)


def test_hours_follow_the_settings_and_the_speed_of_the_gpus(tmp_path):
    def hours(**settings) -> float:
        experiment = paper_with(tmp_path, **settings)
        return Estimates(experiment).training_hours(experiment.run(RETINANET))

    assert hours(epochs=3) == pytest.approx(hours() / 4)
    assert hours(images=1000) == pytest.approx(hours() * 1000 / 118287)
    assert hours(images=10**9) == hours()
    assert hours(gpus=8) == hours(batch_size=64) == hours()


def test_a_run_of_cross_validation_has_one_fold_less_to_train_on_and_one_to_detect_on(paper):
    whole, run = Estimates(paper), paper.run(RETINANET)
    folded = Estimates(replace(paper, datasets={"coco": replace(paper.datasets["coco"], folds=5)}))
    assert folded.training_hours(run) == pytest.approx(0.8 * whole.training_hours(run))
    assert folded.testing_hours(run, "val") == pytest.approx(0.2 * whole.testing_hours(run, "val"))


def test_days_and_limits_follow_the_type_of_gpu(tmp_path):
    """The latter GPU is 7 times as fast."""
    plain, fast = (paper_with(tmp_path / gpu, gpu, gpus=4) for gpu in ("V100-16GB", "H100-80GB"))
    estimates = Estimates(fast)
    assert wall_hours(estimates, 8) == pytest.approx(wall_hours(Estimates(plain), 8) / 7)
    # A quarter of it on each of four GPUs, half as much on top, and half an hour to start.
    assert Needs(fast).training_time(RETINANET) == f"{30 + math.ceil(HOURS / 7 / 4 * 1.5 * 60)}m"
    assert Needs(fast).testing_time(RETINANET, "val", 1) == f"{30 + math.ceil(5000 / (12.1 * 7) / 60 * 4)}m"
    total = sum(map(Estimates(plain).gpu_hours, plain.runs.values()))
    (others,) = [line for line in summary_lines(estimates) if "on others: " in line]
    assert f"on others: {total:.0f} of V100-16GB, {total:.0f} of V100-32GB, {total / 1.75:.0f} of A100-40GB" in others


def test_jobs_ask_for_what_their_run_needs(tmp_path):
    four = Needs(paper_with(tmp_path, gpus=4, workers=3))
    eight = Needs(paper_with(tmp_path, gpus=8, workers=3))
    none = Needs(paper_with(tmp_path))
    asked = {needs: (needs.training_gpus(VOC), needs.training_cores(VOC)) for needs in (four, eight, none)}
    assert (*asked[four], four.testing_gpus(VOC), four.testing_cores) == (4, 16, 1, 4)
    assert (*asked[eight], eight.testing_gpus(VOC)) == (8, 32, 1)
    assert (*asked[none], none.testing_gpus(VOC)) == (0, 1, 0)
    assert eight.training_memory(VOC, 1) == 2 * four.training_memory(VOC, 1) > none.training_memory(VOC, 1)


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


@pytest.mark.parametrize(
    ("gpu", "run", "gpus"),
    [
        # 0.45 GB of weights, gradients and momentum, and (3.6 - 0.45) / 2 GB an image; four fifths of the GPU's memory.
        ("H100-80GB", RETINANET, 1),
        ("V100-16GB", SMALL, 1),  # 12 images of 0.56 times the pixels: 11.1 of 12.8 GB
        ("V100-16GB", "coco.faster_rcnn.x101_32x4d.paper.1333x800.seed0", 4),  # 4 of 8 images: 13.1 of 12.8 GB
    ],
)
def test_auto_is_the_fewest_gpus_that_hold_the_batch(tmp_path, gpu, run, gpus):
    assert Needs(paper_with(tmp_path, gpu, gpus="auto")).training_gpus(run) == gpus


def test_auto_shares_the_images_evenly_and_asks_for_no_more_than_it_must(tmp_path, monkeypatch):
    """Whatever the memory: the next smaller number of GPUs would be one image a GPU more, and would not fit."""
    experiment = paper_with(tmp_path, gpus="auto")
    run, estimates = experiment.run(RETINANET), Estimates(experiment)
    always = 37.7e6 * 4 * 3 / 1e9
    needed = {gpus: always + (3.6 - always) / 2 * 16 / gpus for gpus in (1, 2, 4, 8, 16)}
    for memory in range(4, 40):
        monkeypatch.setitem(estimates.gpu, "memory_gb", memory)
        assert estimates.gpus(run) == min(gpus for gpus, gigabytes in needed.items() if gigabytes <= memory * 0.8)
    monkeypatch.setitem(estimates.gpu, "memory_gb", 2)
    with pytest.raises(InputError, match=r"settings.gpus: found auto, but not one image of .*V100-16GB"):
        estimates.gpus(run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": AUTO | {"normaliser": "process"}}, r"settings.gpus: found auto.*normaliser: process"),
        ({"gpu": "A100-48GB"}, r"gpu: found 'A100-48GB', expected a type of GPU in .*: .*Did you mean 'A100-80GB'"),
        ({"runs": [UNMEASURED], "tables": {"one": TABLE}}, "retinanet with r18 takes; expected a number"),
    ],
)
def test_auto_that_cannot_be_computed_is_an_error(changes, message):
    with pytest.raises(InputError, match=message):
        print_plan(Experiment.load(PAPER, {"settings": AUTO} | changes))


def test_the_stages_are_those_that_snakemake_would_run():
    """But for pretrainings, of which the paper has none."""
    done = python("-m", "snakemake", "-n", "--configfile", PAPER, "--forceall", "--cores", "1", check=True)
    found = set(re.findall(r"^(\w+) +\d+$", done.stdout, re.MULTILINE))
    assert found - {"all", "total"} == set(STAGES) - {"pretrain"}


@pytest.mark.parametrize(("gpus", "hours"), [(2, 7.75), (4, 6.25)])
def test_days_are_what_no_schedule_is_below(gpus, hours):
    """By hand: 12 GPU-hours on two GPUs and 3 on one, and a quarter of an hour to test each."""
    wide, narrow = (SimpleNamespace(is_released=False, hours=hours, gpus=gpus) for hours, gpus in ((12.0, 2), (3.0, 1)))
    estimates = SimpleNamespace(
        experiment=SimpleNamespace(runs={"wide": wide, "narrow": narrow}),
        training_hours=lambda run: run.hours,
        gpu_hours=lambda run: run.hours + 0.25,
        gpus=lambda run: run.gpus,
    )
    assert wall_hours(estimates, gpus) == hours


def test_plan_names_every_run_the_total_and_its_source_without_pytorch(paper):
    done = python("-X", "importtime", "-m", "iou_aware.cli", "plan", PAPER, check=True)
    for name in paper.runs:
        length = "fetched" if name in paper.released else "[\\d.]+ (h|days)"
        assert re.search(rf"^{re.escape(name)} .* {length} +[\d.]+$", done.stdout, re.MULTILINE)
    estimates = Estimates(paper)
    total = sum(estimates.gpu_hours(run) for run in paper.runs.values())
    assert re.search(rf"^{len(paper.runs)} runs +{total:.1f}$", done.stdout, re.MULTILINE)
    assert "MMDetection model zoo" in done.stdout and "The GPU-hours are of V100-16GB" in done.stdout
    assert "On 16 GPUs: at least " in done.stdout
    assert not re.search(r"\| +(torch|mmengine|mmdet|pandas)$", done.stderr, re.MULTILINE)


def test_plan_says_what_it_does_not_know(capsys):
    experiment = Experiment.load("configs/experiments/bccd.yaml")
    print_plan(experiment)
    out = capsys.readouterr().out
    assert f"No estimate for {len(experiment.runs)} runs (?): configs/costs.yaml" in out
    assert " GPUs: at least" not in out


def test_every_row_of_the_papers_tables_that_is_not_cited_has_its_runs(paper):
    reproduced = {table.paper: table for table in paper.tables.values() if table.paper}
    assert list(reproduced) == [f"table{number}" for number in range(1, 6)]
    for name, table in reproduced.items():
        ours = {row["row"] for row in csv_rows(paper.paths.paper(name)) if row["cited"] == "0"}
        assert ours <= set(table.rows), name
    needed = {run for table in paper.tables.values() for row in table.rows.values() for run in row.runs}
    assert needed == set(paper.runs)


def test_paper_has_baselines_under_the_same_recipe_and_three_seeds_on_voc(paper):
    for run in paper.runs.values():
        assert not run.is_iou_aware or run.baseline.name in paper.runs
    assert {len(row.runs) for row in paper.tables["table5"].rows.values()} == {3}


def test_every_row_is_listed_with_configs_that_exist_and_in_the_documentation(paper, capsys):
    print_rows(paper)
    listed = capsys.readouterr().out
    rows = cells(listed)[2:]
    assert [row[:2] for row in rows] == [[name, key] for name, table in paper.tables.items() for key in table.rows]
    for *_, recipe, detector, backbone, runs in rows:
        files = [place(Path(), detector)] if recipe == "zoo" else [Path(detector), Path(backbone)]
        assert all(map(Path.is_file, files)) and set(runs.split(", ")) <= set(paper.runs)
    documented = (REPOSITORY / "docs" / "rows.md").read_text(encoding="utf-8")
    assert listed in documented, "see docs/rows.md for how it is made"
