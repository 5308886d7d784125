"""MMEngine's runner, made to tell its progress, to stop at any step, and to resume there with the same result."""

import math
import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce, barrier, get_world_size, is_distributed, is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner as MMEngineRunner

from iou_aware.common.messages import INTERRUPTED, InputError, log
from iou_aware.method.targets import batch_targets
from iou_aware.training import checkpoints, loading
from iou_aware.training.device import channels_last

# A time limit or a preemption loses nothing, as SIGTERM comes first; a machine that dies loses at most this.
SAVE_EVERY_SECONDS = 15 * 60
ASK_EVERY = 10
# The history gets a row every so many steps, and so many rows in a short epoch.
STEPS_PER_ROW, ROWS_PER_EPOCH = 50, 4
_CPU = "cpu_seconds"
# What a checkpoint has of the progress: the history, the unfinished averages and the time spent.
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
        every = min(STEPS_PER_ROW, math.ceil(length / ROWS_PER_EPOCH))
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


class Saving(Hook):
    """Saves the state after every epoch, every so often within one, and when the run is asked to stop; goes on there.

    Args:
        folder: Where to.
    """

    priority = "VERY_LOW"

    def __init__(self, folder: Path):
        self.folder = folder
        self._asked = False
        self._handlers: dict[int, Any] = {}

    def before_train(self, runner) -> None:
        """Handle SIGTERM (preemption, time limit) and SIGINT (a person) by saving and stopping."""
        self._handlers = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        self._saved_at = runner.progress.seconds

    def leave_signals(self) -> None:
        """Restore the signal handlers; until then a signal after the last step changes nothing."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def before_train_epoch(self, runner) -> None:
        """Leave out what the epoch had before an interruption."""
        runner.train_dataloader.batch_sampler.skip = runner.iter % len(runner.train_dataloader)

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save within an epoch if it is due or the run has to stop. All processes decide alike."""
        done = runner.iter + 1
        if done % len(runner.train_dataloader) == 0 or (runner.distributed and done % ASK_EVERY):
            return
        due = runner.progress.seconds - self._saved_at > SAVE_EVERY_SECONDS
        stop, due = _in_any_process(self._asked, due)
        if stop or due:
            self._save(runner, done, stop)

    def after_train_epoch(self, runner) -> None:
        """Save between epochs, after the schedule's step by epoch."""
        (stop,) = _in_any_process(self._asked)
        last = runner.epoch + 1 == runner.max_epochs
        self._save(runner, runner.iter, stop and not last)

    def _save(self, runner, iteration: int, stop: bool) -> None:
        captured = checkpoints.capture(runner, iteration)
        broken = [name for name, tensor in captured["model"].items() if not torch.isfinite(tensor).all()]
        if broken:
            raise InputError(f"weights that are not finite: {', '.join(broken)}; the step before was the last good")
        if is_main_process():
            path = checkpoints.save(self.folder, captured, iteration)
            if stop:
                log.warning("Asked to stop: saved %s. The same command resumes.", path)
        barrier()
        self._saved_at = runner.progress.seconds
        if stop:
            raise SystemExit(INTERRUPTED)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True


class Runner(MMEngineRunner):
    """A runner of a complete config that resumes by itself.

    Args:
        config: The run's config; validation and testing in it are not this runner's. Its ``channels_last`` keeps
            feature maps with their channels innermost, which convolutions on a CPU and tensor cores like.
        name: The run's name in the log.
        folder: The folder of its checkpoints.
    """

    def __init__(self, config: Config, name: str, folder: Path):
        self._channels_last = config.get("channels_last", False)
        init_default_scope(config.default_scope)
        loader = loading.build(config.train_dataloader, config.randomness.seed)
        self.progress = Progress(name, config.train_dataloader.batch_size * get_world_size())
        self.saving = Saving(folder)
        taken = ("model", "work_dir", "optim_wrapper", "param_scheduler", "env_cfg", "default_scope", "randomness")
        super().__init__(
            **{key: config.get(key) for key in taken},
            train_dataloader=loader,
            train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=config.train_cfg.max_epochs),
            default_hooks=dict(runtime_info=None, timer=None, logger=None, checkpoint=None),
            custom_hooks=[self.progress, self.saving, *config.get("custom_hooks", [])],
            launcher="pytorch" if is_distributed() else "none",
            log_level="WARNING",
            visualizer=dict(type="Visualizer", vis_backends=[]),
            experiment_name=name,
        )

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: torch.nn.Module) -> torch.nn.Module:
        """Put the model on its device, and into DistributedDataParallel where there are several processes."""
        if self._channels_last:
            model = channels_last(model)
        batch_targets(model)
        model.data_preprocessor._non_blocking = True  # copy images while the CPU queues kernels
        if self.distributed and not torch.cuda.is_available():
            model_wrapper_cfg = dict(type="MMDistributedDataParallel", device_ids=None, broadcast_buffers=False)
        return super().wrap_model(model_wrapper_cfg, model)

    def build_optim_wrapper(self, optim_wrapper: Any) -> OptimWrapper:
        """Build the optimiser's wrapper, without logging the gradients' norm, which would wait for the GPU."""
        wrapper = super().build_optim_wrapper(optim_wrapper)
        if wrapper.clip_grad_kwargs:
            clip = wrapper.clip_func
            wrapper.clip_func = lambda *args, **kwargs: (clip(*args, **kwargs), None)[1]
        return wrapper

    def load_or_resume(self) -> None:
        """Restore the newest checkpoint, if there is one."""
        if saved := checkpoints.load(self.saving.folder):
            state, path = saved
            checkpoints.restore(self, state)
            if is_main_process():
                log.info("Resuming from %s", path)
        elif is_main_process() and (others := checkpoints.of_other_configs(self.saving.folder)):
            log.warning(
                "Starting from the beginning: %s is of another config, number of processes, or code of the method. "
                "Stop this training and undo the change to resume from it.",
                others[0],
            )

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """Log nothing: run.json has the versions, and querying compilers takes a second."""

    def dump_config(self) -> None:
        """Write nothing: the run's config is written when it is finished."""


def _in_any_process(*flags: bool) -> list[bool]:
    """Return which of the flags are set in any process; a single process need not synchronise."""
    if not is_distributed():
        return list(flags)
    told = torch.tensor(flags, dtype=torch.int32)
    all_reduce(told, "max")
    return [bool(flag) for flag in told.tolist()]


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
