"""The complete MMDetection config of a run, which MMDetection's own tools can train and test as well."""

import copy
from collections.abc import Mapping
from pathlib import Path
from pprint import pformat
from typing import Any

import mmdet
from mmdet.registry import MODELS, TRANSFORMS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from iou_aware.common import assignments
from iou_aware.common.messages import InputError
from iou_aware.experiment import recipe
from iou_aware.experiment.layout import Layout
from iou_aware.experiment.run import IOU_AWARE, width_height
from iou_aware.method.iou_branch import IOU_LOSS
from iou_aware.training import parts

RUNTIME = Path(mmdet.__file__).parent / ".mim" / "configs" / "_base_" / "default_runtime.py"
# Variables of MMDetection's configs for their data, which nothing refers to once the data are replaced.
VARIABLES = ("dataset_type", "data_root", "backend_args", "train_pipeline", "test_pipeline")
# The paper's only augmentation, and MMDetection's.
FLIP = {"type": "RandomFlip", "prob": 0.5}
# The type of mixed precision, by the setting `amp`.
HALF = {True: "float16", "fp16": "float16", "bf16": "bfloat16"}


def resolve(run, manifest, root: Path, settings: Mapping[str, Any], work_dir: Path | str) -> Config:
    """Return the complete config of a run.

    The detector's config under the run's recipe, with the backbone's merged over it, then the dataset, the scale, the
    IoU loss and the seed of the run, then the experiment's settings.

    Images without boxes, and those under 32 pixels, are left out of training, as MMDetection does for every dataset.

    Args:
        run: The run (dataset, detector, backbone, recipe, scale, seed, iou_loss, target_grad).
        manifest: What its dataset holds (classes, root, splits with annotations and images, the split to train on).
        root: The project's folder, which holds ``configs/``.
        settings: The experiment's changes: epochs, batch_size, augmentations, images, workers, amp, compile,
            channels_last, gpus (a number), normaliser.
        work_dir: The folder that MMDetection's own tools write to.

    Raises:
        InputError: A config file is missing or broken, or lacks what a run needs.
    """
    paths = Layout(root, "")
    read = recipe.read(paths, run)
    config = Config(assignments.merged(assignments.read(RUNTIME), read))
    _set_model(config.model, run, len(manifest.classes), paths)
    _set_batch(config, run, recipe.images_per_step(read, run, settings), settings.get("gpus") or 1)
    _set_hooks(config, settings)
    _set_epochs(config, recipe.epochs(read, settings))
    _set_data(config, run, manifest, root, settings)
    config.custom_imports = dict(imports=["iou_aware"], allow_failed_imports=False)
    config.randomness = dict(seed=run.seed)
    config.work_dir = str(work_dir)
    return Config(_plain(config._cfg_dict))


def released(run, manifest, root: Path, settings: Mapping[str, Any], work_dir: Path | str, stock: Config) -> Config:
    """Return the complete config of a run with released weights: MMDetection's, with the run's data and scale.

    Args:
        run: The run.
        manifest: What its dataset holds.
        root: The project's folder.
        settings: The experiment's; those of training do not matter here.
        work_dir: Where MMDetection's own tools would write.
        stock: The config that the weights were released with.
    """
    config = copy.deepcopy(stock)
    for name in VARIABLES:
        config.pop(name, None)
    config.train_dataloader = dict(batch_size=config.train_dataloader.batch_size)
    _set_data(config, run, manifest, root, settings)
    config.work_dir = str(work_dir)
    return Config(_plain(config._cfg_dict))


def to_text(config: Config, root: Path = Path()) -> str:
    """Return a config as a Python file that MMDetection reads; one key per top-level assignment, in its order.

    Paths below ``root``, the project's folder, are written relative to it: the text is the same wherever the project
    lies and wherever the command was run.
    """
    lines = [f"{key} = {pformat(_plain(value, root), width=110, sort_dicts=False)}" for key, value in config.items()]
    return "\n\n".join(lines) + "\n"


def _set_model(model: ConfigDict, run, classes: int, paths: Layout) -> None:
    """Set ``num_classes`` of RetinaNet's head or Faster R-CNN's second stage, the IoU loss, and the initial weights.

    The detector's name must say whether its head predicts IoUs.
    """
    for stage in (model, model.get("roi_head", {})):
        heads = stage.get("bbox_head", [])
        for head in heads if isinstance(heads, list) else [heads]:
            head.num_classes = classes
    head = model.get("bbox_head", {})
    aware = "type" in head and getattr(MODELS.get(head.type), "predicts_iou", False)
    if aware != run.is_iou_aware:
        found, expected = ("IoUs", "none") if aware else ("none", "IoUs")
        raise InputError(
            f"{paths.detector(run.recipe, run.detector)}, model.bbox_head.type: found {head.get('type')!r}, which "
            f"predicts {found}; expected one that predicts {expected}: names of IoU-aware detectors, and of no others, "
            f"begin with {IOU_AWARE!r}. Correct it, or rename the file."
        )
    if aware:
        head.loss_iou = dict(head.get("loss_iou", IOU_LOSS), kind=run.iou_loss)
        head.target_grad = run.target_grad
    init = model.backbone.get("init_cfg") or {}
    if init.get("checkpoint"):
        init.checkpoint = str(paths.pretrained(run.backbone))


