"""MMEngine's runner, made to stop at any step and to resume from there with the same result."""

import signal
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
from iou_aware.training.progress import Progress

# A time limit or a preemption loses nothing, as SIGTERM comes first; a machine that dies loses at most this.
SAVE_EVERY_SECONDS = 15 * 60
ASK_EVERY = 10


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


def _in_any_process(*flags: bool) -> list[bool]:
    """Return which of the flags are set in any process; a single process need not synchronise."""
    if not is_distributed():
        return list(flags)
    told = torch.tensor(flags, dtype=torch.int32)
    all_reduce(told, "max")
    return [bool(flag) for flag in told.tolist()]


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
