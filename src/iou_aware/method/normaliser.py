"""What the losses of several training processes are divided by: the positives of the whole batch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.registry import HOOKS
from mmdet.utils import reduce_mean
from mmengine.hooks import Hook


@HOOKS.register_module()
class BatchNormaliser(Hook):
    """Makes the gradients of a single-stage detector those of its batch, however many processes share it.

    MMDetection's anchor heads, RetinaNet's among them, divide the sums of their losses by the positives N_r of their
    own process, and DistributedDataParallel averages the gradients: an object weighs more in a process with few others.
    With this hook every process r of R divides by the mean of N_r over all, whence

        1/R * sum_r (sum of process r) / (1/R * sum_r N_r) = (sum of the batch) / (positives of the batch),

    which is what one process computes for the whole batch. The head stays MMDetection's: only ``avg_factor``, the last
    of its training targets, is exchanged. A detector of two stages is left as it is: it normalises by anchors and
    proposals that each process draws at random.

    Two things remain each process's own: batch norm's statistics where it trains with them (the miniatures; pretrained
    backbones keep theirs fixed), and the padding of its images to the largest among them, which the convolutions see.
    """

    def before_train(self, runner) -> None:
        """Exchange the normaliser of the model's head from now on; a single process has nothing to exchange."""
        head = getattr(getattr(runner.model, "module", runner.model), "bbox_head", None)
        if runner.distributed and isinstance(head, AnchorHead):
            head.get_targets = partial(_shared, head.get_targets)


def _shared(get_targets: Callable, anchor_list: list[list[torch.Tensor]], *args: Any, **kwargs: Any) -> tuple:
    """Return a head's training targets with the mean of their ``avg_factor`` over all processes."""
    *targets, avg_factor = get_targets(anchor_list, *args, **kwargs)
    # It stays on the GPU, which would have to be waited for to know it.
    avg_factor = torch.as_tensor(avg_factor, dtype=torch.float32, device=anchor_list[0][0].device)
    return *targets, reduce_mean(avg_factor)
