"""The parts of the GPU test. Each runs in the folder of a project that `prepare` makes and leaves its figures there.

Usage: python parts.py NAME    (from run.py)
"""

import csv
import json
import logging
import math
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmcv.ops import RoIAlign, get_compiling_cuda_version, nms
from mmdet.models.losses import FocalLoss
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from passes import passes
from steps import steps
from trial import (
    BATCH,
    CLASSES,
    DEVICE,
    HEIGHT,
    IMAGES,
    ON_CPU,
    ORACLES,
    RULES,
    RUN,
    STEPS,
    WIDTH,
    boxes,
    experiment,
    made_up_outputs,
    write_project,
)

from iou_aware import cli, detections
from iou_aware.data.manifest import Manifest
from iou_aware.method.ranking.nms import suppress, survivors_of
from iou_aware.training import config, train, weights
from iou_aware.training.runner import INTERRUPTED, Runner

Figures = dict[str, Any]
#: How far a loss may be from that of `fp32`, relative to it, in each row of the history.
CLOSE = 0.05
#: Which training's change of all weights is compared with which, and how much the two may differ: in direction (cosine)
#: and in length (ratio). Others start from other weights: with channels innermost, random ones are drawn in that order.
CHANGES = {"fp16": "fp32", "bf16": "fp32", "bf16_compiled": "bf16_channels_last"}
ALIKE, LENGTHS = 0.8, (0.8, 1.25)
COUNTED = range(3, 6)  # the steps in which it is counted how often the host waits for the GPU
WARM = STEPS // 2  # the steps before speed is measured


def prepare(figures: Figures) -> None:
    """Make the project; have the project's own check look at the GPU; say what the machine and its software are."""
    write_project()
    _run("prepare", "fp32", "scenes")
    _run("check", "fp32")
    figures["images"] = f"{STEPS * BATCH} to train on, {IMAGES} to detect on, {WIDTH}x{HEIGHT}"
    figures |= {"Python": platform.python_version(), "PyTorch": torch.__version__, "CUDA": torch.version.cuda}
    figures |= {"mmcv compiled for CUDA": get_compiling_cuda_version(), "CPU cores": len(os.sched_getaffinity(0))}
    if ON_CPU:
        return
    gpu = torch.cuda.get_device_properties(0)
    driver = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    figures |= {
        "GPU": f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, compute capability {gpu.major}.{gpu.minor}",
        "driver": subprocess.run(driver, capture_output=True, text=True, check=False).stdout.strip(),
        "cuDNN": torch.backends.cudnn.version(),
        "NCCL": ".".join(map(str, torch.cuda.nccl.version())),
        "TF32 in convolutions": torch.backends.cudnn.allow_tf32,
        "TF32 in matrix products": torch.backends.cuda.matmul.allow_tf32,
    }


def _run(stage: str, name: str, *arguments: str) -> None:
    """Run one of the project's own commands in this process."""
    status = cli.main([stage, f"configs/experiments/{name}.yaml", *arguments])
    assert status == 0, f"iou-aware {stage} ended with status {status}"


# Post-processing and operations.


def sweep(figures: Figures) -> None:
    """Hold the detections of all rules, on the GPU, against those on the CPU from the same outputs: every bit."""
    trial = experiment("fp32")
    manifest = Manifest.load(trial.paths.manifest("scenes"))
    model = config.resolve(trial.runs[RUN], manifest, trial.root, trial.settings, "work").model
    metas = [{"img_shape": (HEIGHT, WIDTH), "scale_factor": (1.3, 1.7)}] * 2
    for case in ("plain", "ties", "one empty", "both empty"):
        outputs, found = made_up_outputs(2, case), []
        for device in ("cpu", DEVICE):
            options = {"train_cfg": model.train_cfg, "test_cfg": model.test_cfg}
            head = MODELS.build(ConfigDict(model.bbox_head | options)).to(device)
            there = tuple([level.to(device) for level in part] for part in outputs)
            truth = [drawn.to(device) for drawn in boxes(2, 8)]
            swept = head.sweep(there, metas, [*RULES, *ORACLES], gt_bboxes=truth)
            found.append({"group": swept.groups.cpu()} | {key: value.cpu() for key, value in swept.columns.items()})
        expected, here = found
        figures[f"detections, {case}"] = len(expected["group"])
        figures[f"without oracles, {case}"] = int((expected["group"] % len(swept.rules) < len(RULES)).sum())
        for key, values in expected.items():
            assert values.shape == here[key].shape, f"{case}: {len(here[key])} detections, on the CPU {len(values)}"
            others = values != here[key]
            rules = {str(swept.rules[group % len(swept.rules)]) for group in expected["group"][_rows(others)].tolist()}
            told = f"{int(others.sum())} of {values.numel()} values of {key} are not the CPU's, under {sorted(rules)}"
            assert not rules, f"{case}: {told}"
    assert figures["without oracles, ties"] > figures["without oracles, both empty"] == 0
    figures["rules"] = len(RULES) + len(ORACLES)


