"""The whole workflow on the smallest experiment: data, training, prediction, evaluation, tables, figures, report."""

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest
from builders.data import put
from builders.workflows import NOTES, command, finished, jobs, snakemake

from iou_aware.analysis.times import STAGES
from iou_aware.experiment.columns import PAPER
from iou_aware.experiment.experiment import Experiment

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder with the repository's files, in which the workflow has run."""
    return finished(tmp_path_factory.mktemp("project"))


@pytest.fixture
def study(project, monkeypatch) -> Experiment:
    monkeypatch.chdir(project)
    return Experiment.load("configs/experiments/tiny.yaml")


def test_every_number_says_what_made_it(study):
    made = ["config_sha256", "weights_sha256", "torch", "mmdet", "mmcv"]
    assert pd.read_csv(study.paths.metrics)[["AP", "AP50", *made]].notna().all(axis=None)


def test_none_is_never_above_alpha_one_half(study):
    """The detections of ``none`` are the first of those of alpha 0.5, in the same order."""
    by_rule = pd.read_csv(study.paths.metrics).set_index(["rule", "run", "split"])[PAPER]
    none, half = by_rule.loc["none"], by_rule.loc["alpha=0.50"]
    assert len(none) and not (none > half + 1e-9).any(axis=None)


def test_the_report_is_one_page_that_loads_nothing(study):
    text = study.paths.report.read_text(encoding="utf-8")
    assert re.findall(r"<script|<link|url\(http|@import", text) == []
    pictures = re.findall(r"<img\b[^>]*>", text)
    assert pictures and all(' src="data:image/' in one for one in pictures)
    assert len(re.findall("<img.*? src=", text)) == len(re.findall(r" src=", text)) == len(pictures)
    assert all(re.search(r'\balt="[^"]+"', one) for one in pictures)
    assert str(study.root.absolute()) not in text


def test_nothing_but_caches_was_written_to_the_home_folder(project):
    written = [path.relative_to(project / "home") for path in (project / "home").rglob("*") if path.is_file()]
    assert [path for path in written if path.parts[0] != ".cache"] == []


def test_nothing_is_left_to_do(project):
    done = snakemake(project, "--dry-run")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_stage_by_hand_gives_what_the_workflow_got(project, study):
    name = next(name for name, run in study.runs.items() if run.is_iou_aware)
    run = study.runs[name]
    (split,) = study.splits_for(run)
    before = json.loads(study.paths.evaluation(name, split).read_text())
    for stage in ("predict", "evaluate"):
        done = command(project, "iou-aware", stage, str(study.paths.resolved), name, "--split", split)
        assert done.returncode == 0, done.stderr
    assert json.loads(study.paths.evaluation(name, split).read_text())["rules"] == before["rules"]


@pytest.mark.parametrize(
    "rule", ["bootstrap", "collect", "table", "figures", "premise", "gallery", "claims", "notebook", "report"]
)
def test_an_analysis_reads_what_its_rule_declares_and_nothing_else(rule, project, tmp_path):
    """It opens no other file, and gives the same where all others are empty, which goes for C++ too, as in Parquet."""
    notes = tmp_path / "notes"
    (tmp_path / "sitecustomize.py").write_text(NOTES)
    traced = {"NOTES": str(notes), "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    found = [job for job in jobs(project) if job.rule == rule]
    for job in found if rule == "notebook" else found[:1]:
        folder = tmp_path / "-".join(job.command[3:] or [rule])
        # What the experiment says are a rule's parameters; a manifest stands for the images and annotations it counts.
        prepared = [str(Path(file).parent) for file in job.inputs if file.endswith("manifest.json")]
        declared = ["configs", "data", *prepared, *job.inputs, job.command[2]]
        for file in declared:
            if not (folder / file).exists():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).symlink_to(project / file)
        declared += empty_others(project, folder)
        ended = command(folder, *job.command, **traced)
        assert ended.returncode == 0, ended.stderr
        opened = [Path(file) for file in notes.read_text().splitlines() if file.startswith(f"{folder}/")]
        opened = [file for file in opened if file.suffix != ".part" and not file.is_dir()]  # what it writes, and where
        # The report says what Snakemake measured of the jobs.
        known = {folder / file for file in (*declared, *job.outputs, "home", "src")}
        known |= {folder / "results/tiny/benchmarks"} if rule == "report" else set()
        assert {str(file.relative_to(folder)) for file in opened if not known & {file, *file.parents}} == set()
        if rule != "report":
            for output in job.outputs:
                assert content(folder / output) == content(project / output), output


def empty_others(project: Path, folder: Path) -> list[str]:
    """Make every other file of a project in ``folder``, without what is in it; return the paper's tables among them.

    In those the experiment looks for its rows, which stay; their numbers are for stages that declare them.
    """
    tables = []
    for file in [*(project / "results").rglob("[!.]*"), *(project / "reports" / "paper").glob("*.csv")]:
        other = folder / file.relative_to(project)
        if file.is_file() and not other.exists():
            put(other, "")
            if "paper" in other.parts:
                pd.read_csv(file)[["row", "cited"]].to_csv(other, index=False)
                tables.append(str(other.relative_to(folder)))
    return tables


def content(path: Path) -> dict[str, bytes]:
    """Return a file, or all files of a folder but Snakemake's own, by name."""
    files = [path] if path.is_file() else [file for file in path.rglob("[!.]*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def test_times_are_known_for_every_stage(project):
    done = command(project, "iou-aware", "times", "configs/experiments/tiny.yaml")
    assert done.returncode == 0, done.stderr
    of_stages, of_runs = (part.splitlines()[1:] for part in done.stdout.split("\n\n")[:2])
    # It trains from scratch and takes no released weights.
    expected = [stage for stage in STAGES if stage not in ("backbone", "release")]
    assert [line.split()[0] for line in of_stages] == [*expected, "all"]
    assert len(of_runs) == len(Experiment.load(project / "configs" / "experiments" / "tiny.yaml").runs)
