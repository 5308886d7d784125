"""What the IoU branch costs in training: a step of the IoU-aware RetinaNet against one of the stock RetinaNet.

python benchmarks/train_step.py [--repeats 40] [--threads 2]
"""

import argparse
from typing import Any

import torch
from miniature import BATCH, detector, draw, step
from timing import show, versus


def entries(repeats: int = 40) -> list[dict[str, Any]]:
    """Return the entries: the target detached and attached, in the miniature at 96 px and batch 16."""
    scenes, classes = draw(BATCH)
    found = []
    for attached in (False, True):
        models = [detector(name, classes).train() for name in ("iou_aware_retinanet", "retinanet")]
        models[0].bbox_head.target_grad = attached
        optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-4) for model in models]
        ours, stock = (
            lambda model=model, optimizer=optimizer: step(model, optimizer, scenes)
            for model, optimizer in zip(models, optimizers, strict=True)
        )
        name = f"training step, target {'attached' if attached else 'detached'}, against MMDetection's RetinaNet"
        found.append(versus(name, ours, stock, repeats, "ms", 1e-3))
        show(found[-1])
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40, help="turns per entry (40)")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads (2)")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    entries(chosen.repeats)
