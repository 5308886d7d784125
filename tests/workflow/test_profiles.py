"""The profiles of clusters and machines: that Snakemake takes them, what it then tells, what it asks schedulers for.

Scripts stand in for the commands of the schedulers. An executor that is not installed is stood in for by that of dry
runs, without the settings that are its own; docs/schedulers.md has the command that installs it.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from builders.data import program
from builders.experiments import REPOSITORY

from iou_aware.workflow.needs import Needs

PROFILES = sorted(path.parent.name for path in REPOSITORY.glob("workflow/profiles/*/profile.yaml"))
OWN = ("cluster-generic-", "slurm-")  # settings of executors
# A stage that saves when it is asked to end.
STAGE = """
import signal, sys
from pathlib import Path
def end(*_):
    Path("saved").touch()
    sys.exit({status})
signal.signal(signal.SIGTERM, end)
Path("started").write_text("")
signal.pause()
"""


def known(profile: str, folder: Path) -> list[str]:
    """Return options for Snakemake to take a profile, or what is left of it where its executor is not installed."""
    source = REPOSITORY / "workflow" / "profiles" / profile / "profile.yaml"
    content = yaml.safe_load(source.read_text())
    executor = content.get("executor", "local")
    if executor == "local" or find_spec(f"snakemake_executor_plugin_{executor.replace('-', '_')}"):
        return ["--profile", str(source.parent)]
    folder.mkdir()
    left = {key: value for key, value in content.items() if not key.startswith(OWN)}
    (folder / "profile.yaml").write_text(yaml.safe_dump(left | {"executor": "dryrun"}, sort_keys=False))
    return ["--profile", str(folder)]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_dry_run_of_the_paper_is_a_page(profile, tmp_path):
    command = [Path(sys.executable).with_name("snakemake"), *known(profile, tmp_path / "left"), "-n"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    assert len(lines) < 60
    assert "train 32" in {" ".join(line.split()) for line in lines}


def test_lsf_is_asked_for_the_gpus_of_every_training(paper):
    """Its plugin knows no GPUs, so that the profile reckons them from the cores."""
    profile = yaml.safe_load(Path("workflow/profiles/lsf/profile.yaml").read_text())
    asked = profile["set-resources"]["train"]["lsf_extra"]
    for name in paper.trained:
        evaluated = eval(asked, {"threads": Needs(paper).training_cores(name)})
        assert f"-gpu num={Needs(paper).training_gpus(name)}:" in evaluated


# What is asked for: a queue, two GPUs, four cores, 16 GB for all of them together, twelve hours.
QSUB = {
    "pbs": "-q workq -j oe -o .snakemake/pbs_logs -l select=1:ncpus=4:mem=16000mb:ngpus=2 -l walltime=43200 job.sh",
    "sge": "-q all.q -j y -o .snakemake/sge_logs -pe smp 4 -l gpu=2 -l mem_free=4000M -l h_rt=43200 job.sh",
}


@pytest.mark.parametrize("scheduler", [*QSUB, "kubernetes"])
def test_a_scheduler_is_asked_for_what_a_training_needs(scheduler, tmp_path, monkeypatch):
    """By the command of the profile, which Snakemake's executor fills in and runs with a job script."""
    (tmp_path / "workflow").symlink_to(REPOSITORY / "workflow")
    profile = yaml.safe_load((tmp_path / "workflow" / "profiles" / scheduler / "profile.yaml").read_text())
    queue = profile["default-resources"].get("queue", "").strip("'")
    resources = SimpleNamespace(queue=queue, gpu=2, mem_mb=16000, runtime=720)
    command = profile["cluster-generic-submit-cmd"].format(rule="train", threads=4, resources=resources)
    program(tmp_path / "qsub", '#!/bin/sh\necho "$@" > asked\n')
    program(tmp_path / "kubectl", "#!/bin/sh\ncat > asked\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    subprocess.run(f"{command} job.sh", shell=True, cwd=tmp_path, check=True)
    asked = (tmp_path / "asked").read_text()
    if scheduler in QSUB:
        assert "-N train" in asked and asked.endswith(f"{QSUB[scheduler]}\n")
    else:
        pod = yaml.safe_load(asked)["spec"]["template"]["spec"]
        limits = {"cpu": "4", "memory": "16000M", "nvidia.com/gpu": "2"}
        assert (pod["activeDeadlineSeconds"], pod["containers"][0]["resources"]["limits"]) == (43200, limits)


@pytest.mark.parametrize("status", [0, 75])
def test_a_pod_that_is_to_go_waits_for_what_its_job_makes_of_it(tmp_path, monkeypatch, status):
    """The stage saves or finishes, and the job script, between the two, must not die of the signal before."""
    program(tmp_path / "kubectl", "#!/bin/sh\ncat > job.yaml\n")
    (tmp_path / "stage.py").write_text(STAGE.format(status=status))
    (tmp_path / "job.sh").write_text(f"{sys.executable} stage.py && exit 0 || exit 1")
    os.mkfifo(tmp_path / "started")
    asked = {"IMAGE": "i", "CLAIM": "c", "MOUNT": "/m", "GPUS": "1", "CORES": "1", "MEMORY_MB": "1", "MINUTES": "1"}
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    submit = REPOSITORY / "workflow" / "profiles" / "kubernetes" / "submit.sh"
    subprocess.run([submit, "job.sh"], cwd=tmp_path, env=os.environ | asked, check=True)
    (container,) = yaml.safe_load((tmp_path / "job.yaml").read_text())["spec"]["template"]["spec"]["containers"]
    with subprocess.Popen(container["command"], cwd=container["workingDir"], start_new_session=True) as pod:
        (tmp_path / "started").read_text()
        pod.terminate()
        assert pod.wait(timeout=60) == min(status, 1)
    assert (tmp_path / "saved").is_file()


SILENT = "echo 'cannot connect to server' >&2; exit 1"


@pytest.mark.parametrize(
    ("scheduler", "expected", "commands"),
    [
        ("pbs", "running", {"qstat": "echo '    job_state = Q'"}),
        ("pbs", "success", {"qstat": "printf '    job_state = F\\n    Exit_status = 0\\n'"}),
        ("pbs", "failed", {"qstat": "printf '    job_state = F\\n    Exit_status = 271\\n'"}),
        ("pbs", "failed", {"qstat": "echo 'qstat: Unknown Job Id 7' >&2; exit 153"}),
        ("pbs", "running", {"qstat": SILENT}),
        ("sge", "running", {"qstat": "true", "qacct": "exit 1"}),
        ("sge", "success", {"qstat": "exit 1", "qacct": "printf 'failed       0    \\nexit_status  0\\n'"}),
        ("sge", "failed", {"qstat": "exit 1", "qacct": "printf 'failed       100 : after job\\nexit_status  137\\n'"}),
        ("sge", "running", {"qstat": SILENT, "qacct": SILENT}),
        ("kubernetes", "running", {"kubectl": "echo /"}),
        ("kubernetes", "success", {"kubectl": "echo 1/"}),
        ("kubernetes", "failed", {"kubectl": "echo /1"}),
        ("kubernetes", "failed", {"kubectl": "echo 'Error from server (NotFound): jobs not found' >&2; exit 1"}),
        ("kubernetes", "running", {"kubectl": SILENT}),
    ],
)
def test_a_scheduler_says_how_a_job_ended(scheduler, expected, commands, tmp_path):
    """One that is killed says so as well, unlike with Snakemake's own way, by which it would be waited for forever."""
    for name, script in commands.items():
        program(tmp_path / name, f"#!/bin/sh\n{script}\n")
    status = REPOSITORY / "workflow" / "profiles" / scheduler / "status.sh"
    environment = {"PATH": os.pathsep.join([str(tmp_path), "/usr/bin", "/bin"])}
    done = subprocess.run([status, "7"], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == f"{expected}\n"
