"""Files of other people, damaged at random: used as they say, or refused by name, and never anything else.

``make fuzz`` draws 12,000; without it 300 are drawn, the first of the same. A number names a mutation for ever:
``FUZZ_FIRST=4711 FUZZ=1 pytest tests/fuzz`` draws it alone.
"""

import json
import logging
import os
import random
import re
import signal
import traceback
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders.data import COCO, coco_content, describe, voc_object, write_coco, write_voc
from builders.experiments import DATASET, TEXT
from builders.experiments import write as write_experiment
from fuzz.mutations import mutated

from iou_aware.common.messages import InputError
from iou_aware.data.manifest import Manifest
from iou_aware.data.prepare import prepare
from iou_aware.experiment.experiment import Experiment

TOTAL, FIRST = int(os.environ.get("FUZZ", "300")), int(os.environ.get("FUZZ_FIRST", "0"))
PARTS = 12 if TOTAL > 300 else 1  # to share out among processes
SECONDS = 5
BOXES = [(4, 4, 20, 16), (10, 8, 30, 30), (0, 0, 64, 48)]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a data set in each layout, and an experiment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.root, "level", logging.CRITICAL)
    content = coco_content(BOXES)
    content["annotations"][1] |= {"category_id": 2, "image_id": 2, "iscrowd": 1}
    describe(tmp_path, "coco", **COCO)
    write_coco(tmp_path / "data" / "coco", "train", content)
    describe(tmp_path, "voc", classes=["cat", "dog"])
    objects = [voc_object("cat", 1, 1, 10, 20), voc_object("dog", 5, 6, 40, 40, difficult=1)]
    write_voc(tmp_path / "data" / "voc", {"train": {"a": objects, "b": objects[:1]}})
    write_experiment(tmp_path)
    return tmp_path


def outcome(work, *names: str) -> Any:
    """Return what ``work`` returns; None where it refuses a file by one of its names."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)  # KeyboardInterrupt: nothing takes it for a bad file
    signal.alarm(SECONDS)
    try:
        return work()
    except InputError as fault:
        assert any(name in str(fault) for name in names), f"names no file: {fault}"
        return None
    finally:
        signal.alarm(0)


def counts(project: Path, name: str) -> tuple[int, int, int]:
    """Return how many images, objects and ignored objects a prepared data set has, those named as left out included."""
    part = Manifest.load(prepare(project, name)).split("train")
    named = len(part.invalid) + sum(part.unlisted.values())
    return part.counts["images"] + len(part.excluded), part.counts["boxes"] + named, part.counts["ignored"]


def entries_of_json(content: bytes) -> tuple[int, int]:
    """Return how many images and annotations a file has, those under a key that is written twice included."""
    found: Counter[str] = Counter()

    def count(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, value in pairs:
            if key in ("images", "annotations") and isinstance(value, list):
                found[key] += len(value)
        return dict(pairs)

    json.loads(content, object_pairs_hook=count)
    return found["images"], found["annotations"]


def annotations(project: Path, layout: str, draw: random.Random) -> None:
    clean = counts(project, layout)
    is_coco = layout == "coco"
    file = project / "data" / layout / ("train.json" if is_coco else f"Annotations/{draw.choice('ab')}.xml")
    before = file.read_bytes()
    after = mutated(before, draw, json.loads(before) if is_coco else None)
    file.write_bytes(after)
    try:
        found = outcome(lambda: counts(project, layout), str(file), "faults.txt")
        if found is None or found == clean:
            return
        if is_coco:
            said = entries_of_json(after)
        else:  # whatever is called so, in whatever case, and each class that is named
            said = (clean[0], clean[1] + clean[2] + len(_objects(after)) - len(_objects(before)))
        assert (found[0], found[1] + found[2]) == said, f"in silence: {clean} became {found}, the file says {said}"
    finally:
        file.write_bytes(before)


def _objects(content: bytes) -> list[bytes]:
    return re.findall(rb"<bndbox\s*>", re.sub(rb"<!--.*?-->", b"", content.replace(b"\0", b""), flags=re.DOTALL))


def configuration(project: Path, kind: str, draw: random.Random) -> None:
    experiment, dataset = Path("configs/experiments/trial.yaml"), Path("configs/datasets/shapes.yaml")
    file, text = (experiment, TEXT) if kind == "experiment" else (dataset, DATASET)
    after = mutated(text.encode(), draw, yaml.safe_load(text), partial(yaml.dump, sort_keys=False, allow_unicode=True))
    file.write_bytes(after)
    try:
        loaded = outcome(lambda: Experiment.load(experiment), str(experiment), str(dataset))
        if loaded is not None and kind == "experiment":
            said = yaml.safe_load(after)
            assert json.dumps(loaded.content, sort_keys=True) == json.dumps(said, sort_keys=True), "read as another"
    finally:
        file.write_text(text)


@pytest.mark.parametrize("part", range(PARTS))
def test_what_is_damaged_is_read_as_it_says_or_refused_by_name(project, part):
    told = []
    for number in range(FIRST + part, FIRST + TOTAL, PARTS):
        draw = random.Random(number)
        # Five of six are annotation files, those of COCO more often than those of VOC.
        kind = ("coco", "voc", "coco", "experiment" if number % 12 < 6 else "dataset", "coco", "voc")[number % 6]
        work = annotations if kind in ("coco", "voc") else configuration
        try:
            work(project, kind, draw)
        except BaseException as fault:
            place = traceback.extract_tb(fault.__traceback__)[-1]
            told.append(f"{number} ({kind}): {type(fault).__name__}: {str(fault)[:300]} ({place.name}:{place.lineno})")
    assert not told, f"{len(told)} of {TOTAL // PARTS}:\n" + "\n".join(told[:40])
