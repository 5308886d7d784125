"""The study on a real Slurm of one node and two stand-in GPUs, as `snakemake --profile slurm` runs it from a clone.

Once left alone, and once while jobs are cancelled, time out, are requeued and preempted, and the node is drained and
dies: every table must come out, with the same bits. Run by `make test-slurm`, which installs Slurm where it may.
"""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from queue_of_slurm import PATIENCE_S, Job, details, jobs, running, slurm, state, wait

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
EXPERIMENT = "configs/experiments/cluster.yaml"
NODE = socket.gethostname().split(".")[0]
# Stands before Slurm's own: while a file `down` lies beside it, it fails as if nobody answered, and counts the calls.
SQUEUE = """\
#!/bin/sh
here=$(dirname "$0")
[ -e "$here/down" ] || exec {squeue} "$@"
echo called >> "$here/down"
exit 1
"""
# What differs from one time to the next, and may.
TIMES = {"train_seconds", "train_cpu_seconds", "train_device_seconds"}


@dataclass
class Clone:
    """A clone of the project and a home folder, both fresh."""

    folder: Path
    home: Path

    @property
    def results(self) -> Path:
        return self.folder / "results" / "cluster"

    @property
    def log(self) -> Path:
        return self.folder.parent / "snakemake.log"

    @property
    def programs(self) -> Path:
        return self.folder.parent / "programs"

    def start(self) -> subprocess.Popen:
        """Start the workflow by the command of the documentation; what follows it says which experiment."""
        bin_folder = Path(sys.executable).parent
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "SLURM", "SNAKEMAKE"))
        } | {
            "HOME": str(self.home),
            "PATH": f"{self.programs}:{bin_folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "src"),
            "OMP_NUM_THREADS": "1",
        }
        command = ["snakemake", "--profile", "slurm", "--configfile", EXPERIMENT]
        # Poll early: here jobs take seconds. The plugin waits ten more with every poll that brings no news.
        command += ["--slurm-init-seconds-before-status-checks", "8"]
        with self.log.open("w") as log:
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def finish(self, process: subprocess.Popen) -> None:
        """Wait for the workflow and require that it ended well."""
        try:
            assert process.wait(timeout=PATIENCE_S) == 0, self.log.read_text()[-5000:]
        finally:
            process.kill()

    def saved(self, job: Job) -> int:
        """Return how far a training's newest checkpoint has come, of those that this job has written; 0 for none."""
        newest = 0
        for file in self.results.glob(f"checkpoints/{job.run}/**/iteration_*.pth"):
            # The training may remove it just now, having written another.
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_mtime > job.start + 1:
                    newest = max(newest, int(file.name.split("_")[1].split("-")[0]))
        return newest


def read(file: Path) -> bytes:
    """Return a file's content; nothing where it is gone."""
    with contextlib.suppress(OSError):
        return file.read_bytes()
    return b""


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
    assert weights(disturbed) == weights(calm)
    assert table_files(disturbed) == table_files(calm)
    assert metrics(disturbed) == metrics(calm)
    assert (disturbed.results / "per_class.csv").read_bytes() == (calm.results / "per_class.csv").read_bytes()
    assert not list(disturbed.home.iterdir())


