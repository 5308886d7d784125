"""How long the paired bootstrap takes at COCO's size: 5,000 images, 35,000 boxes, 500,000 detections, 80 classes.

The scenes are random; only their number and the spread of classes and sizes matter. Run from anywhere:

    python benchmarks/bootstrap.py [--scale 0.1] [--resamples 1000]
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from iou_aware.evaluation import intervals, resampled
from iou_aware.evaluation.coco import CocoEvaluator, summarise
from iou_aware.evaluation.matching import match_areas

IMAGES, BOXES, DETECTIONS, CLASSES = 5000, 35_000, 500_000, 80
SIDE = 640.0


def boxes(random: np.random.Generator, count: int) -> np.ndarray:
    """Return ``(count, 4)`` x, y, width, height; sides from a few pixels to most of the image."""
    return np.column_stack([random.uniform(0, SIDE, (count, 2)), np.exp(random.normal(4, 1, (count, 2))).clip(4, 400)])


def categories(random: np.random.Generator, count: int) -> np.ndarray:
    """Return ``(count,)`` category ids, a few of them frequent, as COCO's are."""
    return (random.zipf(1.6, count) - 1) % CLASSES + 1


def truth(path: Path, images: int, count: int, seed: int = 0) -> np.ndarray:
    """Write an annotation file of random boxes; return image id, x, y, width, height, category id of each."""
    random = np.random.default_rng([seed, 0] if seed else 0)
    content = np.column_stack([random.integers(1, images + 1, count), boxes(random, count), categories(random, count)])
    annotations = [
        {"id": i, "image_id": int(a[0]), "category_id": int(a[5]), "bbox": [*a[1:5]], "area": a[3] * a[4], "iscrowd": 0}
        for i, a in enumerate(content, 1)
    ]
    document = {
        "images": [{"id": i, "width": int(SIDE), "height": int(SIDE)} for i in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": k, "name": str(k)} for k in range(1, CLASSES + 1)],
    }
    path.write_text(json.dumps(document))
    return content


def detections(content: np.ndarray, images: int, count: int, seed: int) -> np.ndarray:
    """Return detections as the evaluators load them: an eighth of them near an object, the others anywhere."""
    random = np.random.default_rng(seed)
    near = content[random.integers(0, len(content), count // 8)].copy()
    noise = random.normal(0, 0.08, (len(near), 4))
    near[:, 1:3] += noise[:, :2] * near[:, 3:5]
    near[:, 3:5] *= np.exp(noise[:, 2:])
    rest = count - len(near)
    far = np.column_stack([random.integers(1, images + 1, rest), boxes(random, rest), categories(random, rest)])
    confidences = np.concatenate([random.beta(2, 2, len(near)), random.beta(1, 8, rest)])
    found = np.concatenate([near, far])
    return np.column_stack([found[:, :5], confidences, found[:, 5]])


def main() -> None:
    """Time one run and rule, all metrics, and say what it needs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of COCO's size (1.0)")
    parser.add_argument("--resamples", type=int, default=resampled.RESAMPLES, help="how many (1000)")
    options = parser.parse_args()
    images, count, found_count = (round(number * options.scale) for number in (IMAGES, BOXES, DETECTIONS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "truth.json"
        found = detections(truth(path, images, count), images, found_count, seed=1)
        evaluator = CocoEvaluator(path)
        started = time.perf_counter()
        matches = match_areas(evaluator, found)
        weights = list(resampled.draws(images, options.resamples))
        values, _ = resampled.distributions(matches, weights)
        aps = time.perf_counter()
        resampled.correlations(matches["all"], weights)
        done = time.perf_counter()
        plain = summarise(evaluator.curves(found))["AP"]
    limits = intervals.interval(plain, values["AP"])
    print(f"{images} images, {count} boxes, {found_count} detections, {options.resamples} resamples")
    print(f"AP {plain:.2f}, 95 % interval [{limits.low:.2f}, {limits.high:.2f}]")
    print(f"{len(values)} kinds of AP: {aps - started:.1f} s; correlations: {done - aps:.1f} s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
