"""How often the bootstrap's 95 % intervals hold the truth, tried on samples of a whole that is known.

Random scenes as in ``bootstrap.py``; the AP on all 6,000 images is the truth, each sample some hundred of them.

    python benchmarks/interval_coverage.py [--classes 40] [--images 500] [--samples 120]
"""

import argparse
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import bootstrap as scenes
import numpy as np

from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.matching import Matches, match
from iou_aware.evaluation.resampled import average_precisions, draws

WHOLE, RESAMPLES = 6000, 300
AP75 = 5  # index of its IoU threshold
QUANTILE = 1.96  # of the normal distribution, for 95 %


def sampled(matches: Matches, images: np.ndarray) -> Matches:
    """Return the matches on some images only, given as ascending indices."""
    place = np.full(WHOLE, -1)
    place[images] = np.arange(len(images))
    kept, objects = place[matches.images] >= 0, place[matches.object_images] >= 0
    return replace(
        matches,
        image_ids=matches.image_ids[images],
        images=place[matches.images[kept]],
        classes=matches.classes[kept],
        confidences=matches.confidences[kept],
        rows=matches.rows[kept],
        true=matches.true[:, kept],
        ious=matches.ious[kept],
        ignored=matches.ignored[:, kept],
        object_images=place[matches.object_images[objects]],
        object_classes=matches.object_classes[objects],
    )


def metrics(matches: Matches, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return AP and AP75, ``(B,)`` percent each."""
    found = 100 * average_precisions(matches, [weights])
    return {"AP": np.nanmean(found, axis=(1, 2)), "AP75": np.nanmean(found[:, AP75], axis=1)}


def main() -> None:
    """Print for each metric, and its difference between two models, how often each kind of interval holds the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=40, help="how many classes (40)")
    parser.add_argument("--images", type=int, default=500, help="images of a sample (500)")
    parser.add_argument("--samples", type=int, default=120, help="how many samples (120)")
    options = parser.parse_args()
    scenes.CLASSES = options.classes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "truth.json"
        content = scenes.truth(path, WHOLE, 7 * WHOLE)
        evaluator = CocoEvaluator(path)
        models = [match(evaluator, scenes.detections(content, WHOLE, 30 * WHOLE, seed)) for seed in (1, 2)]
    truth = [metrics(model, np.ones((1, WHOLE), dtype=int)) for model in models]
    random, held = np.random.default_rng(5), defaultdict(list)
    for number in range(options.samples):
        images = np.sort(random.choice(WHOLE, options.images, replace=False))
        samples = [sampled(model, images) for model in models]
        plain = [metrics(sample, np.ones((1, options.images), dtype=int)) for sample in samples]
        drawn = np.concatenate(list(draws(options.images, RESAMPLES, number)))
        again = [metrics(sample, drawn) for sample in samples]
        for name in truth[0]:
            for what, sides in {name: (0.0, 1.0), f"difference of {name}": (1.0, -1.0)}.items():
                real, value, values = (
                    sum(sign * side[name] for sign, side in zip(sides, source, strict=True))
                    for source in (truth, plain, again)
                )
                low, high = np.percentile(values, [2.5, 97.5])
                held[what, "percentile"].append(low <= real[0] <= high)
                held[what, "basic"].append(2 * value[0] - high <= real[0] <= 2 * value[0] - low)
                held[what, "standard error"].append(abs(value[0] - real[0]) <= QUANTILE * values.std())
    for (what, kind), hits in held.items():
        print(f"{what}, {kind}: {100 * np.mean(hits):.0f} %")


if __name__ == "__main__":
    main()
