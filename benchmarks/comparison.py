"""How often ``iou-aware compare`` calls equally good detectors different, and what it takes at COCO's size.

Each trial draws scenes as in ``bootstrap.py`` and the noise of one and the same detector on them twice. Whatever is
then called surely different is a false alarm: any metric for itself, and any class at all after Holm's correction.

    python benchmarks/comparison.py [--trials 400] [--images 1000] [--classes 20] [--seed 0]
    python benchmarks/comparison.py --coco FOLDER   # writes truth.json, A.bbox.json and B.bbox.json, to be timed
"""

import argparse
import json
import tempfile
from pathlib import Path

import bootstrap as scenes
import numpy as np
import pandas as pd

from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.comparison import HIGHER, LOWER, compare

RESAMPLES = 300


def trial(path: Path, images: int, seed: int) -> pd.Series:
    """Return which metrics of two equal detectors are called surely different, and whether any class is."""
    content = scenes.truth(path, images, 7 * images, seed)
    noises = [scenes.detections(content, images, 30 * images, 2 * seed + side + 1) for side in (0, 1)]
    found = compare(CocoEvaluator(path), dict(zip("AB", noises, strict=True)), RESAMPLES)
    alarms = found.metrics.set_index("metric")["verdict"].isin([HIGHER, LOWER])
    alarms["any class"] = found.classes["verdict"].isin([HIGHER, LOWER]).any()
    return alarms


def write_coco(folder: Path) -> None:
    """Write ground truth and two results files of COCO's size."""
    folder.mkdir(parents=True, exist_ok=True)
    content = scenes.truth(folder / "truth.json", scenes.IMAGES, scenes.BOXES)
    for seed, name in enumerate("AB", 1):
        found = scenes.detections(content, scenes.IMAGES, scenes.DETECTIONS, seed)
        rows = [
            {"image_id": int(row[0]), "category_id": int(row[6]), "bbox": row[1:5].round(3).tolist(), "score": row[5]}
            for row in found
        ]
        (folder / f"{name}.bbox.json").write_text(json.dumps(rows))


def main() -> None:
    """Print how often each verdict was a false alarm, with the standard error of that share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400, help="how many trials (400)")
    parser.add_argument("--images", type=int, default=1000, help="images of each (1000)")
    parser.add_argument("--classes", type=int, default=20, help="how many classes (20)")
    parser.add_argument("--seed", type=int, default=0, help="the first trial's seed (0)")
    parser.add_argument("--coco", type=Path, metavar="FOLDER", help="write files of COCO's size, and no more")
    options = parser.parse_args()
    if options.coco:
        write_coco(options.coco)
        return
    scenes.CLASSES = options.classes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "truth.json"
        seeds = range(options.seed, options.seed + options.trials)
        shares = pd.concat([trial(path, options.images, seed) for seed in seeds], axis=1).mean(axis=1)
    for name, share in shares.items():
        error = np.sqrt(share * (1 - share) / options.trials)
        print(f"{name}: {100 * share:.1f} % false alarms (standard error {100 * error:.1f})")


if __name__ == "__main__":
    main()
