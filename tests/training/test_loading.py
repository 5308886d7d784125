"""What a batch of training images becomes."""

import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate

from iou_aware.training.loading import collate

SIDES = [[(32, 48)] * 3, [(32, 48), (48, 32), (30, 31)], [(30, 31)]]


@pytest.mark.parametrize("sides", SIDES)
def test_images_are_normalised_as_mmdetection_does_it_one_by_one(sides):
    generator = torch.Generator().manual_seed(0)
    pixels = [torch.randint(256, (3, *side), generator=generator, dtype=torch.uint8) for side in sides]
    preprocess = DetDataPreprocessor(
        mean=[103.5, 116.3, 123.7], std=[57.4, 57.1, 58.4], bgr_to_rgb=True, pad_size_divisor=32
    )
    ours, theirs = (
        preprocess(function([{"inputs": image, "data_samples": DetDataSample()} for image in pixels]), training=True)
        for function in (collate, pseudo_collate)
    )
    assert torch.equal(ours["inputs"], theirs["inputs"])
    for mine, other in zip(ours["data_samples"], theirs["data_samples"], strict=True):
        assert mine.metainfo == other.metainfo
