"""The command ``compare``: what changed from one set of detections to others, and how surely.

A side is a COCO results file of any framework, or a run with the rule that ranks it
(``results/micro/runs/NAME@alpha=0.50``).
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd

from iou_aware.analysis.report import html
from iou_aware.common import markdown
from iou_aware.common.files import csv_text, write_text
from iou_aware.common.messages import InputError
from iou_aware.evaluation import comparison
from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.comparison import FEWEST_IMAGES, HIGHER, LOWER, Comparison
from iou_aware.evaluation.resampled import CORRELATIONS, RESAMPLES
from iou_aware.evaluation.results import read_results

_LABELS = {
    "olrp": "oLRP (lower is better)",
    "localisation": "oLRP: localisation",
    "false": "oLRP: false",
    "missed": "oLRP: missed",
    "laece": "LaECE (lower is better)",
    "spearman": "score and IoU: Spearman",
    "pearson": "score and IoU: Pearson",
}
_SHOWN = 10
# A part of the page: a heading, a paragraph, and the heads and rows of a table.
Section = tuple[str, str, Sequence[str], Sequence[Sequence[str]]]


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
    if not 2 <= len(sides) == len(set(sides)) <= len(ascii_uppercase):
        raise InputError(f"found {' '.join(sides)}, expected 2 to {len(ascii_uppercase)} different results.")
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
    names = dict(zip(ascii_uppercase, sets, strict=False))  # letters head the columns of tables
    lettered = {letter: sets[side] for letter, side in names.items()}
    found = comparison.compare(evaluator, lettered)
    sections = _sections(found, names, evaluator)
    sys.stdout.write(_markdown(sections))
    if into is not None:
        pictures = [] if images is None else _draw(found, evaluator, lettered, images, into)
        _write(found, _sections(found, names, evaluator, shown=None), pictures, into)


def _sections(
    found: Comparison, names: dict[str, str], evaluator: CocoEvaluator, shown: int | None = _SHOWN
) -> list[Section]:
    """Return the parts of the page.

    Args:
        found: The comparison of sides by letter.
        names: What each letter stands for.
        evaluator: The ground truth.
        shown: At most so many classes are listed of each side; all if None.
    """
    first, *others = names
    intervals = f"Intervals of 95 %: paired bootstrap over the images, {RESAMPLES:,} resamples."
    about = f"On {len(evaluator.image_ids):,} images of {evaluator.annotations}. {intervals}"
    parts = [("Comparison", about, ["", "detections"], [*names.items()])]
    for other in others:
        metrics, classes, images = (
            frame[frame["detections"] == other] for frame in (found.metrics, found.classes, found.images)
        )
        change = f"{other} − {first}"
        heads = [first, other, change, "95 % interval"]
        rows = [
            _row(_LABELS.get(one.metric, one.metric), one, one.p, 3 if one.metric in CORRELATIONS else 2)
            for one in metrics.itertuples()
        ]
        parts.append((f"{other} against {first}", "", ["metric", *heads, "p", ""], rows))
        paragraph, rows = _classes(classes, shown)
        parts.append(("AP by class", paragraph, ["class", *heads, "p (Holm)", ""], rows))
        rows = [[str(one.image_id), one.file_name, f"{one.influence:+.4f}"] for one in images[:_SHOWN].itertuples()]
        sense = f"By about how many points AP of {change} would rise if the image counted once more:"
        parts.append(("Images that decide", sense, ["image", "file", "influence"], rows))
    return parts


def _classes(frame: pd.DataFrame, shown: int | None) -> tuple[str, list[list[str]]]:
    """Return a paragraph and a row for each class, those that surely differ first."""
    frame = frame.dropna(subset="difference").sort_values("difference", key=lambda one: -one.abs(), kind="stable")
    sure, judged = frame["verdict"].isin([HIGHER, LOWER]), frame["p_holm"].notna()
    paragraph = (
        f"{sure.sum()} of {judged.sum()} classes surely differ, corrected for their number (Holm). A class with objects"
        f" on fewer than {FEWEST_IMAGES} images is not judged."
    )
    ordered = pd.concat([frame[sure], frame[judged & ~sure], frame[~judged]])
    shown_classes = ordered.rename(columns={"class": "name"})[:shown].itertuples()
    return paragraph, [_row(one.name, one, one.p_holm, 2) for one in shown_classes]


def _row(name: str, one: Any, p: float, digits: int) -> list[str]:
    """Return name, both values, difference, interval, probability and verdict; empty where one is not known."""
    known = [(one.first, ""), (one.value, ""), (one.difference, "+")]
    cells = ["" if np.isnan(value) else f"{value:{sign}.{digits}f}" for value, sign in known]
    interval = "" if np.isnan(one.low) else f"[{one.low:+.{digits}f}, {one.high:+.{digits}f}]"
    return [name, *cells, interval, "" if np.isnan(p) else f"{p:.3f}", one.verdict]


def _markdown(parts: Sequence[Section]) -> str:
    """Return the page as Markdown."""
    blocks = []
    for number, (heading, paragraph, heads, rows) in enumerate(parts):
        blocks += [f"{'##' if number else '#'} {heading}", paragraph, markdown.table(heads, rows)]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _draw(
    found: Comparison, evaluator: CocoEvaluator, sets: Mapping[str, np.ndarray], images: Path, into: Path
) -> list[tuple[Path, str]]:
    """Draw the images that decide most for and against each side; return each picture with what it shows."""
    from iou_aware.analysis.gallery.panels import pictures
    from iou_aware.common import drawing

    truth, drawn = evaluator.objects, []
    for other, mine in found.images.groupby("detections"):
        influence = dict(zip(mine["image_id"], mine["influence"], strict=True))
        for number, (image, picture, words) in enumerate(pictures(truth, images, influence, sets), 1):
            path = drawing.save(picture, into / f"{other}-{number}.jpg", quality=80)
            drawn.append((path, f"{truth.file_names[image]}, {influence[image]:+.4f}. {words}"))
    return drawn


def _write(found: Comparison, parts: Sequence[Section], pictures: Sequence[tuple[Path, str]], into: Path) -> None:
    """Write the frames as CSV and the page as HTML."""
    for name, frame in vars(found).items():
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        write_text(into / f"{name}.csv", csv_text(list(frame.columns), rows))
    figures = [html.figure(path.read_bytes(), "jpeg", shows) for path, shows in pictures]
    write_text(into / "index.html", html.render("comparison", parts=parts, figures=figures))
