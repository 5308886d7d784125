"""The miniatures: what is drawn, how it lies on disk, and what the backbones made for them are."""

import re
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import yaml
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules

from iou_aware.common import assignments
from iou_aware.common.messages import InputError
from iou_aware.data.fetch import content_digest
from iou_aware.data.miniature import generate as micro
from iou_aware.data.miniature import scenes as micro_scenes

CONFIGS = Path(__file__).parents[2] / "configs"
COCO = {"generator": "micro-coco", "seed": 0, "images": {"train": 6, "val": 3}}
# As the pinned versions of NumPy and OpenCV draw them on any processor.
CHECKSUMS = {
    "micro-coco-tiny": "56a5b09b25b59c6f2c4b58f7057c888bd6ddb871a09faf8f2b7b89711a2916f8",
    "micro-voc-tiny": "03ff381a70adc3e2d1089f149351b3ebe074ac2a81fadf4692a1f686101b817c",
}


def described(name: str) -> dict:
    return yaml.safe_load((CONFIGS / "datasets" / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", CHECKSUMS)
def test_sets_are_byte_identical(tmp_path, name):
    micro.generate(described(name)["generate"], tmp_path / "set")
    (tmp_path / "set" / micro.STAMP).unlink()
    assert content_digest(tmp_path / "set", ["**/*.*"]) == CHECKSUMS[name]


@pytest.mark.parametrize(
    # VOC's objects are large: it has hardly any that COCO calls small.
    ("style", "least"),
    [(micro._COCO_STYLE, (0.05, 0.4, 0.1)), (micro._VOC_STYLE, (-1, 0.4, 0.2))],
)
def test_objects_fill_cocos_areas_and_some_are_hardly_seen(style, least):
    objects = [item for index in range(150) for item in micro_scenes.draw(style, (index,))[1]]
    boxes = np.array([item.box for item in objects])
    assert (boxes >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= micro_scenes.SIZE).all()
    areas = boxes[:, 2:].prod(1)
    shares = [np.mean(areas < 32**2), np.mean((areas >= 32**2) & (areas < 96**2)), np.mean(areas >= 96**2)]
    assert (np.array(shares) > least).all(), shares
    assert 0 < np.mean([item.visible < micro._DIFFICULT for item in objects]) < 0.2
    assert {item.category for item in objects} == set(style.shapes)


def test_no_two_images_are_alike(tmp_path):
    for seed in (0, 1):
        micro.generate(COCO | {"seed": seed}, tmp_path / str(seed))
    assert len({path.read_bytes() for path in tmp_path.glob("*/*/*.jpg")}) == 18


def test_boxes_hold_what_is_drawn():
    """Without clutter and noise, objects are what is vivid on a grey ground: an image shows where their boxes lie."""
    plain = {"objects": (1, 1), "clutter": (0, 0), "noise": 0}
    style = replace(micro._COCO_STYLE, name="clean", sizes=(60, 120), vivid=200, **plain)
    for index in range(40):
        image, (item,) = micro_scenes.draw(style, (index,))
        vivid = np.ptp(image.astype(int), axis=2) > 100
        columns, rows = np.flatnonzero(vivid.any(0)), np.flatnonzero(vivid.any(1))
        drawn = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        x, y, width, height = item.box
        # A soft edge fades from the outline inwards, most at the tip of a triangle.
        tolerance = 14 if item.category == "triangle" else 5
        assert np.abs(drawn - (x, y, x + width, y + height)).max() <= tolerance, (index, item, drawn)


def test_hidden_objects_keep_a_third_to_be_seen():
    style = replace(micro._COCO_STYLE, name="crowded", objects=(8, 8), sizes=(60, 160))
    shares = [item.visible for index in range(20) for item in micro_scenes.draw(style, (index,))[1]]
    assert min(shares) > 0.3 and min(shares) < 0.6  # outlines are drawn a little larger than their exact area
    assert max(shares) <= 1


def test_nothing_is_done_twice_and_other_settings_replace_generated_data(tmp_path):
    root = tmp_path / "set"
    micro.generate(COCO, root)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*.jpg")}
    micro.generate(COCO, root)
    assert all(path.stat().st_mtime_ns == time for path, (time, _) in before.items())
    micro.generate(COCO | {"images": {"train": 2}}, root)
    fewer = list(root.rglob("*.jpg"))
    assert len(fewer) == 2 and all(path.read_bytes() == before[path][1] for path in fewer), "the first of more"
    assert not (root / "val").exists()


def test_data_of_others_are_left_alone(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    (root / "photograph.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"holds no generated\.json"):
        micro.generate(COCO, root)
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "photograph.jpg"]


def test_an_interrupted_set_leaves_nothing(tmp_path, monkeypatch):
    scenes = [micro_scenes.draw(micro._COCO_STYLE, (index,)) for index in range(3)]
    monkeypatch.setattr(micro, "draw", Mock(side_effect=[*scenes, KeyboardInterrupt]))
    with pytest.raises(KeyboardInterrupt):
        micro.generate(COCO, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["micro-coco", "micro-voc"])
def test_tiny_sets_are_the_whole_ones_but_for_their_size(name):
    texts = [(CONFIGS / "datasets" / f"{name}{size}.yaml").read_text() for size in ("", "-tiny")]
    whole, tiny = (re.sub(r"-tiny|\b\d{2,}\b|description:(?s:.*)(?=layout:)", "", text) for text in texts)
    assert whole == tiny


def test_backbones_are_deeper_and_grouped_as_those_they_stand_for_and_nothing_is_frozen():
    register_all_modules()
    detector, depths = assignments.read(CONFIGS / "detectors" / "micro" / "retinanet.py"), {}
    for name in ("micro_r50", "micro_r101", "micro_x101"):
        settings = assignments.merged(detector, assignments.read(CONFIGS / "backbones" / f"{name}.py"))["model"]
        backbone = MODELS.build(settings["backbone"])
        backbone.train()
        layers = [layer for layer in backbone.modules() if isinstance(layer, torch.nn.Conv2d)]
        stem, *body = [layer for layer in layers if layer.kernel_size != (1, 1)]
        assert stem.groups == 1
        assert all((layer.in_channels // layer.groups == 8) == (name == "micro_x101") for layer in body)
        assert settings["backbone"]["init_cfg"] is None
        assert all(parameter.requires_grad for parameter in backbone.parameters()) and backbone.bn1.training
        depths[name] = len(layers)
    assert depths["micro_r101"] > 1.5 * depths["micro_r50"]
