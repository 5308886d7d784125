"""What a failed stage is tried again for, and with: Snakemake really runs, and stages really end in these ways."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from builders.data import put
from builders.processes import python
from builders.training import ENVIRONMENT, RETINANET, command, project
from builders.workflows import BASELINE, SMALL, Project

from iou_aware.workflow import attempts
from iou_aware.workflow.needs import Needs

RETRIES = 3


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
    experiment, said = project(tmp_path, settings={"epochs": 500, "device": "cpu"}), []
    train = command("train", RETINANET)
    with subprocess.Popen(train, cwd=tmp_path, env=ENVIRONMENT, text=True, stderr=subprocess.PIPE) as training:
        for line in training.stderr:
            said.append(line)
            if "epoch 1/500" in line:
                training.send_signal(number)
    needs, log = Needs(experiment), experiment.paths.log("train", RETINANET)
    first = needs.training_memory(RETINANET, 1)
    assert needs.training_memory(RETINANET, 2) == first  # it never ran: no log
    put(log, "".join(said))
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
    assert python("-c", end).returncode == attempts.TERMINATED
    log.write_text(attempts.marked("iou-aware: ended", attempts.TERMINATED) + "\n")
    assert needs.testing_memory(RETINANET, "val", 2) == needs.testing_memory(RETINANET, "val", 1)
