"""The stage ``pretrain``: a backbone learns to name drawn shapes, as others have learnt to on ImageNet.

Each picture shows one shape, of more classes than any detection set has. The stage is for backbones whose config
describes a pretraining where others name an address. The weights lie where those that are fetched do, and a training
takes them from there in the same way.
"""

import contextlib
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from filelock import FileLock
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from numpy.typing import NDArray
from torch import nn

from iou_aware.common import assignments, provenance
from iou_aware.common.files import sha256, write_json, writing
from iou_aware.common.messages import InputError, log
from iou_aware.data.miniature import scenes
from iou_aware.data.miniature.scenes import Style, cross, draw, polygon, star
from iou_aware.experiment import backbones
from iou_aware.experiment.experiment import Experiment
from iou_aware.training import weights

#: The settings of a pretraining; configs/schedules/shapes.py says what each is.
NEEDED = (
    *("detector", "seed", "images", "held_out", "side"),
    *("epochs", "batch_size", "lr", "weight_decay", "label_smoothing"),
)

_DISC, _SQUARE = polygon(48), polygon(4, turn=30)
STYLE = Style(
    name="shapes",
    shapes={
        "triangle": (polygon(3, turn=-60),),
        "triangle upside down": (polygon(3, turn=60),),
        "square": (_SQUARE,),
        "diamond": (polygon(4),),
        "pentagon": (polygon(5, turn=-60),),
        "hexagon": (polygon(6),),
        "disc": (_DISC,),
        "half disc": (_DISC[:25],),
        "thin ring": (_DISC, _DISC[::-1] * 15 // 20),
        "thick ring": (_DISC, _DISC[::-1] * 8 // 20),
        "frame": (_SQUARE, _SQUARE[::-1] * 11 // 20),
        "star of four": (star(4, inner=40),),
        "star of five": (star(5, inner=42),),
        "star of eight": (star(8, inner=55),),
        "thin cross": (cross(20),),
        "thick cross": (cross(45),),
    },
    objects=(1, 1),
    sizes=(96, 236),
    ground=(40, 170),
    vivid=70,
    clutter=(1, 5),
    noise=7,
)


class Classifier(nn.Module):
    """A detector's backbone with a linear layer on the mean of its last feature map.

    Args:
        detector: The config of the detector's model with the backbone in it.
    """

    def __init__(self, detector: Mapping[str, Any]):
        super().__init__()
        self.backbone = MODELS.build(dict(detector["backbone"], init_cfg=None))
        self.linear = nn.Linear(detector["neck"]["in_channels"][-1], len(STYLE.shapes))
        pixels = detector["data_preprocessor"]
        self.register_buffer("mean", torch.tensor(pixels["mean"]))
        self.register_buffer("std", torch.tensor(pixels["std"]))
        self.backbone.init_weights()
        self.to(memory_format=torch.channels_last)

    def forward(self, pictures: NDArray[np.uint8]) -> torch.Tensor:
        """Return the logits of pictures ``(N, H, W, 3)`` RGB, ``(N, classes)``."""
        width = pictures.shape[2]
        rows = torch.from_numpy(pictures).flatten(2).float()  # whole rows are normalised faster than three channels
        rows = (rows - self.mean.repeat(width)) / self.std.repeat(width)
        return self.linear(self.backbone(rows.unflatten(2, (width, 3)).permute(0, 3, 1, 2))[-1].mean((2, 3)))


def pretrain(experiment: Experiment, backbone: str) -> None:
    """Pretrain a backbone; write its weights, and a receipt with the settings and the accuracy on held-out pictures.

    Args:
        experiment: The study.
        backbone: A file of ``configs/backbones``, without ``.py``.

    Raises:
        InputError: Its config describes no pretraining, or not all of one.
    """
    paths, began = experiment.paths, time.process_time()
    settings = backbones.origin(paths.backbone(backbone))
    if missing := [name for name in NEEDED if not isinstance(settings, dict) or name not in settings]:
        raise InputError(
            f"{paths.backbone(backbone)}, {backbones.PRETRAINING}: {', '.join(missing)} missing; expected init_cfg="
            f"dict(type='Pretrained', checkpoint={backbones.PRETRAINING!r}) and, under that name, all of "
            f"{', '.join(NEEDED)}, as in shapes_r50.py and configs/schedules/shapes.py."
        )
    torch.manual_seed(settings["seed"])
    init_default_scope("mmdet")
    detector = assignments.read(paths.configs / "detectors" / f"{settings['detector']}.py")
    network = Classifier(assignments.merged(detector, assignments.read(paths.backbone(backbone)))["model"])
    pictures = {
        split: shared_shapes(paths.shapes, split, settings[count], settings["side"], settings["seed"])
        for split, count in {"train": "images", "held out": "held_out"}.items()
    }
    fit(network, *pictures["train"], settings)
    accuracy = _accuracy(network, *pictures["held out"])
    target = paths.pretrained(backbone)
    with writing(target) as beside, beside.open("wb") as file:
        torch.save({"state_dict": weights.of(network.backbone)}, file)
    record = {"pretraining": settings, "accuracy": accuracy, "cpu_seconds": time.process_time() - began}
    write_json(paths.receipt(backbone), record | {"sha256": sha256(target), "provenance": provenance.collect()})
    log.info("%s: %.1f %% of %d held-out pictures named", target, 100 * accuracy, settings["held_out"])


def fit(
    network: Classifier, pictures: NDArray[np.uint8], labels: NDArray[np.int64], settings: Mapping[str, Any]
) -> None:
    """Train on pictures, half of them mirrored, by AdamW with one cycle of the learning rate."""
    rng = np.random.default_rng(settings["seed"])
    parameters = list(network.parameters())
    optimiser = torch.optim.AdamW(
        parameters, settings["lr"], betas=(0.9, 0.98), weight_decay=settings["weight_decay"], fused=True
    )
    steps = len(pictures) // settings["batch_size"]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings["lr"], settings["epochs"] * steps, pct_start=0.15, div_factor=100, final_div_factor=100
    )
    for epoch in range(settings["epochs"]):
        total = 0.0
        for chosen in rng.permutation(len(pictures))[: steps * settings["batch_size"]].reshape(steps, -1):
            batch = pictures[chosen]
            mirrored = rng.random(len(batch)) < 0.5
            batch[mirrored] = batch[mirrored, :, ::-1]
            loss = nn.functional.cross_entropy(
                network(batch), torch.from_numpy(labels[chosen]), label_smoothing=settings["label_smoothing"]
            )
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 5)
            optimiser.step()
            schedule.step()
            total += loss.item()
        log.info("Epoch %d of %d: loss %.3f", epoch + 1, settings["epochs"], total / steps)


@torch.no_grad()
def _accuracy(network: Classifier, pictures: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Return the share of pictures that the network names."""
    network.eval()
    named = [network(batch).argmax(1).numpy() for batch in np.array_split(pictures, -(-len(pictures) // 100))]
    return float((np.concatenate(named) == labels).mean())


def shared_shapes(
    folder: Path, split: str, count: int, side: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return what ``draw_shapes`` draws, from ``folder``, where the first that needs it keeps it for the others."""
    code = b"".join(Path(file).read_bytes() for file in (scenes.__file__, __file__))
    name = hashlib.sha256(code + repr((split, count, side, seed)).encode()).hexdigest()[:12]
    kept = folder / f"{name}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as alone:
        with contextlib.suppress(NotImplementedError, OSError):  # clusters mount some file systems without locks
            alone.enter_context(FileLock(folder / f".{name}.lock"))
        if not kept.is_file():
            pictures, labels = draw_shapes(split, count, side, seed)
            with writing(kept) as beside, beside.open("wb") as file:
                np.savez(file, pictures=pictures, labels=labels)
    with np.load(kept) as arrays:
        return arrays["pictures"], arrays["labels"]


def draw_shapes(split: str, count: int, side: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw pictures of one shape each.

    Args:
        split: What they are for; different words give different pictures.
        count: How many.
        side: Their width and height, pixels.
        seed: Everything drawn follows from it.

    Returns:
        The pictures, ``(count, side, side, 3)`` RGB, and of each the index of its shape in the style, ``(count,)``.
    """
    pictures, labels = np.empty((count, side, side, 3), np.uint8), np.empty(count, np.int64)
    names = list(STYLE.shapes)
    for index in range(count):
        scene, objects = draw(STYLE, (seed, index, len(split), *split.encode()))
        # OpenCV's fixed-point interpolation, as in the scenes: the same on every processor.
        pictures[index] = cv2.resize(scene, (side, side), interpolation=cv2.INTER_LINEAR_EXACT)[..., ::-1]
        labels[index] = names.index(objects[0].category)
    return pictures, labels
