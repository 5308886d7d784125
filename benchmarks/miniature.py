"""The miniature's detectors and images, for benchmarks that need scores distributed like a trained model's."""

import json
import logging
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from torch import Tensor, nn

from iou_aware.data.miniature import generate as micro
from iou_aware.method import heads

CONFIGS = Path(__file__).parents[1] / "configs"
SIDE, BATCH = 96, 16
Image = tuple[Tensor, DetDataSample]


def draw(count: int, seed: int = 0, side: int = SIDE) -> tuple[list[Image], int]:
    """Return ``count`` scenes of the miniature at ``side`` px, with their ground truth, and the number of classes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        micro.generate({"generator": "micro-coco", "images": {"train": count}, "seed": seed}, root)
        content = json.loads((root / "annotations" / "instances_train.json").read_text())
        classes = [category["id"] for category in content["categories"]]
        return [_image(root, record, content, classes, side) for record in content["images"]], len(classes)


def _image(root: Path, record: dict[str, Any], content: dict[str, Any], classes: list[int], side: int) -> Image:
    pixels = cv2.resize(cv2.imread(str(root / "train" / record["file_name"])), (side, side))
    objects = [one for one in content["annotations"] if one["image_id"] == record["id"]]
    corners = np.array([one["bbox"] for one in objects], np.float32).reshape(-1, 4) * (side / record["width"])
    corners[:, 2:] += corners[:, :2]
    labels = torch.tensor([classes.index(one["category_id"]) for one in objects], dtype=torch.long)
    scale = (side / record["width"],) * 2
    sample = DetDataSample(metainfo={"img_shape": (side, side), "ori_shape": (record["height"], record["width"])})
    sample.set_metainfo({"pad_shape": (side, side), "scale_factor": scale})
    sample.gt_instances = InstanceData(bboxes=torch.from_numpy(corners), labels=labels)
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), sample


def detector(name: str, num_classes: int) -> nn.Module:
    """Return the miniature's ``retinanet`` or ``iou_aware_retinanet``, initialised."""
    assert heads
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    config = Config.fromfile(CONFIGS / "detectors" / "micro" / f"{name}.py")
    config.merge_from_dict(Config.fromfile(CONFIGS / "backbones" / "micro_r50.py").to_dict())
    config.model.bbox_head.num_classes = num_classes
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    return model


def batch_of(images: list[Image]) -> dict[str, list]:
    """Return images as MMDetection's loaders collate them."""
    return {"inputs": [image for image, _ in images], "data_samples": [sample.clone() for _, sample in images]}


def step(model: nn.Module, optimizer: torch.optim.Optimizer, images: list[Image], stacked: bool = False) -> None:
    """Take one training step; ``stacked`` collates the images as this project's loader does."""
    batch = batch_of(images)
    if stacked:
        batch["inputs"] = torch.stack(batch["inputs"])
    data = model.data_preprocessor(batch, True)
    loss, _ = model.parse_losses(model.loss(data["inputs"], data["data_samples"]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def train(model: nn.Module, images: list[Image], steps: int) -> nn.Module:
    """Train for a moment, so that scores are distributed as those of a trained model."""
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    random = np.random.default_rng(0)
    for _ in range(steps):
        step(model, optimizer, [images[place] for place in random.choice(len(images), BATCH, replace=False)])
        schedule.step()
    return model.eval()


@cache
def trained(quick: bool) -> tuple[nn.Module, list[list[Image]], int]:
    """Return an IoU-aware miniature after 400 steps (``quick``: 2), batches of scenes, and the number of classes."""
    images, classes = draw(BATCH if quick else 800)
    model = train(detector("iou_aware_retinanet", classes), images, 2 if quick else 400)
    return model, [images[at : at + BATCH] for at in range(0, min(len(images), 6 * BATCH), BATCH)], classes
