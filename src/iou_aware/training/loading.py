"""Training data whose order and augmentations depend only on the seed, the epoch and the image.

So neither the number of loading or training processes nor an interruption changes a run.
"""

import contextlib
import io
import itertools
import random
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets.transforms import LoadAnnotations, Resize
from mmdet.registry import DATA_SAMPLERS, DATASETS
from mmdet.structures.bbox import BaseBoxes
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset, Compose, DefaultSampler, pseudo_collate
from mmengine.dist import get_dist_info
from torch.utils.data import BatchSampler, DataLoader

from iou_aware.common.messages import InputError

# Transforms without randomness, which a pipeline begins with.
DETERMINISTIC = (LoadImageFromFile, LoadAnnotations, Resize)
REMEMBERED_BYTES = 256 << 20


class SeededPipeline:
    """A pipeline whose random numbers depend on the seed, the epoch and the image.

    The results of its deterministic first steps are kept, up to a limit of memory: decoding and resizing a small image
    takes a tenth of a training step on it.

    Args:
        steps: MMDetection's transforms; they draw from the generators of NumPy and Python.
        order: Has the run's seed and the epoch in progress, which MMEngine's hook sets; loading processes see it, as
            they start anew with every epoch.
        limit: The most bytes of pixels to keep.
    """

    def __init__(self, steps: Sequence[Callable], order: DefaultSampler, limit: int):
        self.first = Compose(list(itertools.takewhile(lambda step: isinstance(step, DETERMINISTIC), steps)))
        self.rest = Compose(steps[len(self.first.transforms) :])
        self.order, self.left = order, limit
        self._results: dict[int, dict[str, Any]] = {}

    def __call__(self, data: dict[str, Any]) -> Any:
        """Run the pipeline on one image, whose place in the dataset is ``sample_idx``."""
        place = data["sample_idx"]
        first, second = np.random.SeedSequence([self.order.seed, self.order.epoch, place]).generate_state(2).tolist()
        np.random.seed(first)
        random.seed(second)
        result = self._results.get(place) or self.first(data)
        if place not in self._results and result["img"].nbytes <= self.left:
            self.left -= result["img"].nbytes
            self._results[place] = result
        return self.rest({key: _copied(value) for key, value in result.items()})


def _copied(value: Any) -> Any:
    """Return a copy of an array, boxes or list; other values of a pipeline are never changed in place."""
    if isinstance(value, BaseBoxes):
        return value.clone()
    return value.copy() if isinstance(value, (np.ndarray, list)) else value


class Batches(BatchSampler):
    """This process's share of an epoch's batches, without those of before an interruption.

    A step of several processes has the images that a step of one process has. MMDetection's processes each make batches
    of their own, by orientation, from their share of the images, which gives others.

    Args:
        batches: The batches of all processes together.

    Attributes:
        skip: How many batches to leave out, set by the runner before every epoch.
        sampler: The sampler of images, where MMEngine's hook sets the epoch.
    """

    def __init__(self, batches: BatchSampler):
        self.batches, self.skip = batches, 0
        self.sampler = batches.sampler
        self.rank, self.processes = get_dist_info()

    def __iter__(self) -> Iterator[list[int]]:
        for batch in itertools.islice(iter(self.batches), self.skip, None):
            if len(batch) < self.processes:  # an epoch's last: repeated, as every process needs an image
                batch = (batch * self.processes)[: self.processes]
            yield batch[self.rank :: self.processes]

    def __len__(self) -> int:
        return len(self.batches)


def dataset(config: Mapping[str, Any]) -> BaseDataset:
    """Build a dataset from MMDetection's config and read its annotations.

    Raises:
        InputError: No image is left.
    """
    built = DATASETS.build(config, default_args=dict(lazy_init=True))
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints what it does
            built.full_init()
    except ValueError as fault:
        if built.data_list:
            raise
        raise InputError(
            f"{built.ann_file}: no image is left; training leaves out those without boxes or under 32 pixels. Name "
            "another split to train on in the dataset's file, or look at the annotations."
        ) from fault
    return built


def build(config: ConfigDict, seed: int) -> DataLoader:
    """Build the loader of training data from MMDetection's ``train_dataloader``; InputError as from ``dataset``."""
    images = dataset(config.dataset)
    # Loading processes end with the epoch, and so would what they keep.
    limit = REMEMBERED_BYTES if config.num_workers == 0 else 0
    order = DefaultSampler(images, config.sampler.shuffle, seed)
    images.pipeline = SeededPipeline(images.pipeline.transforms, order, limit)
    _, processes = get_dist_info()
    # Every process has the order of all images and takes its share of each batch.
    order.rank, order.world_size, order.num_samples, order.total_size = 0, 1, len(images), len(images)
    inner = dict(sampler=order, batch_size=config.batch_size * processes)
    batches = Batches(DATA_SAMPLERS.build(config.batch_sampler, default_args=inner))
    return DataLoader(
        images,
        batch_sampler=batches,
        num_workers=config.num_workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_outlive_signals,
        # Its own generator: starting an epoch a second time must draw nothing from the global one.
        generator=torch.Generator(),
    )


def collate(images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a batch as MMEngine's ``pseudo_collate`` does, with images of one size as one tensor (B, 3, H, W).

    MMDetection then normalises them at once rather than one by one, with the same result.
    """
    batch = pseudo_collate(images)
    if len({image.shape for image in batch["inputs"]}) == 1:
        batch["inputs"] = torch.stack(batch["inputs"])
    return batch


def _outlive_signals(number: int) -> None:
    """Make a loading process ignore SIGTERM and SIGINT; its training process ends it.

    A cluster's signal reaches every process of a job. PyTorch's loading processes would end at once, and that ends the
    training process before it can save.
    """
    for sent in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sent, signal.SIG_IGN)
