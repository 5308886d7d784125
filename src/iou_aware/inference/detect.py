"""The command ``detect``: the boxes of a trained run, drawn on one's own photographs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.structures import InstanceData
from PIL import Image
from torch import nn

from iou_aware.common import drawing, seal
from iou_aware.common.files import csv_text, write_text
from iou_aware.common.messages import InputError, log
from iou_aware.data.images import TURNED_BY_OPENCV
from iou_aware.detections import BOX, SCORES
from iou_aware.inference import predict
from iou_aware.method.confidence import Rule
from iou_aware.method.iou_branch import DEFAULT_RULE
from iou_aware.training import parts

COLUMNS = ["photo", "class", *BOX, *SCORES]
# Pixels of the longer side: enough for a screen, and for labels beside what they name.
_LONGEST, _SHORTEST = 1600, 900


def detect(photos: Sequence[Path], run: Path, rule: str | None, out: Path, least: float = 0.5) -> list[Path]:
    """Draw what a run finds on photographs: ``out/<name>.jpg`` for each, and all boxes in ``out/detections.csv``.

    Args:
        photos: Pictures of any format that Pillow reads, or folders of them; EXIF's turning is followed. What cannot be
            read in a folder is passed over, with a warning.
        run: The folder of a finished run, ``results/<experiment>/runs/<run>``, or its weights there.
        rule: How confidence is computed, ``none``, ``alpha=0.50`` or ``cls``; None for alpha 0.5 where IoU is
            predicted, and for the classification score where it is not.
        out: Where to write.
        least: The least confidence to draw, in [0, 1]; the CSV has all.

    Returns:
        What was written.

    Raises:
        InputError: A photograph is missing, unreadable, or shares its name with another; a folder has none; the run is
            not finished or damaged; the rule is not one for it. After all else is written: a photograph's shape is
            one that the detector cannot work on.
    """
    if not 0 <= least <= 1:
        raise InputError(f"the least confidence: found {least}, expected a number from 0 to 1.")
    # All of them are read before the first is worked on, and none kept: there may be thousands.
    photos = list(dict.fromkeys(photo for place in photos for photo in _pictures(place)))
    targets = _targets(photos, out)
    run = run.parent if run.is_file() else run
    seal.verify(run)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = parts.read(run / "config.py")
    model = predict.load_model(config, run / "weights.pth").to(device)
    ranked = _rule(model, rule, run)
    classes = list(config.train_dataloader.dataset.metainfo.classes)

    lines: list[dict[str, Any]] = []
    failed: list[str] = []
    for photo in photos:
        picture = drawing.load(photo)
        try:
            boxes = _boxes(model, config, _pixels(photo, picture), ranked)
        except (cv2.error, RuntimeError, ValueError) as fault:  # as at 3000 x 20 pixels, which shrink to 64 x 0
            why = " ".join(str(fault).split())
            failed.append(f"{photo}: {picture.width} x {picture.height} pixels cannot be worked on ({why})")
            del targets[photo]
            continue
        shown = [box for box in boxes if box["confidence"] >= least]
        drawing.save(_drawn(picture, shown, classes), targets[photo])
        log.info("%s: %d boxes of confidence %g and more by %s", targets[photo], len(shown), least, ranked)
        lines += [{"photo": str(photo)} | box for box in boxes]
    write_text(out / "detections.csv", csv_text(COLUMNS, lines))
    if failed:
        raise InputError("; ".join(failed) + f". All other photographs are in {out}: leave these out, or crop them.")
    return [*targets.values(), out / "detections.csv"]


def _pictures(place: Path) -> list[Path]:
    """Return a photograph itself, or those of a folder; what else is in the folder is passed over with a word."""
    if not place.is_dir():
        drawing.load(place)
        return [place]
    pictures = []
    for file in sorted(place.iterdir()):
        try:
            drawing.load(file)
            pictures.append(file)
        except InputError as fault:
            log.warning("Passed over: %s", fault)
    if not pictures:
        raise InputError(f"{place}: there is no picture in this folder; expected files such as photo.jpg in it.")
    return pictures


def _targets(photos: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Return where each photograph's picture goes; no two in one place, none over a photograph."""
    stems = Counter(photo.stem for photo in photos)
    # a.jpg and a.png become a.jpg.jpg and a.png.jpg
    targets = {photo: out / f"{photo.stem if stems[photo.stem] == 1 else photo.name}.jpg" for photo in photos}
    sources, times = {photo.resolve() for photo in photos}, Counter(targets.values())
    for photo, target in targets.items():
        if target.resolve() in sources:
            raise InputError(f"{target}: the drawing would replace a photograph; expected another folder as --out.")
        if times[target] > 1:
            raise InputError(f"{photo}: another photograph has this name too, and both would become {target}.")
    return targets


