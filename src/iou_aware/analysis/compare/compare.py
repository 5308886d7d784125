"""The command ``compare``: what changed from one set of detections to others, and how surely.

A side is a COCO results file of any framework, or a run with the rule that ranks it
(``results/micro/runs/NAME@alpha=0.50``).
"""

import sys
from pathlib import Path
from string import ascii_uppercase

from iou_aware.analysis.compare import page
from iou_aware.common.messages import InputError
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
    if any(Path(side).is_file() for side in sides):
        if annotations is None:
            raise InputError(f"{sides[0]}: expected --annotations with results files: the COCO file of the objects.")
        evaluator = CocoEvaluator(annotations)
        sets = {side: read_results(Path(side), evaluator) for side in sides}
    else:
        # What they need beyond the detections themselves, who compares files need not have installed.
        from iou_aware.analysis.compare import runs

        annotations, sets = runs.load(sides, split)
        evaluator = CocoEvaluator(annotations)
    names = dict(zip(ascii_uppercase, sets, strict=False))  # of the columns of tables
    lettered = {letter: sets[side] for letter, side in names.items()}
    found = measured(evaluator, lettered)
    sections = page.sections(found, names, evaluator)
    sys.stdout.write(page.markdown(sections))
    if into is not None:
        pictures = [] if images is None else page.draw(found, evaluator, lettered, images, into)
        page.write(found, page.sections(found, names, evaluator, shown=None), pictures, into)
