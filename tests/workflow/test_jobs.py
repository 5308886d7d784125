"""The workflow's jobs: where they run, what they hear, what outlives one that was killed, and what is tried again.

Snakemake really runs, and stages really end in these ways.
"""

import hashlib
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from builders.data import program, put
from builders.processes import python
from builders.results import AWARE, BASELINE
from builders.training import RETINANET, project, signalled
from builders.workflows import SMALL, Project

from iou_aware.common.messages import TERMINATED, marked
from iou_aware.workflow.needs import Needs

RETRIES = 3


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
    study = Project(tmp_path, **SMALL | {"settings": {"device": "cuda"}})
    study.before_stages("[ $1 = check ] && { echo no CUDA; exit 2; }")
    program(tmp_path / "bin" / "apptainer", APPTAINER)
    jobs = sum(study.plan().values())
    study.run("--sdm", "apptainer")
    assert (tmp_path / "images").read_text().split() == ["iou-aware.sif"] * jobs


@pytest.mark.parametrize(("finishes", "contained"), [(False, False), (True, False), (False, True)])
def test_a_training_hears_that_its_job_is_to_end_where_only_snakemake_is_told(tmp_path, finishes, contained):
    """As where Slurm tracks processes by control groups: its signals reach the first process of a job's step alone.

    One that still finishes within the notice is finished, and its job has not failed.
    """
    study = Project(tmp_path, **SMALL)
    study.run("--until", "prepare")
    program(tmp_path / "bin" / "apptainer", APPTAINER)
    os.mkfifo(tmp_path / "started")
    then = "" if finishes else "; exit 75"
    saving = f"trap 'kill $!; echo saved > saved{then}' TERM; tail -f /dev/null & echo > started; wait || :"
    study.before_stages(f"[ $1 = train ] && {{ {saving}; }}")
    seal = f"results/study/runs/{BASELINE}/run.json"
    options = ["--sdm", "apptainer"] if contained else []
    with study.start(*options, "--mode", "remote", seal) as job, ExitStack() as end:
        end.callback(job.kill)
        (tmp_path / "started").read_text()
        job.terminate()
        assert (job.wait(timeout=300) == 0) is finishes
    assert (tmp_path / "saved").read_text() == "saved\n"
    assert (tmp_path / seal).is_file() is finishes


def test_weights_that_somebody_brought_are_used_and_never_cleared(tmp_path):
    """After a fetch that was cut off, on a machine without a network; their address leads nowhere."""
    study = Project(tmp_path, **SMALL)
    weights, content = tmp_path / "data" / "backbones" / "tiny.pth", b"brought from another machine"
    address = f"http://127.0.0.1:9/tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    init = f"dict(init_cfg=dict(type='Pretrained', checkpoint='{address}'))"
    study.append("configs/backbones/tiny.py", f"model = dict(backbone={init})")
    os.mkfifo(tmp_path / "fetching")
    stage = tmp_path / "bin" / "iou-aware"
    stage.write_text("#!/bin/sh\nmkdir -p data/backbones\necho half > data/backbones/tiny.pth\nexec cat > fetching")
    with study.start("--until", "backbone") as workflow, (tmp_path / "fetching").open():
        workflow.kill()
    weights.write_bytes(content)
    stage.write_text(f'#!/bin/sh\nexec {sys.executable} -m iou_aware.cli "$@"')
    study.run("--nolock", "--until", "backbone", "--rerun-incomplete")
    assert weights.read_bytes() == content
    assert study.plan("--nolock").get("backbone", 0) == 0


def test_checkpoints_outlive_a_training_that_is_run_again(study):
    checkpoint = study.folder / "results/study/checkpoints" / AWARE / "epoch_3.pth"
    put(checkpoint, "three epochs of work")
    study.run("--forcerun", "train")
    assert checkpoint.read_text() == "three epochs of work"


def tries(folder: Path, training: str) -> int:
    """Return how often Snakemake tries a training that fails in some way."""
    study = Project(folder, **SMALL)
    study.before_stages(f"[ $1 = train ] && {{ echo >> tried; {training}; }}")
    assert study.snakemake("--retries", str(RETRIES), f"results/study/runs/{BASELINE}/run.json").returncode != 0
    return len((folder / "tried").read_text())


def test_a_stage_that_finds_its_input_wrong_is_not_tried_again(tmp_path):
    """What is wrong: the annotations that the manifest names are not there."""
    assert tries(tmp_path, f'exec {sys.executable} -m iou_aware.cli "$@"') == 1
    log = tmp_path / "results" / "study" / "logs" / "train" / f"{BASELINE}.log"
    assert "val.json" in log.read_text()


def test_what_another_attempt_may_mend_is_tried_again(tmp_path):
    ends = "case $(wc -l < tried) in 1) kill -9 $$ ;; 2) exit 75 ;; *) exit 1 ;; esac"
    assert tries(tmp_path, ends) == 1 + RETRIES


@pytest.mark.parametrize(("number", "times"), [(signal.SIGTERM, 1), (signal.SIGKILL, 2)])
def test_a_training_asks_for_more_memory_only_where_nobody_asked_it_to_end(tmp_path, number, times):
    """A time limit and preemption ask; who kills for want of memory does not."""
    experiment = project(tmp_path, settings={"epochs": 500, "device": "cpu"})
    _, said = signalled(tmp_path, RETINANET, number)
    needs, log = Needs(experiment), experiment.paths.log("train", RETINANET)
    first = needs.training_memory(RETINANET, 1)
    assert needs.training_memory(RETINANET, 2) == first  # it never ran: no log
    put(log, said)
    assert needs.training_memory(RETINANET, 2) == needs.training_memory(RETINANET, 11) == times * first


def test_a_prediction_asks_for_more_memory_only_where_nobody_asked_it_to_end(tmp_path):
    needs = Needs(project(tmp_path))
    log = needs.experiment.paths.log("predict", f"{RETINANET}.val")
    memory = [needs.testing_memory(RETINANET, "val", attempt) for attempt in (1, 2, 3, 11)]
    assert len(set(memory)) == 1
    put(log, "100/5000 images\n")
    memory = [needs.testing_memory(RETINANET, "val", attempt) / memory[0] for attempt in (1, 2, 3, 11)]
    assert memory == [1, 2, 3, 3]
    end = "import signal, iou_aware.common.process as p; p.end_on_sigterm(); signal.raise_signal(signal.SIGTERM)"
    assert python("-c", end).returncode == TERMINATED
    log.write_text(marked("iou-aware: ended", TERMINATED) + "\n")
    assert needs.testing_memory(RETINANET, "val", 2) == needs.testing_memory(RETINANET, "val", 1)
