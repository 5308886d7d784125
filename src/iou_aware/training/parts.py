"""Checks that a config or a setting that is data names only known parts, so that nothing in it is run.

A registry of MMEngine accepts more than registered names: the path of any object, such as ``os.system``, which it
calls, and of any module, which it imports. Some registered parts run their arguments: MMCV evaluates the ``type`` of an
NMS, and one detector of MMDetection runs the config of another.
"""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS, TASK_UTILS, TRANSFORMS, WEIGHT_INITIALIZERS
from mmengine.config import Config
from mmengine.registry import Registry

from iou_aware.common import assignments
from iou_aware.common.messages import InputError
from iou_aware.method import heads as heads  # whose parts are registered

# Modules of registered parts that run their arguments: one evaluates one, others read another config or its weights.
RUNNING = (
    *("mmdet.models.detectors.kd_one_stage", "mmdet.models.detectors.lad", "mmdet.models.task_modules.tracking"),
    *("mmdet.models.mot", "mmdet.models.reid", "mmdet.models.trackers", "mmdet.models.vis"),
)
# Unregistered parts: MMCV evaluates the name of an NMS, and looks up that of a RoI layer among its ops.
UNREGISTERED = {"nms", "soft_nms", "RoIAlign"}
# Keys that make a registry or a file reader import a module.
IMPORTING = ("_scope_", "backend_args", "file_client_args")


def read(file: Path) -> Config:
    """Return the config of a finished run, read as data.

    Raises:
        InputError: It is missing, holds anything but literals, lacks what inference needs, or names a part that is
            not known.
    """
    content = assignments.literals(file)
    try:
        model, pipeline = content["model"], content["test_dataloader"]["dataset"]["pipeline"]
        _ = content["train_dataloader"]["dataset"]["metainfo"]["classes"]
    except (KeyError, TypeError) as fault:
        raise InputError(f"{file}, key {fault}: not there; expected the config of a finished run.") from fault
    require_parts(model, f"{file}, model")
    require_transforms(pipeline, f"{file}, test_dataloader.dataset.pipeline")
    return Config(content, filename=str(file))


def require_parts(model: Any, where: str) -> None:
    """Raise InputError about ``where`` unless a model's config, at any depth, is made of registered parts."""
    modules = _registered(MODELS, TASK_UTILS, WEIGHT_INITIALIZERS)
    known = {name for name, module in modules.items() if not module.startswith(RUNNING)} | UNREGISTERED
    _require(model, known, where, "a registered part of a detector by its plain name, none that runs what it is given")


def require_transforms(steps: Any, where: str) -> None:
    """Raise InputError about ``where`` unless a pipeline, at any depth, is made of registered transforms."""
    _require(steps, _registered(TRANSFORMS), where, "a transform of MMDetection or mmcv by its plain name")


def _require(value: Any, known: Container[str], where: str, expected: str) -> None:
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key in IMPORTING:
                raise InputError(f"{where}: found the key {key!r}, which can import a module; expected none.")
            if key == "type" and not (isinstance(part, str) and part in known):
                raise InputError(f"{where}.type: found {part!r}, expected {expected}.")
            _require(part, known, f"{where}.{key}", expected)
    elif isinstance(value, (list, tuple)):
        for i, part in enumerate(value):
            _require(part, known, f"{where}[{i}]", expected)


def _registered(*registries: Registry | None) -> dict[str, str]:
    """Return the module of all that registries and their parents know, the first's first, by name.

    Their own ``get`` would import what is not registered.
    """
    modules: dict[str, str] = {}
    for registry in registries:
        while registry is not None:
            registry.import_from_location()
            modules = {name: part.__module__ for name, part in registry.module_dict.items()} | modules
            registry = registry.parent
    return modules
