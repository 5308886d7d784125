"""The profiles of clusters and machines: that Snakemake takes them, what it then tells, what it asks schedulers for.

Scripts stand in for the commands of the schedulers, which run a job at once. An executor that is not installed is stood
in for by that of dry runs, without the settings that are its own; docs/schedulers.md has the command that installs it.
"""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from builders.workflows import REPOSITORY, SMALL, Project

from iou_aware.experiment.experiment import Experiment
from iou_aware.workflow.needs import Needs

PROFILES = sorted(path.parent.name for path in REPOSITORY.glob("workflow/profiles/*/profile.yaml"))
OWN = ("cluster-generic-", "slurm-")  # settings of executors
# They keep what they were asked for, run the job script, and know how it ended.
RUN = '(sh "$script" > "$id.out" 2>&1; echo $? > "$id.status") &'
QSUB = f'#!/bin/sh\necho "$@" >> asked\nfor script; do :; done\nid=$$\n{RUN}\necho $id\n'
PBS_QSTAT = """\
#!/bin/sh
[ $1.$2 = -x.-f ] || exit 1
if [ -e $3.status ]; then printf 'Job Id: %s\\n    job_state = F\\n    Exit_status = %s\\n' $3 $(cat $3.status)
else printf 'Job Id: %s\\n    job_state = R\\n' $3; fi
"""
SGE_QSTAT = '#!/bin/sh\n[ ! -e "$2.status" ]\n'
SGE_QACCT = "#!/bin/sh\nprintf 'failed       0    \\nexit_status  %s\\n' $(cat $2.status)\n"
KUBECTL = f"""\
#!{sys.executable}
import json, subprocess, sys, yaml
from pathlib import Path
if sys.argv[1] == "create":
    job = yaml.safe_load(sys.stdin)
    Path("asked").open("a").write(json.dumps(job) + "\\n")
    pod = job["spec"]["template"]["spec"]
    name = f"job.batch/{{job['metadata']['generateName']}}1"
    (container,) = pod["containers"]
    done = subprocess.run(container["command"], cwd=container["workingDir"], capture_output=True)
    Path("status").write_text("/1" if done.returncode else "1/")
    print(name)
else:
    assert sys.argv[1:] == ["get", "job.batch/iou-aware-1", "-o", "jsonpath={{.status.succeeded}}/{{.status.failed}}"]
    print(Path("status").read_text())
"""
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
SCHEDULERS = {
    "pbs": {"qsub": QSUB, "qstat": PBS_QSTAT},
    "sge": {"qsub": QSUB, "qstat": SGE_QSTAT, "qacct": SGE_QACCT},
    "kubernetes": {"kubectl": KUBECTL},
}


def commands(folder: Path, scheduler: str) -> None:
    for name, text in SCHEDULERS[scheduler].items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


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


def test_a_run_says_what_it_does(tmp_path):
    study = Project(tmp_path, **SMALL)
    done = study.snakemake("--profile", "workflow/profiles/workstation", "--until", "train")
    assert done.returncode == 0, done.stderr
    assert "Train shapes.retinanet" in done.stderr
    assert re.search(r"^3 of \d+ steps", done.stderr, re.MULTILINE)


def test_lsf_is_asked_for_the_gpus_of_every_training(monkeypatch):
    """Its plugin knows no GPUs, so that the profile reckons them from the cores."""
    monkeypatch.chdir(REPOSITORY)
    paper = Experiment.load("configs/experiments/paper.yaml")
    profile = yaml.safe_load(Path("workflow/profiles/lsf/profile.yaml").read_text())
    asked = profile["set-resources"]["train"]["lsf_extra"]
    for name in paper.trained:
        evaluated = eval(asked, {"threads": Needs(paper).training_cores(name)})
        assert f"-gpu num={Needs(paper).training_gpus(name)}:" in evaluated


