"""How much memory a pass over COCO's test-dev takes beyond the model: 20,288 images, 13 rules, 100 detections each.

What a batch of 16 goes through between the head and the file is what ``predict`` does. Only every hundredth batch is
swept, as the sweep's memory is that of one batch; its detections are written for all of them.
"""

import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sweep import TABLE_3, coco_head, coco_outputs
from timing import absent, given

from iou_aware import detections
from iou_aware.inference import predict

IMAGES, BATCH, EVERY = 20_288, 16, 100
RULES = [*TABLE_3, "cls"]
LIMIT = 1536  # MiB
STATUS = Path("/proc/self/status")


def stream(images: int, batch: int) -> tuple[float, int]:
    """Return by how many MiB memory grows at most over a stream of images, and how many rows were written."""
    head, categories = coco_head("ours"), np.arange(1, 81, dtype=np.int32)
    metas = [{"img_shape": (800, 1333), "scale_factor": (2.08, 2.08)}] * batch
    outs = tuple([torch.cat([level.roll(by, -1) for by in range(batch)]) for level in part] for part in coco_outputs())
    before = held("VmRSS")
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder) / "test-dev.parquet"

        def detected() -> Iterator[tuple[np.ndarray, detections.Detections]]:
            for number, start in enumerate(range(0, images, batch)):
                if number % EVERY == 0:
                    swept = head.sweep(outs, metas, RULES)
                yield predict.rows(swept, list(range(start, start + batch)), categories)

        written = detections.write(path, RULES, images, {}, detected())
        return held("VmHWM") - before, written


def held(what: str) -> float:
    """Return the memory that this process holds (``VmRSS``) or has held at most (``VmHWM``), MiB."""
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def entries(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the one entry; a process of its own measures it, of which nothing else raised the peak."""
    images, batch = (6, 2) if quick else (IMAGES, BATCH)
    name = f"memory, {images:,} images of test-dev by {len(RULES)} rules"
    if not STATUS.is_file():
        yield absent(name, f"measured on Linux only, from {STATUS}")
        return
    if quick:
        grown, rows = stream(images, batch)
    else:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            grown, rows = pool.submit(stream, images, batch).result()
    what = f"batches of {batch} at COCO's geometry, {rows:,} rows of Parquet; beyond the model's outputs"
    yield given(name, what, [grown], "MiB", goal=LIMIT)
