"""The stage ``release``: fetches weights that others have trained and published, checks and seals them."""

from datetime import UTC, datetime

import numpy as np
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from iou_aware.common import provenance, seal
from iou_aware.common.files import sha256, write_text
from iou_aware.common.messages import InputError, log
from iou_aware.data import released
from iou_aware.data.manifest import Manifest
from iou_aware.experiment.experiment import Experiment
from iou_aware.experiment.run import width_height
from iou_aware.training import config, weights

# NumPy's numbers, such as a best score, which a checkpoint's metadata may hold. Arrays and objects are still refused.
NUMBERS = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("bool", "int32", "int64", "float32", "float64")),
    *((np._core.multiarray.scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]


def release(experiment: Experiment, run_name: str) -> None:
    """Fetch the weights of one run and write its ``weights.pth``, ``config.py`` and, last, ``run.json``.

    There is no ``history.csv``. ``run.json`` has what is published of the model, its AP included.

    Args:
        experiment: The study.
        run_name: One of ``experiment.runs``, whose recipe is ``zoo``.

    Raises:
        InputError: The run is to be trained; the weights cannot be had, or are not those that were published, hold
            more than weights, or are of another model; or the dataset has other classes than they were trained on.
    """
    settings, paths, run = experiment.settings, experiment.paths, experiment.runs[run_name]
    if not run.is_released:
        raise InputError(f"{run_name}: its recipe is {run.recipe}, expected zoo; run `iou-aware train` for it.")
    manifest = experiment.manifest(run, verify=True)
    model = released.find(paths.detector(run.recipe, run.detector), run.backbone)
    stock = Config.fromfile(model.config, import_custom_modules=False)
    init_default_scope(stock.default_scope)
    trained = stock.test_dataloader.dataset
    _check_classes(model.name, trained, manifest)
    scale = next(step.scale for step in trained.pipeline if step.type == "Resize")
    file = paths.released(model.address.rsplit("/", 1)[-1])
    released.fetch(model.address, file)

    resolved = config.released(run, manifest, experiment.root, settings, paths.checkpoints(run_name), stock)
    detector = MODELS.build(resolved.model)
    with torch.serialization.safe_globals(NUMBERS):
        weights.load_into(detector, file, model.name)
    folder = paths.run_folder(run_name)
    weights.save(detector, manifest.classes, folder / "weights.pth")
    write_text(folder / "config.py", config.to_text(resolved, experiment.root))
    record = {
        "run": run.as_dict(),
        "finished": datetime.now(UTC).isoformat(),
        "released": {
            "config": model.name,
            "address": model.address,
            "sha256": sha256(file),
            # At another scale the published AP does not apply.
            "AP": model.box_ap if tuple(scale) == width_height(run.scale) else None,
        },
        "provenance": provenance.collect(),
    }
    seal.write(folder, record, ("weights.pth", "config.py"))
    log.info("%s: %s", folder, model.address)


def _check_classes(name: str, trained: ConfigDict, manifest: Manifest) -> None:
    """Raise InputError unless the dataset's classes are those that a model was trained on, in their order."""
    classes = trained.get("metainfo", {}).get("classes") or DATASETS.get(trained.type).METAINFO["classes"]
    if list(classes) != list(manifest.classes):
        raise InputError(
            f"dataset {manifest.dataset}: its {len(manifest.classes)} classes ({', '.join(manifest.classes[:3])}, ...) "
            f"are not the {len(classes)} that {name} was trained on ({', '.join(classes[:3])}, ...); a released "
            "model is evaluated on the classes that it knows."
        )