@pytest.mark.skipif(
    find_spec("snakemake_executor_plugin_cluster_generic") is None,
    reason="snakemake-executor-plugin-cluster-generic is not installed; it is not among what `make setup` installs",
)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_scheduler_is_asked_for_what_a_training_needs(scheduler, tmp_path):
    study = Project(tmp_path, **SMALL, settings={"gpus": 2, "workers": 1})
    commands(tmp_path / "bin", scheduler)
    study.run("--profile", f"workflow/profiles/{scheduler}", "--until", "train", "--seconds-between-status-checks", "1")
    asked = (tmp_path / "asked").read_text().splitlines()
    if scheduler == "kubernetes":
        pods = [json.loads(job)["spec"]["template"]["spec"] for job in asked]
        limits = [pod["containers"][0]["resources"]["limits"] for pod in pods]
        assert sorted((one["nvidia.com/gpu"], one["cpu"], one["memory"]) for one in limits) == [
            ("0", "1", "8000M"),
            *[("2", "4", "16000M")] * 2,
        ]
        assert {pod["activeDeadlineSeconds"] for pod in pods} == {2 * 3600, 12 * 3600}
        return
    expected = {
        "pbs": "-q workq -j oe -o .snakemake/pbs_logs -l select=1:ncpus=4:mem=16000mb:ngpus=2 -l walltime=43200",
        "sge": "-q all.q -j y -o .snakemake/sge_logs -pe smp 4 -l gpu=2 -l mem_free=4000M -l h_rt=43200",
    }
    assert [expected[scheduler] in line for line in asked if "-N train" in line] == [True, True]


@pytest.mark.parametrize("status", [0, 75])
def test_a_pod_that_is_to_go_waits_for_what_its_job_makes_of_it(tmp_path, status):
    """The stage saves or finishes, and the job script, between the two, must not die of the signal before."""
    (tmp_path / "kubectl").write_text("#!/bin/sh\ncat > job.yaml\n")
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "stage.py").write_text(STAGE.format(status=status))
    (tmp_path / "job.sh").write_text(f"{sys.executable} stage.py && exit 0 || exit 1")
    os.mkfifo(tmp_path / "started")
    asked = {"IMAGE": "i", "CLAIM": "c", "MOUNT": "/m", "GPUS": "1", "CORES": "1", "MEMORY_MB": "1", "MINUTES": "1"}
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    submit = REPOSITORY / "workflow" / "profiles" / "kubernetes" / "submit.sh"
    subprocess.run([submit, "job.sh"], cwd=tmp_path, env=asked | {"PATH": path}, check=True)
    (container,) = yaml.safe_load((tmp_path / "job.yaml").read_text())["spec"]["template"]["spec"]["containers"]
    with subprocess.Popen(container["command"], cwd=container["workingDir"], start_new_session=True) as pod:
        (tmp_path / "started").read_text()
        pod.terminate()
        assert pod.wait(timeout=60) == min(status, 1)
    assert (tmp_path / "saved").is_file()


@pytest.mark.parametrize("scheduler", ["pbs", "sge", "kubernetes"])
def test_a_scheduler_says_how_a_job_ended(scheduler, tmp_path):
    """One that is killed says so as well, unlike with Snakemake's own way, by which it would be waited for forever."""
    said = {
        "pbs": {
            "running": {"qstat": "echo '    job_state = Q'"},
            "success": {"qstat": "printf '    job_state = F\\n    Exit_status = 0\\n'"},
            "failed": {"qstat": "printf '    job_state = F\\n    Exit_status = 271\\n'"},
        },
        "sge": {
            "running": {"qstat": "true", "qacct": "exit 1"},
            "success": {"qstat": "exit 1", "qacct": "printf 'failed       0    \\nexit_status  0\\n'"},
            "failed": {
                "qstat": "exit 1",
                "qacct": "printf 'failed       100 : assumedly after job\\nexit_status  137\\n'",
            },
        },
        "kubernetes": {
            "running": {"kubectl": "echo /"},
            "success": {"kubectl": "echo 1/"},
            "failed": {"kubectl": "echo /1"},
        },
    }[scheduler]
    deleted = {"pbs": {"qstat": "echo 'qstat: Unknown Job Id 7' >&2; exit 153"}}
    deleted["kubernetes"] = {"kubectl": "echo 'Error from server (NotFound): jobs not found' >&2; exit 1"}
    silent = {"pbs": ["qstat"], "sge": ["qstat", "qacct"], "kubernetes": ["kubectl"]}[scheduler]
    cases = [*said.items(), ("running", dict.fromkeys(silent, "echo 'cannot connect to server' >&2; exit 1"))]
    cases += [("failed", deleted[scheduler])] if scheduler in deleted else []
    for number, (expected, stand_ins) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in stand_ins.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        status = REPOSITORY / "workflow" / "profiles" / scheduler / "status.sh"
        environment = {"PATH": os.pathsep.join([str(folder), "/usr/bin", "/bin"])}
        done = subprocess.run([status, "7"], env=environment, capture_output=True, text=True, check=False)
        assert done.stdout == f"{expected}\n", stand_ins
