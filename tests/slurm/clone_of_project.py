"""A clone of the project, in which the study runs on Slurm."""

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from queue_of_slurm import PATIENCE_S, Job

EXPERIMENT = "configs/experiments/cluster.yaml"


@dataclass
class Clone:
    """A clone of the project and a home folder, both fresh."""

    folder: Path
    home: Path

    def __post_init__(self) -> None:
        self.results = self.folder / "results" / "cluster"
        self.log, self.programs = self.folder.with_name("snakemake.log"), self.folder.with_name("programs")

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
