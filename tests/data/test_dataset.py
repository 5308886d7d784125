"""Dataset files: every key is checked, and an error says where it is and what was meant."""

from importlib.resources import files

import pytest
import yaml
from builders.data import COCO, describe
from builders.experiments import REPOSITORY

from iou_aware.common.messages import InputError
from iou_aware.data.dataset import load

MICRO = {"generator": "micro-coco", "seed": 0, "images": {"train": 4}}
UNLABELLED = COCO | {"splits": COCO["splits"] | {"hidden": COCO["splits"]["train"] | {"labelled": False}}}
VAL = COCO["splits"] | {"val": COCO["splits"]["train"]}
MICRO_VOC = MICRO | {"generator": "micro-voc"}


PLACES = {"data/cells": "data/cells", "/far/away": "/far/away", "~/cells": "/home/cells", "$HOME/cells": "/home/cells"}


@pytest.mark.parametrize("named", PLACES)
def test_the_root_is_the_files_or_the_experiments(monkeypatch, tmp_path, named):
    monkeypatch.setenv("HOME", "/home")
    for root, roots in ((named, {"other": "elsewhere"}), ("elsewhere", {"own": named})):
        describe(tmp_path, root=root)
        assert load(tmp_path, "own", roots).root == tmp_path / PLACES[named]


def test_every_shipped_dataset_is_valid():
    for path in (REPOSITORY / "configs" / "datasets").glob("*.yaml"):
        assert load(REPOSITORY, path.stem).name == path.stem


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"invalid_boxs": "keep"}, ["own.yaml, line 12, key invalid_boxs", "invalid_boxes"]),
        ({"invalid_boxes": "drop"}, ["line 12, key invalid_boxes", "'drop'", "error, exclude or keep"]),
        ({"layout": "yolo"}, ["line 2, key layout", "'yolo'", "coco or voc"]),
        ({"root": None}, ["'root' is missing"]),
        ({"classes": ["a", "a"]}, ["key classes"]),
        ({"layout": "coco"}, ["key splits.train"]),
        ({"train": "trian"}, ["key train", "'trian'", "Did you mean 'train'"]),
        (UNLABELLED | {"train": "hidden"}, ["key train: the split 'hidden' is not labelled"]),
        (UNLABELLED | {"evaluate": ["train", "hidden"]}, ["key evaluate: the split 'hidden' is not labelled"]),
        ({"folds": 1}, ["key folds", "1"]),
        (COCO | {"splits": VAL, "evaluate": ["val"], "folds": 2}, ["key evaluate: found ['val'], expected [train]"]),
        ({"dataset": "other"}, ["key dataset", "'other'", "'own'"]),
        ({"generate": MICRO | {"generator": "macro"}}, ["key generate.generator", "'macro'", "micro-voc"]),
        ({"generate": MICRO | {"images": {"train": {"test": 4}}}}, ["key generate.images.train", "{'test': 4}"]),
        ({"generate": MICRO | {"images": {"../../x": 3}}}, ["key generate.images", "letters, digits"]),
        ({"generate": MICRO_VOC | {"images": {"VOC2007": {"../x": 3}}}}, ["generate.images", "letters, digits"]),
        ({"generate": MICRO | {"seed": -1}}, ["key generate.seed", "found -1"]),
        ({"generate": MICRO_VOC | {"images": {"VOC2007": {"test": 0}}}}, ["images.VOC2007.test: found 0"]),
        ({"generate": MICRO_VOC | {"images": {"test": 4}}}, ["key generate.images.test", "found 4"]),
        ({"fetch": {"archives": [{"url": "file:///etc/passwd"}]}}, ["key fetch.archives[0].url", "file:///etc/passwd"]),
    ],
)
def test_a_wrong_key_is_named(tmp_path, keys, told):
    describe(tmp_path, **keys)
    with pytest.raises(InputError) as caught:
        load(tmp_path, "own")
    for part in told:
        assert part in str(caught.value)


def test_an_unknown_dataset_is_named_with_the_closest_known(tmp_path):
    describe(tmp_path, "blood-cells")
    with pytest.raises(InputError, match=r"blood_cells\.yaml: there is no .* Did you mean '.*blood-cells\.yaml'"):
        load(tmp_path, "blood_cells")


def test_every_key_of_the_schema_is_described():
    schema = yaml.safe_load((files("iou_aware") / "schemas" / "dataset.schema.yaml").read_text())

    def described(node):
        """Yield what must be: properties and definitions, but for those that only restrict others."""
        if isinstance(node, dict):
            yield from node.get("properties", {}).items()
            yield from node.get("$defs", {}).items()
        for key, below in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(below, dict | list) and key not in ("if", "then", "else", "allOf"):
                yield from described(below)

    everything = list(described(schema))
    assert len(everything) > 40
    assert not [key for key, below in everything if not {"description", "$ref"} & set(below)]