class Disturbance:
    """Does to a workflow, step by step, what clusters do, each time to a training that has got somewhere since."""

    def __init__(self, clone: Clone, process: subprocess.Popen):
        self.clone, self.process = clone, process
        self.reached: dict[str, int] = {}

    def all(self) -> set[str]:
        """Do everything, and return the runs whose training was interrupted."""
        self.give_no_news()
        for step in (self.cancel, self.requeue, self.run_out_of_time, self.preempt, self.kill_the_node):
            job = self.training()
            print(f"{step.__name__} {job.number}: {job.run} at iteration {self.reached[job.run]}", flush=True)
            hang(job)
            step(job)
        self.drain_the_node()
        self.cancel_a_prediction()
        return set(self.reached)

    def training(self) -> Job:
        """Return a running training that has saved something since it started or was last disturbed."""
        found: list[Job] = []

        def one_has_come_further() -> bool:
            found[:] = [job for job in running("train") if self.clone.saved(job) > self.reached.get(job.run, 0)]
            return bool(found)

        wait(one_has_come_further, "a training saves a checkpoint", self.process)
        self.reached[found[0].run] = self.clone.saved(found[0])
        return found[0]

    def give_no_news(self) -> None:
        """Let Slurm not say how the jobs are, more often in a row than the plugin puts up with by itself."""
        down = self.clone.programs / "down"
        down.touch()
        wait(lambda: down.read_text().count("called") > 8, "Snakemake asks for news again and again", self.process)
        down.unlink()

    def cancel(self, job: Job) -> None:
        slurm("scancel", job.number)
        self.leaves(job, "CANCELLED")

    def requeue(self, job: Job) -> None:
        slurm("scontrol", "requeue", job.number)
        self.leaves(job, "PENDING", "REQUEUED", "COMPLETING")

    def run_out_of_time(self, job: Job) -> None:
        """Let a training's time be up, for which Slurm looks twice a minute."""
        slurm("scontrol", "update", f"JobId={job.number}", "EndTime=now")
        self.leaves(job, "TIMEOUT")

    def preempt(self, job: Job) -> None:
        """Let the node's owners push a training off it. One that ends within its notice has failed, to Slurm."""
        owners = slurm("sbatch", "--parsable", "--partition=owners", "--gpus=2", "--output=/dev/null", "--wrap=true")
        self.leaves(job, "PENDING", "PREEMPTED", "REQUEUED", "COMPLETING", "FAILED")
        wait(lambda: state(owners.strip()) == "COMPLETED", "the node's owners have had their turn", self.process)

    def kill_the_node(self, job: Job) -> None:
        slurm("scontrol", "update", f"NodeName={NODE}", "State=DOWN", "Reason=test")
        self.leaves(job, "PENDING", "NODE_FAIL", "REQUEUED", "COMPLETING")
        self.revive_the_node()

    def drain_the_node(self) -> None:
        """Let the node finish the training it runs and take nothing new, until there is something that waits for it."""
        wait(lambda: bool(running("train")), "a training runs", self.process)
        job = running("train")[0]
        slurm("scontrol", "update", f"NodeName={NODE}", "State=DRAIN", "Reason=test")
        wait(
            lambda: (
                not any(job.state in ("RUNNING", "COMPLETING") for job in jobs())
                and any(job.state == "PENDING" for job in jobs())
            ),
            "the node is empty and jobs wait for it",
            self.process,
        )
        assert state(job.number) == "COMPLETED"
        print(f"drained after {job.number}: {job.run}", flush=True)
        self.revive_the_node()

    def revive_the_node(self) -> None:
        """Bring the node back; one that was declared dead may report for duty by itself, and cannot be resumed then."""

        def takes_jobs() -> bool:
            if not re.search(r"State=\S*(DOWN|DRAIN)", slurm("scontrol", "show", "node", NODE)):
                return True
            subprocess.run(["scontrol", "update", f"NodeName={NODE}", "State=RESUME"], check=False, capture_output=True)
            return False

        wait(takes_jobs, "the node takes jobs again", self.process)

    def cancel_a_prediction(self) -> None:
        wait(lambda: bool(detecting()), "a prediction runs", self.process)
        job = detecting()[0]
        print(f"cancel {job.number}: {job.rule}", flush=True)
        slurm("scancel", job.number)
        self.leaves(job, "CANCELLED")

    def leaves(self, job: Job, *states: str) -> None:
        """Wait until a job is in one of the states."""
        wait(lambda: state(job.number) in states, f"job {job.number} is {' or '.join(states)}", self.process)


def hang(job: Job) -> None:
    """Let a training stand still, as on a file system that does not answer, lest it ends before Slurm gets to it.

    Slurm wakes it before it asks it to end.
    """
    of_job = f"SLURM_JOB_ID={job.number}".encode()
    for file in Path("/proc").glob("[0-9]*/environ"):
        variables = read(file).split(b"\0")
        if of_job in variables and any(variable.startswith(b"LOCAL_RANK=") for variable in variables):
            os.kill(int(file.parent.name), signal.SIGSTOP)


def detecting() -> list[Job]:
    return [job for job in jobs() if job.state == "RUNNING" and job.rule.startswith("detect")]


def table_files(made: Clone) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((made.results / "tables").iterdir())}


def weights(made: Clone) -> dict[str, bytes]:
    return {file.parent.name: file.read_bytes() for file in sorted(made.results.glob("runs/*/weights.pth"))}


def metrics(made: Clone) -> list[dict[str, str]]:
    with (made.results / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]
