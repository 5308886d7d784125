"""The stage ``predict``: one pass of a trained run over a split, and its detections under every rule."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.image import rescale_size
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from iou_aware import detections
from iou_aware.common import provenance, seal
from iou_aware.common.messages import InputError, log
from iou_aware.data.manifest import Manifest
from iou_aware.detections import Detections
from iou_aware.experiment.experiment import Experiment
from iou_aware.method.confidence import Rule
from iou_aware.method.ranking import BatchDetections
from iou_aware.training import config as configs
from iou_aware.training import device, loading, parts, weights

SAY_EVERY_SECONDS = 10


def predict(experiment: Experiment, run_name: str, split: str) -> None:
    """Write the detections of one run on one split, under every rule, from one forward pass per image.

    Args:
        experiment: The study.
        run_name: One of ``experiment.runs``.
        split: A split of the run's dataset.

    Raises:
        InputError: The run is not finished, or one of its files has changed since; the split does not exist, has no
            boxes although every rule needs them, or has other classes than the run was trained on; or the run's
            detector cannot rank by one of its rules.
    """
    paths, run = experiment.paths, experiment.runs[run_name]
    chosen = device.choose(experiment.settings)
    device.try_out(chosen)
    record = seal.verify(paths.run_folder(run_name))
    manifest = experiment.manifest(run, verify=True)
    rules = experiment.rules_for(run, split)
    left_out = [rule for rule in experiment.rules_for(run) if rule not in rules]
    if not rules:
        raise InputError(
            f"rule {left_out[0]}: the split '{split}' of {run.dataset} has no boxes; name a rule that needs none."
        )
    if left_out:
        log.info("%s has no boxes: without %s", split, ", ".join(left_out))

    config = parts.read(paths.config(run_name))
    model = load_model(config, paths.weights(run_name)).to(chosen)
    require_rules(model, rules, run_name)
    loader = build_loader(config, manifest, experiment.root, split, experiment.settings)
    made = provenance.collect() | {
        "run": run_name,
        "split": split,
        "config_sha256": record["config_sha256"],
        "weights_sha256": record["weights_sha256"],
        "annotations_sha256": manifest.split(split).sha256,
    }
    categories = np.asarray(loader.dataset.cat_ids, np.int32)
    label = f"{run_name}, {split}"
    batches = tqdm(loader, label, unit="batch", mininterval=SAY_EVERY_SECONDS)
    detected = (rows(*detect(model, batch, rules), categories) for batch in batches)
    written = detections.write(paths.detections(run_name, split), rules, len(loader.dataset), made, detected)
    log.info("%s: %d detections by %d rules", label, written, len(rules))


def load_model(config: Config, file: Path) -> nn.Module:
    """Build a run's model with its weights, ready for inference.

    Raises:
        InputError: The file holds more than weights, or those of another model.
    """
    init_default_scope("mmdet")
    model = MODELS.build(config.model)
    weights.load_into(model, file, config.filename)
    if config.get("channels_last"):
        model = device.channels_last(model)
    return model.eval()


def predicts_iou(model: nn.Module) -> bool:
    """Say whether a detector's head predicts IoUs, and so gives detections under every rule; others only by ``cls``."""
    return getattr(getattr(model, "bbox_head", None), "predicts_iou", False)


def require_rules(model: nn.Module, rules: Sequence[Rule], run: str | Path) -> None:
    """Raise InputError about a run unless its detector gives detections under all of the rules."""
    unknown = next((rule for rule in rules if rule.kind != "cls"), None)
    if unknown is not None and not predicts_iou(model):
        raise InputError(f"{run}: this detector predicts no IoU; found the rule {unknown}, expected cls.")


