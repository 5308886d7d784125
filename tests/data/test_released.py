"""The zoo's list of released models: each one that the paper's experiment names is found in it, with address and AP."""

import pytest
from builders.configs import ROOT, manifest, run_of
from mmengine.config import Config

from iou_aware.common.messages import InputError
from iou_aware.data import released
from iou_aware.training import config

# From the tables of the zoo itself: detector, backbone, box AP, the checksum's beginning.
ZOO = [
    ("retinanet", "r50", 36.5, "c2398f9e"),
    ("retinanet", "r101", 38.5, "7a93545f"),
    ("retinanet", "x101_32x4d", 39.9, "5c8b7ec4"),
    ("faster_rcnn", "r50", 37.4, "047c8118"),
    ("faster_rcnn", "r101", 39.4, "f513f705"),
    ("faster_rcnn", "x101_32x4d", 41.2, "cff10310"),
]


@pytest.mark.parametrize(("detector", "backbone", "box_ap", "digits"), ZOO)
def test_each_release_of_the_papers_experiment_is_in_mmdetections_metafiles(detector, backbone, box_ap, digits):
    found = released.find(ROOT / "configs" / "detectors" / "zoo" / f"{detector}.py", backbone)
    assert found.box_ap == box_ap
    assert released.ADDRESS.fullmatch(found.address)["digits"] == digits
    assert found.address.startswith(tuple(released.MIRRORS))

    stock = Config.fromfile(found.config)
    resolved = config.released(run_of("zoo", detector, backbone), manifest(), ROOT, {}, "work", stock)
    assert resolved.model.to_dict() == stock.model.to_dict()
    pipelines = (cfg.test_dataloader.dataset.pipeline for cfg in (resolved, stock))
    ours, theirs = ([step | {"backend_args": None} for step in pipeline] for pipeline in pipelines)
    assert ours == theirs
    assert "data/coco" not in config.to_text(resolved)
    backbone_of = Config.fromfile(ROOT / "configs" / "backbones" / f"{backbone}.py").model.backbone
    assert all(stock.model.backbone.get(key) == backbone_of.get(key) for key in ("depth", "groups"))


@pytest.mark.parametrize(
    ("metafile", "message"),
    [
        (None, ": expected MMDetection's list of released models"),
        ("3", ": expected MMDetection's list"),
        ("[{Name: a, Config: configs/a.py}]", ": no model with the Config tiny_1x.py"),
        ("[{Name: a, Config: tiny_1x.py}]", ", a, Weights: found 'None', expected an address"),
        ("[{Name: a, Config: tiny_1x.py, Weights: 'http://x/a-01234567.pth'}]", ", a, Results: no box AP"),
    ],
)
def test_a_damaged_metafile_is_named(tmp_path, metafile, message):
    (tmp_path / "retinanet.py").write_text("released = dict(tiny='tiny_1x.py')")
    if metafile:
        (tmp_path / "metafile.yml").write_text(f"Models: {metafile}")
    with pytest.raises(InputError, match=f"metafile.yml{message}"):
        released.find(tmp_path / "retinanet.py", "tiny")


def test_a_backbone_that_nothing_is_released_with_is_told_with_those_known():
    with pytest.raises(InputError, match=r"faster_rcnn.py, released: no 'r18'; expected .*r101"):
        released.find(ROOT / "configs" / "detectors" / "zoo" / "faster_rcnn.py", "r18")