def _set_batch(config: Config, run, total: int, processes: int) -> None:
    """Set the images per step of one process, and scale the learning rate to the images per step of all."""
    config.pop("batch_sizes", None)
    if total % processes:
        raise InputError(
            f"run {run.name}: {total} images per step cannot be shared by {processes} processes (settings.gpus); "
            "set settings.batch_size to a multiple."
        )
    config.train_dataloader = dict(batch_size=total // processes)
    scaling = config.pop("auto_scale_lr", None) or {}
    if scaling.get("enable"):
        config.optim_wrapper.optimizer.lr *= total / scaling.base_batch_size


def _set_hooks(config: Config, settings: Mapping[str, Any]) -> None:
    """Set what changes MMDetection's way of training.

    Losses of a single-stage detector are normalised by the positives of the whole batch, unless settings say otherwise;
    the network is computed in half precision, compiled, or both, by the settings. fp16 scales the loss.
    """
    hooks, dtype = list(config.get("custom_hooks", [])), HALF.get(settings.get("amp"))
    if "bbox_head" in config.model and settings.get("normaliser", "batch") == "batch":
        hooks.append(dict(type="BatchNormaliser"))
    if dtype or settings.get("compile"):
        hooks.append(dict(type="Trunk", dtype=dtype, compiled=bool(settings.get("compile"))))
    if hooks:
        config.custom_hooks = hooks
    if dtype == "float16":
        config.optim_wrapper.type = "LossScaling"


def _set_epochs(config: Config, epochs: int) -> None:
    """Set the length of training, and scale the schedule's steps by epoch to it."""
    before = config.train_cfg.max_epochs
    config.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=epochs, val_interval=epochs)
    config.val_cfg, config.test_cfg = dict(type="ValLoop"), dict(type="TestLoop")
    for scheduler in config.get("param_scheduler") or []:
        if scheduler.get("by_epoch", True):
            for key in ("begin", "end", "T_max"):
                if key in scheduler:
                    scheduler[key] = round(scheduler[key] * epochs / before)
            if "milestones" in scheduler:
                scheduler.milestones = [round(step * epochs / before) for step in scheduler.milestones]


def dataset(manifest, root: Path, split: str, pipeline: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return MMDetection's config of one split of a dataset.

    Raises:
        InputError: The dataset has no such split, or its flattest image would be less than half a pixel high or wide.
    """
    part = manifest.split(split)
    scale, image = next(step["scale"] for step in pipeline if step["type"] == "Resize"), part.flattest
    # OpenCV would stop in the middle of an epoch, without a word of which image it was.
    if image and 2 * min(image["width"], image["height"]) * max(scale) < max(image["width"], image["height"]):
        raise InputError(
            f"{root / part.images / image['file_name']}: found {image['width']}x{image['height']} pixels, of which "
            f"nothing is left at the scale {scale[0]}x{scale[1]}. Take a larger scale, or crop the image or leave it "
            "out, and run `iou-aware prepare` again."
        )
    return dict(
        type="CocoDataset",
        ann_file=str(root / part.annotations),
        data_prefix=dict(img=str(root / part.images)),
        metainfo=dict(classes=tuple(manifest.classes)),
        pipeline=pipeline,
        **more,
    )


def _set_data(config: Config, run, manifest, root: Path, settings: Mapping[str, Any]) -> None:
    """Set the images and boxes to train and to test on, how they are loaded, and their layout in memory."""
    image, boxes = dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", with_bbox=True)
    resize = dict(type="Resize", scale=width_height(run.scale), keep_ratio=True)
    shown = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    train = [image, boxes, resize, *_augmentations(settings), dict(type="PackDetInputs")]
    test = [image, resize, boxes, dict(type="PackDetInputs", meta_keys=shown)]

    workers = settings.get("workers") or 0
    loading = dict(num_workers=workers, persistent_workers=workers > 0)
    more = dict(filter_cfg=dict(filter_empty_gt=True, min_size=32))
    if settings.get("images"):
        more["indices"] = settings["images"]
    config.train_dataloader.update(
        loading,
        sampler=dict(type="DefaultSampler", shuffle=True),
        batch_sampler=dict(type="AspectRatioBatchSampler"),
        dataset=dataset(manifest, root, manifest.train, train, **more),
    )
    # MMDetection's own tools test on the first split to evaluate; `predict` takes any.
    split = next(iter(manifest.evaluate), manifest.train)
    config.test_dataloader = dict(
        batch_size=1,
        **loading,
        drop_last=False,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dataset(manifest, root, split, test, test_mode=True),
    )
    config.test_evaluator = dict(
        type="CocoMetric", ann_file=str(root / manifest.split(split).annotations), metric="bbox"
    )
    config.val_dataloader, config.val_evaluator = config.test_dataloader, config.test_evaluator
    if "channels_last" in settings:
        config.channels_last = settings["channels_last"]


def _augmentations(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the random transforms of training images, each built once, so that an error names the one at fault."""
    chosen = settings.get("augmentations", [FLIP])
    parts.require_transforms(chosen, "settings.augmentations")
    init_default_scope("mmdet")  # those of MMDetection within one of mmcv's are looked for there
    for i, step in enumerate(chosen):
        try:
            TRANSFORMS.build(dict(step))
        except Exception as fault:  # Transforms raise whatever they meet: KeyError, TypeError, AssertionError, ...
            raise InputError(
                f"settings.augmentations[{i}]: found {dict(step)}; expected a transform of MMDetection with arguments "
                f"that it takes: {fault}"
            ) from fault
    return [dict(step) for step in chosen]


def _plain(value: Any, root: Path = Path()) -> Any:
    """Return a value of a config as plain dicts, which print as Python, without MMEngine's notes of its origin.

    Paths below ``root`` become relative to it.
    """
    if isinstance(value, Mapping):
        return {key: _plain(item, root) for key, item in value.items() if key != "_scope_"}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item, root) for item in value)
    return value.removeprefix(f"{root}/") if isinstance(value, str) else value
