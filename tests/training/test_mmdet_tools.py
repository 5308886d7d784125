"""The head in a plain MMDetection config, with MMDetection's own command-line tools."""

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import cv2
import mmdet
import numpy as np
import pytest

TOOLS = Path(mmdet.__file__).parent / ".mim" / "tools"
SIDE, SHAPES = 64, ("square", "disc")
CONFIG = """
_base_ = ["mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"]
custom_imports = dict(imports=["iou_aware"], allow_failed_imports=False)

classes = ("square", "disc")
pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(64, 64), keep_ratio=True),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
dataset = dict(
    _delete_=True,
    type="CocoDataset",
    data_root="data",
    ann_file="annotations.json",
    data_prefix=dict(img="images"),
    metainfo=dict(classes=classes),
    pipeline=pipeline,
)
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=dataset)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(**dataset, test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file="data/annotations.json")
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1))
optim_wrapper = dict(_delete_=True, type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-3))

model = dict(
    backbone=dict(base_channels=8, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    bbox_head=dict(
        type="IoUAwareRetinaHead",
        num_classes=2,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        loss_iou=dict(type="IoUPredictionLoss", kind="bce"),
        target_grad=True,
    ),
    test_cfg=dict(rule="alpha=0.40", score_thr=0.001),
)
"""


def draw_data(root: Path, count: int = 12) -> None:
    """Write bright shapes on dark images, and their COCO annotations."""
    generator = np.random.default_rng(0)
    images, annotations = [], []
    (root / "images").mkdir(parents=True)
    for number in range(1, count + 1):
        image = np.full((SIDE, SIDE, 3), 40, np.uint8)
        x, y, side, label = (int(value) for value in generator.integers([4, 4, 20, 0], [24, 24, 36, 2]))
        if label:
            cv2.circle(image, (x + side // 2, y + side // 2), side // 2, (200, 220, 240), -1)
        else:
            cv2.rectangle(image, (x, y), (x + side, y + side), (200, 220, 240), -1)
        cv2.imwrite(str(root / "images" / f"{number}.png"), image)
        images.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
        box = {"bbox": [x, y, side, side], "area": side * side, "iscrowd": 0}
        annotations.append({"id": number, "image_id": number, "category_id": label + 1} | box)
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(SHAPES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(content))


def run(folder: Path, *arguments: str) -> str:
    """Run a command in ``folder`` as a user would; return what it printed."""
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, str]:
    """A folder with data, a config and what tools/train.py made of them; and what it printed."""
    folder = tmp_path_factory.mktemp("plain")
    draw_data(folder / "data")
    (folder / "config.py").write_text(CONFIG)
    return folder, run(folder, str(TOOLS / "train.py"), "config.py", "--work-dir", "work")


def test_train_py_trains_and_validates(trained):
    folder, printed = trained
    assert len(re.findall(r"loss_iou: 0\.\d+", printed)) == 3
    assert (folder / "work" / "epoch_1.pth").is_file()
    assert "bbox_mAP" in printed


def test_test_py_detects_by_the_rule_of_the_config(trained):
    folder, _ = trained
    run(folder, str(TOOLS / "test.py"), "config.py", "work/epoch_1.pth", "--work-dir", "work", "--out", "found.pkl")
    found = pickle.loads((folder / "found.pkl").read_bytes())
    assert len(found) == 12
    for sample in found:
        detections = sample["pred_instances"]
        expected = detections["cls_scores"] ** 0.4 * detections["iou_preds"] ** 0.6
        assert len(expected) > 0
        np.testing.assert_allclose(detections["scores"], expected, rtol=1e-5)


@pytest.mark.parametrize(("before", "known"), [("", False), ("import mmdet.registry", True)])
def test_importing_the_package_registers_the_head_only_in_an_mmdetection_process(tmp_path, before, known):
    program = f"{before}\nimport sys, iou_aware; print('torch' in sys.modules, 'iou_aware.method.heads' in sys.modules)"
    assert run(tmp_path, "-c", program).split()[-2:] == [str(known), str(known)]
