"""Training data in an order, and with augmentations, that depend on nothing but the seed, the epoch and the image.

So neither the number of loading processes, nor that of training processes, nor an interruption changes a run.
"""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATA_SAMPLERS, DATASETS
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from torch.utils.data import BatchSampler, DataLoader


class SeededTransforms:
    """A pipeline whose random numbers are drawn from the seed, the epoch and the image.

    Args:
        pipeline: MMDetection's pipeline; its transforms draw from the generators of NumPy and Python.
        seed: The run's seed.

    Attributes:
        epoch: The epoch in progress, set by the runner. Loading processes start anew with every epoch, so they see it.
    """

    def __init__(self, pipeline, seed: int):
        self.pipeline, self.seed, self.epoch = pipeline, seed, 0

    def __call__(self, data: dict[str, Any]) -> Any:
        """Run the pipeline on one image's information, which has its place in the dataset as ``sample_idx``."""
        first, second = np.random.SeedSequence([self.seed, self.epoch, data["sample_idx"]]).generate_state(2).tolist()
        np.random.seed(first)
        random.seed(second)
        return self.pipeline(data)


class ResumableBatches(BatchSampler):
    """The batches of an epoch without those that a run had seen before it was interrupted.

    Args:
        batches: The batch sampler.

    Attributes:
        skip: How many batches to leave out; of one epoch only, as it returns to 0 then.
    """

    def __init__(self, batches: BatchSampler):
        self.batches, self.skip = batches, 0

    @property
    def sampler(self):
        """The sampler of images, where MMEngine's hook sets the epoch."""
        return self.batches.sampler

    def __iter__(self) -> Iterator[list[int]]:
        skip, self.skip = self.skip, 0
        return itertools.islice(iter(self.batches), skip, None)

    def __len__(self) -> int:
        return len(self.batches)


def build(config: ConfigDict, seed: int) -> DataLoader:
    """Build the loader of training data from MMDetection's ``train_dataloader``."""
    dataset = DATASETS.build(config.dataset)
    dataset.full_init()
    dataset.pipeline = SeededTransforms(dataset.pipeline, seed)
    sampler = DATA_SAMPLERS.build(config.sampler, default_args=dict(dataset=dataset, seed=seed))
    inner = dict(sampler=sampler, batch_size=config.batch_size)
    batches = ResumableBatches(DATA_SAMPLERS.build(config.batch_sampler, default_args=inner))
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=config.num_workers,
        collate_fn=pseudo_collate,
        pin_memory=torch.cuda.is_available(),
        # Its own generator, so that starting an epoch a second time draws nothing from the model's.
        generator=torch.Generator(),
    )
