"""docs/deviations.md: what it says of this repository is so."""

import ast
import re
from pathlib import Path

import pytest
from builders.configs import ROOT, resolve, run_of
from builders.data import coco_content, prepared, write_own_coco
from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope

from iou_aware.experiment.backbones import origin
from iou_aware.experiment.experiment import Experiment
from iou_aware.training import config

PAGE = (ROOT / "docs" / "deviations.md").read_text(encoding="utf-8")
HERE = [line.split(" | ")[2] for line in PAGE.splitlines() if line.count(" | ") == 3][1:]


def test_settings_are_those_that_the_page_states():
    configs = [resolve(run_of("paper", detector)) for detector in ("iou_aware_retinanet", "faster_rcnn")]
    stated = re.findall(r"`([\w.]+) = (\S+)`", " ".join(HERE))
    assert len(stated) > 6
    for key, text in stated:
        value = ast.literal_eval(text) if re.match(r"-?\d|True|False", text) else text
        found = [seen for resolved in configs if (seen := at(resolved, key.split("."))) is not None]
        assert value in found, key


def at(value, keys: list[str]):
    """Return what lies at a path of a config, whose lists are entered by numbers; None where there is nothing."""
    try:
        for key in keys:
            value = value[int(key) if isinstance(value, list) else key]
    except (KeyError, IndexError):
        return None
    return value


def test_weights_are_the_files_that_the_page_names():
    named = set(re.findall(r"`(\w+-[0-9a-f]{8}\.pth)`", " ".join(HERE)))
    configs = [ROOT / "configs" / "backbones" / f"{backbone}.py" for backbone in ("r50", "r101", "x101_32x4d")]
    assert named == {Path(origin(config)).name for config in configs}


def test_both_targets_stand_side_by_side_and_the_main_tables_have_one():
    paper = Experiment.load(ROOT / "configs" / "experiments" / "paper.yaml")
    by_table = {
        name: {paper.runs[run].target_grad for row in table.rows.values() for run in row.runs} - {None}
        for name, table in paper.tables.items()
    }
    assert all(values == {False} for name, values in by_table.items() if paper.tables[name].paper)
    assert by_table["target_gradient"] == by_table["target_gradient_voc"] == {False, True}


def test_images_with_crowds_alone_are_background_and_boxes_scale_with_their_edges(tmp_path):
    content = coco_content(boxes=[(4, 4, 20, 16), (0, 0, 64, 48)], images=3)
    content["annotations"][1] |= {"image_id": 2, "iscrowd": 1}
    write_own_coco(tmp_path, content)
    for part in ("detectors", "schedules", "backbones"):
        (tmp_path / "configs" / part).symlink_to(ROOT / "configs" / part)
    settings = {"augmentations": []}
    resolved = config.resolve(run_of("paper", scale="100x70"), prepared(tmp_path), tmp_path, settings, "work")
    init_default_scope("mmdet")
    dataset = DATASETS.build(resolved.train_dataloader.dataset)
    seen = {item["data_samples"].img_id: item["data_samples"] for item in dataset}
    assert list(seen) == [1, 2], "the third has no annotation"
    assert [len(sample.gt_instances) for sample in seen.values()] == [1, 0]
    across, down = 93 / 64, 70 / 48
    assert seen[1].scale_factor == (across, down)
    box = seen[1].gt_instances.bboxes.tensor[0].tolist()
    assert box == pytest.approx([4 * across, 4 * down, 24 * across, 20 * down])
