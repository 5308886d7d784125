"""The command ``compare``: what changed from one set of detections to others, and how surely.

A side is a COCO results file of any framework, a run with the rule that ranks it
(``results/micro/runs/NAME@alpha=0.50``), or a folder of results (``results/micro``), of which there are two.
"""

import sys
from pathlib import Path

import numpy as np

from iou_aware.analysis.compare import page
from iou_aware.common.errors import InputError
from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.comparison import compare as measured
from iou_aware.evaluation.results import read_results


def compare(
    sides: list[str],
    annotations: Path | None = None,
    images: Path | None = None,
    into: Path | None = None,
    split: str | None = None,
) -> None:
    """Print the comparison of the sides with the first of them as Markdown.

    Args:
        sides: Two or more of the same kind, see above.
        annotations: What results files are evaluated with, a COCO instances file.
        images: The folder of its images, where those that decide are to be drawn.
        into: Where to write the comparison as CSV and HTML.
        split: The split to compare runs on; needed only where all are predicted on several.

    Raises:
        InputError: A side does not exist or cannot be compared with the first.
    """
    if len(set(sides)) < max(2, len(sides)):
        raise InputError(f"found {' '.join(sides)}, expected two or more different results.")
    if images is not None and into is None:
        raise InputError("found --images without --into, expected the folder to draw the images into.")
    files = [side for side in sides if Path(side).is_file()]
    if not files:
        # What they need beyond the detections themselves, who compares files need not have installed.
        from iou_aware.analysis.compare import folders

        places = [folders.parse(side) for side in sides]
        if any(place.run is None for place in places):
            sys.stdout.write(folders.page(places))
            return
        annotations, sets = folders.runs(places, split)
        evaluator = CocoEvaluator(annotations)
    else:
        evaluator, sets = _files(sides, files, annotations)
    names = page.letters(sets)
    found = measured(evaluator, dict(zip(names, sets.values(), strict=True)))
    sections = page.sections(found, names, evaluator)
    sys.stdout.write(page.markdown(sections))
    if into is not None:
        pictures = [] if images is None else page.draw(found, evaluator, names, [*sets.values()], images, into)
        page.write(found, page.sections(found, names, evaluator, shown=None), pictures, into)


def _files(sides: list[str], files: list[str], annotations: Path | None) -> tuple[CocoEvaluator, dict[str, np.ndarray]]:
    """Return the ground truth and the detections of results files."""
    for side in sides:
        if side not in files:
            raise InputError(
                f"{side}: expected a results file, as {files[0]} is; `iou-aware export` writes one of a run."
            )
    if annotations is None:
        raise InputError(f"{files[0]}: expected --annotations with results files: the COCO file of the objects.")
    evaluator = CocoEvaluator(annotations)
    return evaluator, {side: read_results(Path(side), evaluator) for side in sides}