def _rule(model: nn.Module, text: str | None, run: Path) -> Rule:
    rule = Rule(text or (DEFAULT_RULE if predict.predicts_iou(model) else "cls"))
    if rule.kind == "oracle":
        raise InputError(f"rule {rule}: it needs to know the objects; expected none, cls or alpha=A for photographs.")
    predict.require_rules(model, [rule], run)
    return rule


def _pixels(photo: Path, picture: Image.Image) -> np.ndarray:
    """Return a photograph as the detector was trained to see it: decoded by OpenCV, blue first, ``(H, W, 3)`` uint8.

    By Pillow where OpenCV would not follow EXIF, or cannot decode it.
    """
    with Image.open(photo) as stored:
        follows_exif = stored.format in TURNED_BY_OPENCV and "stretched" not in picture.info
    pixels = cv2.imread(str(photo), cv2.IMREAD_COLOR) if follows_exif else None
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1]) if pixels is None else pixels


def _boxes(model: nn.Module, config: Config, pixels: np.ndarray, rule: Rule) -> list[dict[str, Any]]:
    """Return the lines of the CSV about one picture, in descending confidence, boxes in its pixels."""
    pipeline = config.test_dataloader.dataset.pipeline
    steps = [step for step in pipeline if step.type in ("Resize", "PackDetInputs")]
    shape = pixels.shape[:2]
    data = {"img": pixels, "img_shape": shape, "ori_shape": shape, "img_id": 0, "img_path": ""}
    packed = Compose(steps)(data)
    packed["data_samples"].gt_instances = InstanceData(bboxes=torch.zeros(0, 4))  # nobody knows them
    detected, images = predict.detect(model, pseudo_collate([packed]), [rule])
    _, found = predict.rows(detected, images, np.array(config.train_dataloader.dataset.metainfo.classes))
    scores = [found.confidences, found.cls_scores, *([] if found.iou_preds is None else [found.iou_preds])]
    return [
        {"class": str(name)}
        | {side: round(value, 2) for side, value in zip(BOX, box, strict=True)}
        | {score: round(value, 6) for score, value in zip(SCORES, values, strict=False)}
        for name, box, values in zip(
            found.category_ids, found.boxes.tolist(), np.column_stack(scores).tolist(), strict=True
        )
    ]


def _drawn(picture: Image.Image, lines: Sequence[dict[str, Any]], classes: Sequence[str]) -> Image.Image:
    """Return a picture with its boxes, the surest on top, one colour per class."""
    marks = []
    for line in reversed(lines):
        colour = drawing.COLOURS[classes.index(line["class"]) % len(drawing.COLOURS)]
        text = f"{line['class']} {line['confidence']:.2f}"
        if "iou_pred" in line:
            text += f" (p {line['cls_score']:.2f}, IoU {line['iou_pred']:.2f})"
        marks.append(drawing.Mark([line[side] for side in BOX], text, colour))
    return drawing.draw(picture, marks, _SHORTEST, _LONGEST)