def _rows(others: torch.Tensor) -> torch.Tensor:
    """Return which rows have any that is true."""
    return others.flatten(1).any(1) if others.dim() > 1 else others


def ops(figures: Figures) -> None:
    """Hold mmcv's NMS against ours, and its RoIAlign and focal loss on the GPU against those on the CPU."""
    count = 200 if ON_CPU else 2000
    drawn = boxes(1, count)[0].to(DEVICE)
    scores = torch.linspace(1, 0.1, count, device=DEVICE)
    order = torch.arange(count, device=DEVICE).unsqueeze(0)
    for threshold in (0.3, 0.5, 0.7):
        survivors = survivors_of(drawn.unsqueeze(0), [count], threshold)
        ranked, image = torch.ones_like(order, dtype=torch.bool), torch.zeros(1, dtype=torch.long, device=DEVICE)
        ours = set(suppress(order, ranked, image, survivors, 1, count)[0].tolist()) - {count}
        theirs = set(nms(drawn, scores, threshold)[1].tolist())
        figures[f"boxes kept, NMS at {threshold}"] = len(ours)
        assert ours == theirs, f"NMS at {threshold}: mmcv decides otherwise about {len(ours ^ theirs)} of {count} boxes"
    generator = torch.Generator().manual_seed(2)
    features, logits = torch.randn(1, 8, 50, 84, generator=generator), torch.randn(4096, CLASSES, generator=generator)
    rois = torch.cat([torch.zeros(count, 1), drawn.cpu()], 1)
    labels = torch.randint(CLASSES + 1, (4096,), generator=generator)
    compared = {"RoIAlign": (RoIAlign(7, 1 / 16, 2), features, rois), "focal loss": (FocalLoss(), logits, labels)}
    for name, both in compared.items():
        figures[f"{name}, GPU from CPU"] = f"{(worst := _difference(*both)):.1e}"
        assert worst < 1e-4, f"{name}: GPU and CPU differ by {worst:g}"


def _difference(function: Callable[..., torch.Tensor], values: torch.Tensor, fixed: torch.Tensor) -> float:
    """Return the largest difference between GPU and CPU of a function and its gradient, in units of the largest."""
    found = []
    for device in ("cpu", DEVICE):
        leaf = values.clone().to(device).requires_grad_()
        result = function(leaf, fixed.to(device))
        result.square().sum().backward()
        found.append([result.detach().cpu(), leaf.grad.cpu()])
    return max(float((there - here).abs().max() / there.abs().max()) for there, here in zip(*found, strict=True))


# Trainings and what follows them.


class Measure(Hook):
    """Measures a training from within: its speed once it is warm, and how often the host waits for the GPU."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.waits: list[str] = []
        self.started = self.seconds = math.nan

    def before_train(self, runner: Runner) -> None:
        """Remember the initial weights."""
        self.initial = weights.of(runner.model)

    def after_train(self, runner: Runner) -> None:
        """Note by how much the weights have changed, all in one vector."""
        ends = weights.of(runner.model).items()
        changes = [end - self.initial[name] for name, end in ends if end.is_floating_point()]
        self.change = torch.cat([change.flatten() for change in changes])

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Begin to count."""
        if batch_idx == COUNTED.start and not ON_CPU:
            self._caught = warnings.catch_warnings(record=True)
            self._said = self._caught.__enter__()
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop counting; start and stop the clock."""
        if batch_idx == COUNTED.stop - 1 and not ON_CPU:
            torch.cuda.set_sync_debug_mode("default")
            self._caught.__exit__(None, None, None)
            self.waits = [f"{said.filename}:{said.lineno}" for said in self._said if "synchroniz" in str(said.message)]
        if batch_idx + 1 in (WARM, len(runner.train_dataloader)):
            if not ON_CPU:
                torch.cuda.synchronize()
            now = time.perf_counter()
            self.started, self.seconds = now, now - self.started


def training(name: str, figures: Figures) -> None:
    """Train under the settings of a name, and hold the losses against those of single precision."""
    measure, trial = Measure(), experiment(name)
    run = next(iter(trial.runs))

    class Measured(Runner):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.register_hook(measure)

    with mock.patch.object(train, "Runner", Measured):
        train.train(trial, run)
    with trial.paths.history(run).open() as history:
        losses = [float(row["loss"]) for row in csv.DictReader(history)]
    record = json.loads(trial.paths.seal(run).read_text())
    figures["steps"] = record["iterations"]
    if record["iterations"] == STEPS:
        figures["images/s"] = round(BATCH * (STEPS - WARM) / measure.seconds, 1)
    if not ON_CPU:
        figures["GPU memory, GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
        figures["waits per step"] = round(len(measure.waits) / len(COUNTED), 1)
        print("The host waited at:", *sorted(set(measure.waits)), sep="\n  ")
    figures["losses"] = losses
    assert all(map(math.isfinite, losses)), "a loss is not finite"
    torch.save(measure.change, f"{name}.pth")
    if name.startswith(("fp16", "bf16")):
        compare_losses(losses, figures)
    if name in CHANGES:
        compare_changes(measure.change, CHANGES[name], figures)


def compare_losses(losses: list[float], figures: Figures) -> None:
    """Hold a training's losses against those of ``fp32``."""
    single = json.loads(Path("figures/fp32.json").read_text())["losses"]
    apart = max(abs(loss - one) / one for loss, one in zip(losses, single, strict=True))
    figures["losses from fp32"] = f"{apart:.1%}"
    assert apart < CLOSE, f"a loss is {apart:.1%} from that of single precision"


