"""A run's log lines while it trains, and the rows of its history."""

import math
import os
import time
from datetime import timedelta
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size, is_distributed, is_main_process
from mmengine.hooks import Hook

from iou_aware.common.messages import InputError, log

EVERY = 50
PER_EPOCH = 4
_CPU = "cpu_seconds"
# What a checkpoint has of it: the history, the unfinished averages and the time spent.
_STATE = ("rows", "seconds", "cpu_seconds", "iterations", "_sums", "_count")


class Progress(Hook):
    """Averages the losses between two rows of the history, and stops a run whose loss is not finite.

    It replaces MMEngine's runtime, timer and logger hooks: they keep the history of every value in arrays that every
    step copies, and lose it when a run resumes.

    Args:
        name: The run's name in the log.
        batch_size: Images per step of all processes.

    Attributes:
        rows: The history: epoch and iteration (both counted from 1), lr, and every loss averaged since the row before
            and over all processes.
        seconds: Time spent in training steps and their data, over all sessions of the run.
        cpu_seconds: CPU time, user and system, spent in them by all processes; that of processes which load data counts
            when they end, with an epoch.
        iterations: Steps made in that time.
    """

    priority = "VERY_HIGH"

    def __init__(self, name: str, batch_size: int):
        self.name, self.batch_size = name, batch_size
        self.rows: list[dict[str, float]] = []
        self.seconds, self.cpu_seconds, self.iterations = 0.0, 0.0, 0
        self._sums: dict[str, float] = {}
        self._count = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the history, the unfinished averages and the time spent."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        vars(self).update(state)

    def before_train(self, runner) -> None:
        """Start the clocks."""
        self._clock, self._cpu_clock = time.perf_counter(), sum(os.times()[:4])

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Sum the losses; add a row to the history when it is due.

        Raises:
            InputError: The loss is infinite or not a number.
        """
        cpu_clock = sum(os.times()[:4])  # user and system, of this process and of those that loaded data and ended
        means = _of_all_processes(outputs, cpu_clock - self._cpu_clock)
        if not math.isfinite(means["loss"]):
            raise InputError(_not_finite(self.name, runner, outputs, data_batch))
        self.cpu_seconds += get_world_size() * means.pop(_CPU)
        self._cpu_clock = cpu_clock
        for key, value in means.items():
            self._sums[key] = self._sums.get(key, 0.0) + value
        self._count += 1
        now = time.perf_counter()
        self.seconds, self.iterations, self._clock = self.seconds + now - self._clock, self.iterations + 1, now
        length = len(runner.train_dataloader)
        every = min(EVERY, math.ceil(length / PER_EPOCH))
        step = runner.iter % length + 1
        if step % every == 0 or step == length:
            means = {key: value / self._count for key, value in self._sums.items()}
            rate = runner.optim_wrapper.get_lr()["lr"][0]  # of this step: the schedule's hook comes later
            self.rows.append({"epoch": runner.epoch + 1, "iteration": runner.iter + 1, "lr": rate} | means)
            self._sums, self._count = {}, 0
            if is_main_process():
                self._say(runner, step, length)

    def _say(self, runner, step: int, length: int) -> None:
        row = self.rows[-1]
        parts = ", ".join(f"{key.removeprefix('loss_')} {row[key]:.3f}" for key in row if key.startswith("loss_"))
        left = self.seconds / self.iterations * (runner.max_iters - runner.iter - 1)
        log.info(
            "%s: epoch %d/%d, step %d/%d, lr %.2e, loss %.3f (%s), %.1f images/s, %s left",
            *(self.name, runner.epoch + 1, runner.max_epochs, step, length, row["lr"], row["loss"], parts),
            *(self.batch_size * self.iterations / self.seconds, timedelta(seconds=round(left))),
        )


def _of_all_processes(losses: dict[str, torch.Tensor], seconds: float) -> dict[str, float]:
    """Return the means over all processes of the losses, in double precision, and of the CPU time.

    This is where a step waits for the GPU, once, and where several processes synchronise.
    """
    values = torch.stack([value.detach().double() for value in losses.values()])
    if not is_distributed():
        return dict(zip(losses, values.tolist(), strict=True)) | {_CPU: seconds}
    values = torch.cat([values, values.new_tensor([seconds])])
    all_reduce(values, "mean")
    return dict(zip([*losses, _CPU], values.tolist(), strict=True))


def _not_finite(name: str, runner, outputs: dict[str, torch.Tensor], batch: Any) -> str:
    where = f"run {name}: the loss is not finite at iteration {runner.iter + 1} (epoch {runner.epoch + 1})"
    if math.isfinite(outputs["loss"].item()):
        return f"{where} in another process, whose log names its images."
    losses = ", ".join(f"{key} {value.item():g}" for key, value in outputs.items())
    images = ", ".join(sample.img_path for sample in batch["data_samples"])
    return (
        f"{where}: {losses}; images {images}. Nothing of this step is kept. Look at these images' boxes, or lower "
        "the learning rate."
    )
