"""The stage ``train``: trains one run, from its last checkpoint if there is one, and seals it."""

import hashlib
import json
import resource
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process

from iou_aware.common import provenance, seal
from iou_aware.common.files import csv_text, sha256, write_text
from iou_aware.common.messages import InputError, log
from iou_aware.data.manifest import Manifest
from iou_aware.experiment import backbones, recipe
from iou_aware.experiment.experiment import Experiment
from iou_aware.method import heads, iou_branch, losses, targets, trunk
from iou_aware.training import checkpoints, config, device, launch, weights
from iou_aware.training.runner import Runner
from iou_aware.workflow.costs import Estimates

# What a training computes; a checkpoint is of these.
CODE = (config, heads, iou_branch, losses, targets, trunk)


def train(experiment: Experiment, run_name: str) -> None:
    """Train one run and write its ``weights.pth``, ``config.py``, ``history.csv`` and, last, ``run.json``.

    An interrupted run resumes; on a CPU its result equals that of an uninterrupted one to the last bit. With
    ``settings.gpus`` above 1 it starts that many processes, on GPUs or, where there are none, on the CPU.

    Args:
        experiment: The study.
        run_name: One of ``experiment.runs``.

    Raises:
        InputError: A config, the data or a checkpoint is wrong, or the loss is no longer finite.
        SystemExit: SIGTERM was received and the state saved; the same command resumes. The exit code is 75.
    """
    paths, run = experiment.paths, experiment.runs[run_name]
    if run.is_released:
        raise InputError(f"{run_name}: its weights were released and are not trained; run `iou-aware release`.")
    gpus = Estimates(experiment).gpus(run)
    settings = experiment.settings | {"gpus": gpus}
    chosen = device.choose(settings, gpus)
    if torch.distributed.is_torchelastic_launched():
        launch.join()
    elif gpus > 1:
        launch.launch(gpus, ["train", str(experiment.write_resolved()), run_name])
        return
    device.try_out(chosen)
    manifest = experiment.manifest(run, verify=True)
    start = backbones.weights(experiment, run.backbone)
    start_sha256 = start and sha256(start)
    resolved = config.resolve(run, manifest, experiment.root, settings, paths.checkpoints(run_name))
    values = experiment.training_values(run_name) | {"gpus": gpus, "recipe": recipe.read(paths, run)}
    saved = paths.checkpoints(run_name) / _identity(values, manifest, start_sha256)
    started = datetime.now(UTC)

    runner = Runner(resolved, run_name, saved)
    if is_main_process():
        images = manifest.splits[manifest.train].counts["images"]
        used = len(runner.train_dataloader.dataset)
        log.info("Training on %d of %d images; the others have no boxes or are under 32 pixels", used, images)
    try:
        runner.train()
        if is_main_process():
            record = {"run": run.as_dict(), "started": started.isoformat(), "backbone_sha256": start_sha256}
            _finish(runner, config.to_text(resolved, experiment.root), paths.run_folder(run_name), record)
            checkpoints.keep(saved, 1)
    finally:
        runner.saving.leave_signals()


def _identity(values: Mapping[str, Any], manifest: Manifest, start_sha256: str | None) -> str:
    """Return a digest of what a checkpoint depends on: values, initial weights, annotations, code of the method."""
    known = [values, start_sha256, manifest.splits[manifest.train].sha256]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for module in CODE:
        digest.update(Path(module.__file__).read_bytes())
    return digest.hexdigest()[:12]


def _finish(runner: Runner, resolved: str, folder: Path, record: dict[str, Any]) -> None:
    """Write the files of a finished run."""
    progress = runner.progress
    classes = runner.train_dataloader.dataset.metainfo["classes"]
    weights.save(runner.model, classes, folder / "weights.pth")
    write_text(folder / "config.py", resolved)
    write_text(folder / "history.csv", csv_text(list(progress.rows[0]), progress.rows))
    record |= {
        "finished": datetime.now(UTC).isoformat(),
        "seconds": progress.seconds,
        "cpu_seconds": progress.cpu_seconds,
        "epochs": runner.max_epochs,
        "iterations": runner.iter,
        "train_images": len(runner.train_dataloader.dataset),
        "batch_size": progress.batch_size,
        "images_per_second": progress.batch_size * progress.iterations / progress.seconds,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "processes": runner.world_size,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "tf32": torch.cuda.is_available() and torch.backends.cudnn.allow_tf32,
        "losses": {key: value for key, value in progress.rows[-1].items() if key.startswith("loss")},
        "provenance": provenance.collect(),
    }
    seal.write(folder, record)
    log.info("%s: %.0f s of training, %s", runner.progress.name, progress.seconds, folder)