def compare_changes(change: torch.Tensor, other: str, figures: Figures) -> None:
    """Hold the change of a training's weights, as a vector, against that of another."""
    expected = torch.load(f"{other}.pth", weights_only=True)
    alike = float(torch.cosine_similarity(change.double(), expected.double(), dim=0))
    ratio = float(change.norm() / expected.norm())
    figures["change of weights"] = f"{ratio:.3f} of {other}'s, cosine {alike:.4f}"
    assert alike > ALIKE, f"the weights went another way than those of {other}: cosine {alike:.3f}"
    assert LENGTHS[0] < ratio < LENGTHS[1], f"the weights went {ratio:.2f} times as far as those of {other}"


def nccl(figures: Figures) -> None:
    """Train as one of several processes that are one in all; they talk by NCCL where there is a GPU."""
    if "LOCAL_RANK" not in os.environ:
        launch = ["-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=1"]
        subprocess.run([sys.executable, *launch, __file__, "nccl"], check=True)
        figures |= json.loads(Path("figures/nccl.json").read_text())
        return
    training("nccl", figures)
    total = torch.ones(1, device=DEVICE)
    torch.distributed.all_reduce(total)
    figures["backend"] = torch.distributed.get_backend()
    assert total.item() == 1
    assert figures["backend"] == ("gloo" if ON_CPU else "nccl")


def predict(figures: Figures) -> None:
    """Detect under all rules with what `fp32` has trained, and evaluate."""
    started = time.perf_counter()
    _run("predict", "fp32", RUN, "--split", "val")
    figures["seconds to predict"] = round(time.perf_counter() - started, 1)
    _run("evaluate", "fp32", RUN, "--split", "val")
    paths, rules = experiment("fp32").paths, [*RULES, *ORACLES]
    measured = json.loads(paths.evaluation(RUN, "val").read_text())["rules"]
    assert list(measured) == rules
    figures["images"], figures["rules"] = IMAGES, len(rules)
    figures["detections"] = sum(len(detections.read(paths.detections(RUN, "val"), rule).confidences) for rule in rules)


def resume(figures: Figures) -> None:
    """Kill a training, then stop another as a cluster does; at the end all must be as if neither had happened."""
    start = lambda name: subprocess.Popen(  # noqa: E731
        [sys.executable, "-m", "iou_aware.cli", "train", f"configs/experiments/{name}.yaml", RUN]
    )
    assert start("uninterrupted").wait() == 0
    ends = []
    for least, end in [(10, subprocess.Popen.kill), (20, subprocess.Popen.terminate)]:
        process = start("resume")
        while _steps("resume") < least:
            assert process.poll() is None, f"the training ended with status {process.returncode}"
            time.sleep(0.02)
        end(process)
        ends.append(process.wait())
    ends.append(start("resume").wait())
    figures["exit statuses"] = ends
    assert ends == [-9, INTERRUPTED, 0]
    ended = [weights.load(_newest(name)) for name in ("uninterrupted", "resume")]
    scalers = [end["optimizer"].get("loss_scaler") for end in ended]
    histories = [end["progress"]["rows"] for end in ended]
    figures["scaler"] = scalers[1] and {key: scalers[1][key] for key in ("scale", "_growth_tracker")}
    figures["same weights"] = all(map(torch.equal, *(end["model"].values() for end in ended)))
    assert ON_CPU or scalers[0], "there is no loss scaler"
    assert scalers[0] == scalers[1], f"the scaler is {scalers[1]}; without interruption {scalers[0]}"
    apart = max(abs(one["loss"] / two["loss"] - 1) for one, two in zip(*histories, strict=True))
    figures["losses from uninterrupted"] = f"{apart:.1%}"
    assert apart < CLOSE


def _newest(name: str) -> Path | None:
    return max(experiment(name).paths.checkpoints(RUN).rglob("iteration_*.pth"), default=None)


def _steps(name: str) -> int:
    newest = _newest(name)
    return 0 if newest is None else int(newest.stem.removeprefix("iteration_").split("-")[0])


def main() -> None:
    """Run one part; write its figures also if it fails."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    name, figures = sys.argv[1], {}
    parts = (prepare, ops, sweep, steps, passes, predict, nccl, resume)
    part = {function.__name__: function for function in parts}.get(name)
    try:
        part(figures) if part else training(name, figures)
    finally:
        Path("figures").mkdir(exist_ok=True)
        Path("figures", f"{name}.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
