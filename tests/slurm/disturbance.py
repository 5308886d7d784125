"""What clusters do to jobs: cancel, requeue, time out, preempt; nodes that die."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

from clone_of_project import Clone, read
from queue_of_slurm import Job, running, slurm, state, wait

NODE = socket.gethostname().split(".")[0]


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
        return set(self.reached)

    def training(self) -> Job:
        """Return a running training that has saved something since it started or was last disturbed."""

        def one_that_has_come_further() -> Job | None:
            further = (job for job in running("train") if self.clone.saved(job) > self.reached.get(job.run, 0))
            return next(further, None)

        job = wait(one_that_has_come_further, "a training saves a checkpoint", self.process)
        self.reached[job.run] = self.clone.saved(job)
        return job

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

    def revive_the_node(self) -> None:
        """Bring the node back; it may report for duty by itself, and cannot be resumed then."""

        def takes_jobs() -> bool:
            if not re.search(r"State=\S*(DOWN|DRAIN)", slurm("scontrol", "show", "node", NODE)):
                return True
            subprocess.run(["scontrol", "update", f"NodeName={NODE}", "State=RESUME"], check=False, capture_output=True)
            return False

        wait(takes_jobs, "the node takes jobs again", self.process)

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
