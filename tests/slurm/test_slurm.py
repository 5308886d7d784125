"""The study on a real Slurm of one node and two stand-in GPUs, as `snakemake --profile slurm` runs it from a clone.

Once left alone, and once while jobs are cancelled, time out, are requeued and preempted, and the node dies: every table
must come out, with the same bits. Run by `make test-slurm`, which installs Slurm where it may.
"""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from clone_of_project import EXPERIMENT, Clone, read
from disturbance import Disturbance
from queue_of_slurm import PATIENCE_S, details, jobs

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


# Stands before Slurm's own: while a file `down` lies beside it, it fails as if nobody answered, and counts the calls.
SQUEUE = """\
#!/bin/sh
here=$(dirname "$0")
[ -e "$here/down" ] || exec {squeue} "$@"
echo called >> "$here/down"
exit 1
"""
# What differs from one time to the next, and may.
TIMES = ["train_seconds", "train_cpu_seconds", "train_device_seconds"]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """The project as it stands, uncommitted changes included, with this test's experiment: what both clones are of."""
    folder = tmp_path_factory.mktemp("source") / "project"
    git = ["git", "-c", "safe.directory=*"]
    subprocess.run([*git, "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True)
    listed = [*git, "-C", str(ROOT), "ls-files", "--modified", "--others", "--exclude-standard", "--deduplicate"]
    for name in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    shutil.copy(HERE / "cluster.yaml", folder / EXPERIMENT)
    shutil.copy(HERE / "cluster-coco.yaml", folder / "configs" / "datasets")
    return folder


def manage(command: str) -> None:
    """Have the cluster installed, started or stopped; what cannot be done it says itself."""
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "slurm" / "cluster.py"), command], check=False)
    if done.returncode:
        pytest.fail(f"the cluster could not be brought to '{command}'; the reason is above", pytrace=False)


def clone(source: Path, parent: Path) -> Clone:
    """Return a fresh clone, with a fresh home folder beside it."""
    (parent / "home").mkdir()
    shutil.copytree(source, parent / "clone", symlinks=True)
    made = Clone(parent / "clone", parent / "home")
    made.programs.mkdir()
    (made.programs / "squeue").write_text(SQUEUE.format(squeue=shutil.which("squeue")))
    (made.programs / "squeue").chmod(0o755)
    return made


@pytest.fixture(scope="module")
def cluster(request) -> Iterator[None]:
    """A cluster that runs while the tests do, and leaves nothing behind. Where it cannot be had, the tests fail."""
    # Whoever stops this, by whichever signal: the daemons are stopped as well.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    manage("install")
    try:
        manage("start")
        yield
    finally:
        if request.session.testsfailed:
            manage("logs")
        manage("stop")
    assert not Path("/run/iou-aware-slurm").exists()
    assert not [file for file in Path("/proc").glob("[0-9]*/environ") if b"SLURM_CLUSTER_NAME=iou-aware" in read(file)]


@pytest.fixture(scope="module")
def calm(cluster, source, tmp_path_factory) -> Clone:
    """The study, left alone."""
    made = clone(source, tmp_path_factory.mktemp("calm"))
    made.finish(made.start())
    return made


def test_every_table_comes_out_and_the_home_folder_is_left_alone(calm):
    assert {file.name for file in (calm.results / "tables").iterdir()} >= {"table2.csv", "table2.html", "alpha.csv"}
    assert (calm.results / "report" / "index.html").is_file()
    assert not list(calm.home.iterdir())


def test_trainings_ran_in_two_processes_on_the_gpus_that_they_asked_for(calm):
    seals = [json.loads(file.read_text()) for file in calm.results.glob("runs/*/run.json")]
    assert [seal["processes"] for seal in seals] == [2, 2]
    trainings = [job for job in jobs() if job.rule == "train"]
    assert len(trainings) == len(seals)
    for job in trainings:
        assert "gres:gpu:2" in details(job.number)


def test_prediction_and_evaluation_shared_a_job_with_one_gpu(calm):
    shared = [job for job in jobs() if job.rule.startswith("detect")]
    assert len(shared) == 2
    for job in shared:
        assert "gres:gpu:1" in details(job.number)
    assert not [job for job in jobs() if job.rule in ("predict", "evaluate", "collect", "table", "figures", "report")]


def test_what_a_stage_finds_wrong_is_not_submitted_again(calm, tmp_path):
    """In a job of two stages, and whatever `retries` says; the weights have changed since they were sealed."""
    wrong = Clone(tmp_path / "clone", calm.home)
    shutil.copytree(calm.folder, wrong.folder, symlinks=True)
    shutil.copytree(calm.programs, wrong.programs)
    run = next(wrong.results.glob("runs/*"))
    with (run / "weights.pth").open("ab") as weights:
        weights.write(b"!")
    (wrong.results / "detections" / run.name / "val.parquet").unlink()
    before = {job.number for job in jobs()}
    process = wrong.start()
    assert process.wait(timeout=PATIENCE_S) != 0
    (job,) = [job for job in jobs() if job.number not in before]
    assert job.rule.startswith("detect")
    assert "changed or truncated" in wrong.log.read_text()


def test_nothing_that_a_cluster_does_changes_a_bit(calm, source, tmp_path):
    disturbed = clone(source, tmp_path)
    before = {job.number for job in jobs()}
    process = disturbed.start()
    try:
        resumed = Disturbance(disturbed, process).all()
    except BaseException:
        process.send_signal(signal.SIGINT)
        disturbed.finish(process)
        raise
    disturbed.finish(process)

    ended = [job.state for job in jobs() if job.number not in before]
    assert {"CANCELLED", "TIMEOUT"} <= set(ended)
    for run in resumed:
        assert "Resuming from" in (disturbed.results / "logs" / "train" / f"{run}.log").read_text()
    assert outcome(disturbed.results) == outcome(calm.results)
    assert not list(disturbed.home.iterdir())


def outcome(results: Path) -> dict[str, bytes | str]:
    """Return weights, tables and metrics: files by name, and metrics.csv without the times."""
    files = [file for name in ("runs/*/weights.pth", "tables/*", "per_class.csv") for file in results.glob(name)]
    found = {str(file.relative_to(results)): file.read_bytes() for file in files}
    return found | {"metrics.csv": pd.read_csv(results / "metrics.csv", dtype=str).drop(columns=TIMES).to_csv()}
