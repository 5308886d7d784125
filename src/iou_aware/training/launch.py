"""Several training processes on one machine, one per GPU, or on the CPU where there is none."""

import logging
import os

import torch
from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from iou_aware.common import process
from iou_aware.training.runner import Interrupted
from iou_aware.workflow.attempts import INTERRUPTED

logger = logging.getLogger(__name__)

# How long the processes have to save once SIGTERM has come, in seconds; torchrun would end them after 30, which a slow
# file system may need for the checkpoint alone. The cluster's profile gives 120 seconds' notice of a time limit.
SAVING_SECONDS = 100


def is_one_of_many() -> bool:
    """Say whether this process was started by torchrun."""
    return "LOCAL_RANK" in os.environ


def meet() -> None:
    """Meet the processes that were started together with this one.

    None of them outlives the one that started it, which has taken their GPUs. Each computes on one core beside its GPU,
    whatever ``OMP_NUM_THREADS`` says: Snakemake sets that to all cores of the job, and processes that each take all of
    them stand in each other's way.
    """
    process.end_with_parent()
    torch.set_num_threads(1)
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if gpu else "gloo")


def launch(processes: int, arguments: list[str]) -> None:
    """Run an ``iou-aware`` command as several processes, as ``torchrun --standalone`` does, and wait for them.

    Raises:
        Interrupted: SIGTERM came, to this process or to them; they have saved.
        SystemExit: One of them failed, with its exit code; it has said why.
    """
    logger.info("Starting %d processes: iou-aware %s", processes, " ".join(arguments))
    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(SAVING_SECONDS)
    # They meet at the machine's own address: the name of a cluster's node may not lead back to it.
    options = ["--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={processes}"]
    try:
        torchrun.main([*options, "-m", "iou_aware.cli", *arguments])
    except SignalException as fault:
        raise Interrupted from fault
    except ChildFailedError as fault:
        _, failure = fault.get_first_failure()
        if failure.exitcode == INTERRUPTED:
            raise Interrupted from fault
        raise SystemExit(failure.exitcode if failure.exitcode > 0 else 1) from fault