@torch.inference_mode()
def detect(model: nn.Module, batch: Mapping[str, Any], rules: Sequence[Rule]) -> tuple[BatchDetections, list[int]]:
    """Return the detections of one batch and the ids of its images, from one forward pass.

    Args:
        model: A detector of MMDetection.
        batch: What its test pipeline gives, collated.
        rules: The rules; for a detector that predicts no IoU only ``cls``, by which it ranks by itself.

    Returns:
        The detections, boxes in pixels of the stored image; ``cls_scores`` and ``iou_preds`` only of an IoU-aware
        detector.
    """
    data = model.data_preprocessor(batch, False)
    samples = data["data_samples"]
    if predicts_iou(model):
        truth = [sample.gt_instances.bboxes for sample in samples]
        metas = [sample.metainfo for sample in samples]
        features = model.extract_feat(data["inputs"])
        detected = model.bbox_head.sweep(features, metas, rules, rescale=True, gt_bboxes=truth)
    else:
        (rule,) = rules
        predicted = model.predict(data["inputs"], samples, rescale=True)
        detected = BatchDetections.of([sample.pred_instances for sample in predicted], rule)
    return detected, [sample.img_id for sample in samples]


def rows(detected: BatchDetections, images: list[int], categories: np.ndarray) -> tuple[np.ndarray, Detections]:
    """Return a batch's detections as rows of the file, with each row's rule."""
    columns = {name: column.cpu().numpy() for name, column in detected.columns.items()}
    image, rule = np.divmod(detected.groups.cpu().numpy(), len(detected.rules))
    return rule, Detections(
        image_ids=np.asarray(images)[image],
        category_ids=categories[columns["labels"]],
        boxes=columns["bboxes"],
        confidences=columns["scores"],
        cls_scores=columns.get("cls_scores", columns["scores"]),
        iou_preds=columns.get("iou_preds"),
    )


def build_loader(config: Config, manifest: Manifest, root: Path, split: str, settings: Mapping[str, Any]) -> DataLoader:
    """Return the split's images in order, batched as far as that changes nothing about their size.

    Raises:
        InputError: The run was trained on other classes.
    """
    trained = list(config.train_dataloader.dataset.metainfo.classes)
    if trained != list(manifest.classes):
        raise InputError(
            f"{config.filename}: trained on the classes {', '.join(trained)}, but the dataset {manifest.dataset} has "
            f"{', '.join(manifest.classes)}. Train the run again."
        )
    cv2.setNumThreads(0)  # Its threads would multiply with the loading processes.
    pipeline = config.test_dataloader.dataset.pipeline
    dataset = loading.dataset(configs.dataset(manifest, root, split, pipeline, test_mode=True))
    scale = next(step.scale for step in pipeline if step.type == "Resize")
    divisor, most = config.model.data_preprocessor.pad_size_divisor, config.train_dataloader.batch_size
    infos = map(dataset.get_data_info, range(len(dataset)))
    batches = same_shape([(image["width"], image["height"]) for image in infos], scale, divisor, most)
    return DataLoader(
        dataset, batch_sampler=batches, num_workers=settings.get("workers") or 0, collate_fn=pseudo_collate
    )


def same_shape(sizes: Sequence[Sequence[int]], scale: Sequence[int], divisor: int, batch_size: int) -> list[list[int]]:
    """Return the indices of images in order, as batches of neighbours with one shape at the network's input.

    They need no padding to fit together, so that a batch gives what its images give alone: padding would change what
    the network sees beyond an image's border, as batch norm and biases make something of zeros.

    Args:
        sizes: Per image, width and height, pixels.
        scale: The ``scale`` of MMDetection's ``Resize`` with ``keep_ratio``: width and height, pixels.
        divisor: Both sides are padded to a multiple of it anyhow.
        batch_size: The most images of a batch.
    """
    shapes = [[math.ceil(side / divisor) for side in rescale_size(size, tuple(scale))] for size in sizes]
    alike = (list(neighbours) for _, neighbours in groupby(range(len(sizes)), shapes.__getitem__))
    return [some[first : first + batch_size] for some in alike for first in range(0, len(some), batch_size)]
