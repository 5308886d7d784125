"""COCO's metrics at COCO's size, by hotcoco, faster-coco-eval and pycocotools, on the random scenes of ``bootstrap``.

Annotations are loaded beforehand on every side, as they are once per evaluation whatever the number of rules.
"""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bootstrap as scenes
import faster_coco_eval
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from timing import versus

from iou_aware.evaluation.coco import CocoEvaluator, Curves, summarise, summarise_classes

RULES = 13
PARTS = ("precision", "recall")


class FasterCocoEval:
    """faster-coco-eval, used as its documentation says."""

    def __init__(self, annotations: Path) -> None:
        self._truth = faster_coco_eval.COCO(str(annotations), print_function=_silent)

    def __call__(self, results: np.ndarray) -> None:
        """Evaluate one rule's detections."""
        found = self._truth.loadRes(results)
        evaluation = faster_coco_eval.COCOeval_faster(self._truth, found, "bbox", print_function=_silent)
        evaluation.evaluate()
        evaluation.accumulate()


class PyCocoTools:
    """pycocotools, the reference implementation."""

    def __init__(self, annotations: Path) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self._truth = COCO(str(annotations))

    def curves(self, results: np.ndarray) -> Curves:
        """Return precision and recall of one rule's detections."""
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(self._truth, self._truth.loadRes(results), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation.eval


def _silent(*_: Any) -> None:
    pass


def entries(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the comparisons with both peers, per rule; the peers take one of the 13 rules."""
    scale = 0.004 if quick else 1
    images, boxes, count = (round(number * scale) for number in (scenes.IMAGES, scenes.BOXES, scenes.DETECTIONS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "truth.json"
        content = scenes.truth(path, images, boxes)
        rules = [scenes.detections(content, images, count, seed) for seed in range(RULES)]
        ours, faster, reference = CocoEvaluator(path), FasterCocoEval(path), PyCocoTools(path)
    found: dict[str, Any] = {}

    def all_rules() -> None:
        for results in rules:
            curves = ours.curves(results)
            summarise(curves), summarise_classes(curves)
        found["ours"] = curves

    def one_rule() -> None:
        found["reference"] = reference.curves(rules[-1])
        summarise(found["reference"])

    name = f"evaluation per rule: {images:,} images, {boxes:,} boxes, {count:,} detections a rule"
    mine = (f"hotcoco, {RULES} rules one after the other, also per class", all_rules)
    peer = ("faster-coco-eval, one of the rules", lambda: faster(rules[-1]))
    yield versus(f"{name}: faster-coco-eval", mine, peer, turns=1 if quick else 2, per=RULES, peer_per=1, warm=False)
    peer = ("pycocotools, one of the rules, once", one_rule)
    entry = versus(f"{name}: pycocotools", mine, peer, turns=1, per=RULES, peer_per=1, goal=1 / 50, warm=False)
    difference = max(abs(found["ours"][part] - found["reference"][part]).max() for part in PARTS)
    entry["peer"]["what"] += f"; its precisions and recalls differ from ours by at most {difference:g}"
    yield entry
