"""Batches of images that need no padding to fit together, so that a batch gives what its images give alone."""

import math
from collections.abc import Sequence
from typing import Any

from mmcv.image import rescale_size


def same_shape(dataset: Any, scale: Sequence[int], divisor: int, batch_size: int) -> list[list[int]]:
    """Return the indices of a dataset in order, as batches of neighbours with one shape at the network's input.

    Padding an image to a larger neighbour would change what the network sees beyond its border: batch norm and biases
    make something of zeros.

    Args:
        dataset: MMDetection's dataset; its images' ``width`` and ``height`` are known.
        scale: The ``scale`` of MMDetection's ``Resize`` with ``keep_ratio``: width and height, pixels.
        divisor: Both sides are padded to a multiple of it anyhow.
        batch_size: The most images of a batch.
    """
    batches: list[list[int]] = []
    shape_before = None
    for index in range(len(dataset)):
        image = dataset.get_data_info(index)
        size = rescale_size((image["width"], image["height"]), tuple(scale))
        shape = tuple(math.ceil(side / divisor) for side in size)
        if shape != shape_before or len(batches[-1]) == batch_size:
            batches.append([])
        batches[-1].append(index)
        shape_before = shape
    return batches
