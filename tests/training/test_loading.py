"""What a batch of training images becomes, and which of them are decoded once."""

import itertools
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmdet.models import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate

from iou_aware.training.loading import SeededPipeline, collate

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


def test_images_are_loaded_once_as_far_as_memory_allows(monkeypatch):
    loaded, image = [], np.zeros((4, 4, 3), np.uint8)
    monkeypatch.setattr(LoadImageFromFile, "transform", lambda self, data: loaded.append(data) or data | {"img": image})
    pipeline = SeededPipeline([LoadImageFromFile()], SimpleNamespace(seed=0, epoch=0), 2 * image.nbytes)
    for place in (0, 1, 2, 0, 1, 2):
        assert pipeline({"sample_idx": place})["img"] is not image
    assert [data["sample_idx"] for data in loaded] == [0, 1, 2, 2]


def test_what_is_drawn_for_an_image_depends_on_seed_epoch_and_place_alone():
    def drawn(seed: int, epoch: int, place: int) -> tuple[float, float]:
        order = SimpleNamespace(seed=seed, epoch=epoch)
        pipeline = SeededPipeline([lambda data: (np.random.rand(), random.random())], order, 0)
        return pipeline({"sample_idx": place, "img": np.zeros(1)})

    places = list(itertools.product((0, 1), repeat=3))
    draws = [drawn(*place) for place in places]
    assert draws == [drawn(*place) for place in places]
    assert all(len(set(numbers)) == len(places) for numbers in zip(*draws, strict=True))
