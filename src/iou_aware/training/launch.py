"""Several training processes on one machine, one per GPU, or on the CPU."""

import atexit
import os

import torch
from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from iou_aware.common import process
from iou_aware.common.messages import INTERRUPTED, log

# Seconds that the processes have to save after SIGTERM. torchrun's default is 30, which a slow file system may need for
# the checkpoint alone; the cluster's profile gives 120 seconds' notice of a time limit.
SAVING_SECONDS = 100


def join() -> None:
    """Join the process group of a training.

    A process ends with its parent, which holds the GPUs. Beside its GPU it uses one core, whatever ``OMP_NUM_THREADS``
    says: Snakemake sets that to all cores of the job, and processes that each use all of them slow each other down.
    """
    process.end_with_parent()
    torch.set_num_threads(1)
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if gpu else "gloo")
    atexit.register(torch.distributed.destroy_process_group)


def launch(processes: int, arguments: list[str]) -> None:
    """Run an ``iou-aware`` command as several processes, as ``torchrun --standalone`` does, and wait for them.

    Raises:
        SystemExit: With the exit code 75, SIGTERM was sent to this process or to them, and they have saved; with any
            other, one of them failed with it, and has logged why.
    """
    log.info("Starting %d processes: iou-aware %s", processes, " ".join(arguments))
    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(SAVING_SECONDS)
    # They connect by the loopback address: the name of a cluster's node may not resolve to it.
    options = ["--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={processes}"]
    try:
        torchrun.main([*options, "-m", "iou_aware.cli", *arguments])
    except SignalException as fault:
        raise SystemExit(INTERRUPTED) from fault
    except ChildFailedError as fault:
        _, failure = fault.get_first_failure()
        raise SystemExit(failure.exitcode if failure.exitcode > 0 else 1) from fault
