"""What a config or a setting names where it is data: known parts by their plain names; nothing else is run."""

import json
import shutil
import sys
from importlib.util import find_spec

import mmcv.ops
import pytest
from builders.configs import ROOT, resolve, run_of
from builders.training import IOU_AWARE
from mmdet.registry import MODELS, TASK_UTILS, WEIGHT_INITIALIZERS
from mmengine.config import Config

from iou_aware.common import seal
from iou_aware.common.messages import InputError
from iou_aware.experiment.experiment import Experiment
from iou_aware.inference.detect import detect
from iou_aware.inference.predict import predict
from iou_aware.training import config
from iou_aware.training.parts import RUNNING, UNREGISTERED, require_parts

RUN = {"type": "os.mkdir", "path": "hacked"}


@pytest.fixture(autouse=True)
def _module_that_makes_a_folder(tmp_path, monkeypatch):
    """Stand in an empty folder with a module in it; whatever imports or calls it makes the folder ``hacked``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text("import os\nos.mkdir('hacked')")
    yield
    sys.modules.pop("evil", None)
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    "step",
    [
        RUN,
        {"type": "evil"},
        {"type": "RandomFlip", "prob": 0.5, "_scope_": "evil"},
        {"type": "RandomApply", "transforms": [RUN]},
        {"type": "RandomChoice", "transforms": [[{"type": "RandomFlip", "prob": 0.5}], [{"type": "evil"}]]},
        {"type": "MultiBranch", "branch_field": ["a"], "a": {"type": "evil"}},
        {"type": "LoadImageFromFile", "backend_args": {"backend": "memcached", "sys_path": "."}},
        {"type": "ResNet", "depth": 18},  # registered, but no transform
        {"type": ["RandomFlip"]},
        {"type": "RandomFlip", "probe": 0.5},
    ],
)
def test_only_registered_transforms_are_augmentations(step):
    with pytest.raises(InputError, match=r"settings\.augmentations\[1\].*expected"):
        resolve(run_of(), augmentations=[{"type": "RandomFlip", "prob": 0.5}, step])


LIGHT, CUT = {"type": "PhotoMetricDistortion"}, {"type": "CutOut", "n_holes": 1, "cutout_shape": (4, 4)}
NESTED = [
    {"type": "RandomApply", "prob": 0.5, "transforms": [LIGHT]},
    {"type": "RandomChoice", "transforms": [[{"type": "RandomFlip", "prob": 0.5}], [LIGHT, CUT]]},
]
OF_BLOOD_CELLS = Experiment.load(ROOT / "configs/experiments/bccd.yaml").settings["augmentations"]


@pytest.mark.parametrize("steps", [NESTED, OF_BLOOD_CELLS])
def test_transforms_of_mmdetection_and_mmcv_are_taken(steps):
    resolved = resolve(run_of(), augmentations=steps)
    assert [step.to_dict() for step in resolved.train_dataloader.dataset.pipeline[3:-1]] == steps


def sealed_anew(folder, change) -> None:
    """Change the config of a finished run, and seal it as its maker could."""
    file = folder / "config.py"
    file.write_text(change(file.read_text()))
    seal.write(folder, json.loads((folder / "run.json").read_text()))


def detect_with(trained, tmp_path, change) -> list:
    """Detect with a copy of a run whose config is changed."""
    folder = shutil.copytree(trained.paths.run_folder(IOU_AWARE), tmp_path / "somebodys")
    sealed_anew(folder, change)
    return detect([trained.root / "data" / "shapes" / "val" / "1.png"], folder, None, tmp_path / "out")


def with_part(place: str, value):
    """Return a change that puts a value into a config at a place such as ``model.neck``."""

    def change(text: str) -> str:
        changed = Config.fromstring(text, ".py")
        changed.merge_from_dict({place: value})
        return config.to_text(changed)

    return change


CODE = {
    "statement": lambda text: "import os\nos.mkdir('hacked')\n" + text,
    "call": lambda text: text + "\nwork_dir = __import__('os').mkdir('hacked')\n",
    "base": lambda text: "_base_ = './evil.py'\n" + text.replace("model = ", "model_ = ", 1),
    "nothing": lambda text: "",
    "model": with_part("model", RUN),
    "head": with_part("model.bbox_head.type", "os.system"),
    "scope of a part": lambda text: text.replace("'type': 'FPN'", "'type': 'FPN', '_scope_': 'evil'"),
    "plain text that MMCV evaluates": with_part("model.test_cfg.nms.type", "__import__('os').mkdir('hacked') or nms"),
    "the same without a dot": with_part("model.test_cfg.nms.type", "[__import__('evil')]"),
    "a part that evaluates its argument": with_part(
        "model.train_cfg.assigner", {"type": "CameraMotionCompensation", "warp_mode": "__import__('evil')"}
    ),
    "a detector that runs another's config": with_part(
        "model", {"type": "KnowledgeDistillationSingleStageDetector", "teacher_config": "evil.py"}
    ),
    "pipeline": with_part("test_dataloader.dataset.pipeline.1", {"type": "Resize", "scale": (64, 64), "x": RUN}),
}


@pytest.mark.parametrize("what", CODE)
def test_nothing_in_somebodys_config_is_run(trained, tmp_path, what):
    with pytest.raises(InputError, match=r"somebodys/config\.py, (line \d+|model|test_dataloader|key)"):
        detect_with(trained, tmp_path, CODE[what])


@pytest.mark.parametrize(("place", "value"), [("custom_imports.imports", ["evil"]), ("default_scope", "evil")])
def test_what_a_config_would_import_is_left_out(trained, tmp_path, place, value):
    assert detect_with(trained, tmp_path, with_part(place, value))


def test_nothing_in_the_config_of_an_experiments_run_is_run_either(trained, tmp_path):
    shutil.copytree(trained.root, tmp_path / "project")
    copied = Experiment.load(tmp_path / "project" / "configs" / "experiments" / "study.yaml")
    sealed_anew(copied.paths.run_folder(IOU_AWARE), CODE["statement"])
    with pytest.raises(InputError, match=r"config\.py, line 1: .*nothing in it was run"):
        predict(copied, IOU_AWARE, "val")


def test_parts_beyond_the_studys_own_are_known():
    require_parts({"bbox_head": {"type": "ATSSHead", "norm_cfg": {"type": "GN"}}, "type": "ATSS"}, "a model")
    registries = (MODELS, TASK_UTILS, WEIGHT_INITIALIZERS)
    named = {name for registry in registries for name in (*registry.module_dict, *registry.parent.module_dict)}
    assert not named & UNREGISTERED and all(hasattr(mmcv.ops, name) for name in UNREGISTERED)
    assert all(find_spec(module) for module in RUNNING)
