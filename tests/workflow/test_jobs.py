"""The workflow's jobs: where they run, what they hear, and what outlives one that failed or was killed."""

import hashlib
import os
import sys
from contextlib import ExitStack

import pytest
from builders.data import program, put
from builders.workflows import AWARE, BASELINE, SMALL, Project


def test_an_environment_without_cuda_stops_a_study_that_needs_it_before_any_job(study):
    study.before_stages("[ $1 = check ] && { echo no CUDA; exit 2; }; echo $1 >> called")
    study.set(settings={"device": "cuda"})
    study.run("--forcerun", "collect")  # what computes on no GPU needs none
    assert "predict" not in (study.folder / "called").read_text()
    (study.folder / "called").unlink()
    stopped = study.snakemake("--forcerun", "train")
    assert stopped.returncode != 0
    assert "no CUDA" in stopped.stdout + stopped.stderr
    assert not (study.folder / "called").exists()


# Stands in for Apptainer, and names the images that it is asked for.
APPTAINER = """\
#!/bin/sh
[ "$1" = --version ] && echo apptainer version 1.3.4 && exit
until [ "${1%.sif}" != "$1" ]; do shift; done
echo "$1" >> images
shift
"$@"
exit $?  # it stays there until the job ends
"""


def test_every_job_runs_in_the_container_and_it_is_the_jobs_that_check_for_cuda(tmp_path):
    project = Project(tmp_path, **SMALL | {"settings": {"device": "cuda"}})
    project.before_stages("[ $1 = check ] && { echo no CUDA; exit 2; }")
    program(tmp_path / "bin" / "apptainer", APPTAINER)
    jobs = sum(project.plan().values())
    project.run("--sdm", "apptainer")
    assert (tmp_path / "images").read_text().split() == ["iou-aware.sif"] * jobs


@pytest.mark.parametrize(("finishes", "contained"), [(False, False), (True, False), (False, True)])
def test_a_training_hears_that_its_job_is_to_end_where_only_snakemake_is_told(tmp_path, finishes, contained):
    """As where Slurm tracks processes by control groups: its signals reach the first process of a job's step alone.

    One that still finishes within the notice is finished, and its job has not failed.
    """
    project = Project(tmp_path, **SMALL)
    project.run("--until", "prepare")
    program(tmp_path / "bin" / "apptainer", APPTAINER)
    os.mkfifo(tmp_path / "started")
    then = "" if finishes else "; exit 75"
    saving = f"trap 'kill $!; echo saved > saved{then}' TERM; tail -f /dev/null & echo > started; wait || :"
    project.before_stages(f"[ $1 = train ] && {{ {saving}; }}")
    seal = f"results/study/runs/{BASELINE}/run.json"
    options = ["--sdm", "apptainer"] if contained else []
    with project.start(*options, "--mode", "remote", seal) as job, ExitStack() as end:
        end.callback(job.kill)
        (tmp_path / "started").read_text()
        job.terminate()
        assert (job.wait(timeout=300) == 0) is finishes
    assert (tmp_path / "saved").read_text() == "saved\n"
    assert (tmp_path / seal).is_file() is finishes


def test_weights_that_somebody_brought_are_used_and_never_cleared(tmp_path):
    """After a fetch that was cut off, on a machine without a network; their address leads nowhere."""
    project = Project(tmp_path, **SMALL)
    weights, content = tmp_path / "data" / "backbones" / "tiny.pth", b"brought from another machine"
    address = f"http://127.0.0.1:9/tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    init = f"dict(init_cfg=dict(type='Pretrained', checkpoint='{address}'))"
    project.append("configs/backbones/tiny.py", f"model = dict(backbone={init})")
    os.mkfifo(tmp_path / "fetching")
    stage = tmp_path / "bin" / "iou-aware"
    stage.write_text("#!/bin/sh\nmkdir -p data/backbones\necho half > data/backbones/tiny.pth\nexec cat > fetching")
    with project.start("--until", "backbone") as workflow, (tmp_path / "fetching").open():
        workflow.kill()
    weights.write_bytes(content)
    stage.write_text(f'#!/bin/sh\nexec {sys.executable} -m iou_aware.cli "$@"')
    project.run("--nolock", "--until", "backbone", "--rerun-incomplete")
    assert weights.read_bytes() == content
    assert project.plan("--nolock").get("backbone", 0) == 0


def test_checkpoints_outlive_a_training_that_is_run_again(study):
    checkpoint = study.folder / "results/study/checkpoints" / AWARE / "epoch_3.pth"
    put(checkpoint, "three epochs of work")
    study.run("--forcerun", "train")
    assert checkpoint.read_text() == "three epochs of work"
