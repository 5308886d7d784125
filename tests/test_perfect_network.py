"""A network that is always right has AP 100 at every threshold: each recipe, one-stage detector and layout, two scales.

Its head answers with the targets of its own loss, taken for the images of the training pipeline. All else is real:
decoding, suppression, scaling back, the files between the stages, evaluation. A box that comes out half a pixel wrong
anywhere on the way costs AP at the high thresholds.
"""

import json
import math
from itertools import product

import pytest
import torch
import yaml
from builders.data import describe, picture, put, voc_object, voc_xml
from builders.experiments import REPOSITORY, with_a_table
from mmdet.models.dense_heads import ATSSHead, FCOSHead
from mmdet.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from iou_aware.common import seal
from iou_aware.data.manifest import Manifest
from iou_aware.data.prepare import prepare
from iou_aware.evaluation.evaluate import evaluate
from iou_aware.experiment.experiment import Experiment
from iou_aware.inference import predict as inference
from iou_aware.training import config as configs
from iou_aware.training import weights

SURE = 12.0  # as a logit
CLASSES = ["cat", "dog", "emu"]
SCALES = ["96x72", "160x120"]
AWARE = ["iou_aware_retinanet", "iou_aware_atss", "iou_aware_fcos"]
# Images (width, height), scaled down and up by slightly different factors across and down, as sides are whole numbers
# of pixels; and their objects: class, x, y, width, height. Some reach the border of the image.
SCENES = [
    ((113, 87), [(0, 0, 0, 24, 26), (1, 40, 30, 47, 33), (1, 90, 2, 23, 41)]),
    ((120, 89), [(2, 5, 50, 60, 39), (0, 71, 7, 29, 22)]),
    ((83, 97), [(1, 11, 13, 51, 71)]),
]
# What the convolutions say is not heard: a few filters will do. The towers may normalise groups, of 32.
BACKBONE = """
model = dict(
    backbone=dict(depth=18, base_channels=8, stem_channels=8, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    bbox_head=dict(in_channels=16, feat_channels=64),
)
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Experiment:
    """A project with the repository's detectors under every recipe, and a data set in each layout."""
    folder = tmp_path_factory.mktemp("perfect")
    put(folder / "configs/backbones/small.py", BACKBONE)
    for part in ("detectors", "schedules"):
        (folder / "configs" / part).symlink_to(REPOSITORY / "configs" / part)
    categories = [{"id": number + 5, "name": name} for number, name in enumerate(CLASSES)]
    content = {"images": [], "annotations": [], "categories": categories}
    for number, ((width, height), objects) in enumerate(SCENES, start=1):
        for layout in ("coco", "voc"):
            put(folder / f"data/{layout}/JPEGImages/{number}.jpg", picture(width, height))
        content["images"].append({"id": number, "file_name": f"{number}.jpg", "width": width, "height": height})
        for kind, x, y, *sides in objects:
            box = {"bbox": [x, y, *sides], "area": math.prod(sides), "iscrowd": 0}
            place = {"id": len(content["annotations"]) + 1, "image_id": number, "category_id": kind + 5}
            content["annotations"].append(box | place)
        # VOC counts pixels from 1, and both corners belong to the box.
        lines = [voc_object(CLASSES[kind], x + 1, y + 1, x + w, y + h) for kind, x, y, w, h in objects]
        put(folder / f"data/voc/Annotations/{number}.xml", voc_xml(lines, width, height))
    put(folder / "data/coco/train.json", json.dumps(content))
    put(folder / "data/voc/ImageSets/Main/train.txt", "".join(f"{number + 1}\n" for number in range(len(SCENES))))
    describe(folder, "voc", classes=CLASSES)
    describe(folder, "coco", layout="coco", splits={"train": {"annotations": "train.json", "images": "JPEGImages"}})
    every = {"dataset": ["coco", "voc"], "scale": SCALES, "recipe": ["paper", "mmdet3", "micro"]}
    text = {
        "experiment": "perfect",
        "title": "A network that is always right",
        "defaults": {"backbone": "small", "seed": 0, "target_grad": False},
        "rules": ["none", "alpha=0.50", "alpha=0.10", "oracle=0.50"],
        "runs": [
            every | {"detector": "retinanet"},
            every | {"detector": AWARE, "iou_loss": "bce"},
        ],
        "settings": {"augmentations": [], "device": "cpu"},
        "tables": {},
    }
    put(folder / "configs/experiments/perfect.yaml", yaml.safe_dump(with_a_table(text, "train")))
    loaded = Experiment.load(folder / "configs/experiments/perfect.yaml")
    for layout in ("coco", "voc"):
        prepare(loaded.root, layout, loaded.roots)
    return loaded


class Perfect:
    """Makes a model's head answer with the targets of their own loss.

    Args:
        model: A detector.
        dataset: The images that it is trained on.
    """

    def __init__(self, model, dataset):
        self.model, self.head, self.targets, self.factors = model, model.bbox_head, {}, {}
        for item in dataset:
            self.learn(item)
        model.data_preprocessor.register_forward_hook(self.see)
        self.head.register_forward_hook(self.answer)

    def learn(self, item) -> None:
        """Take the loss of one image, and keep the labels and box targets that it is computed from."""
        given, own = [], self.head.get_targets
        self.head.get_targets = lambda *args, **options: given.append(own(*args, **options)) or given[0]
        data = self.model.data_preprocessor(pseudo_collate([item]), True)
        assert self.model.parse_losses(self.model(**data, mode="loss"))[0].isfinite()
        del self.head.get_targets
        sample = data["data_samples"][0]
        self.targets[sample.img_id] = list(self.labels_and_outputs(*given[0]))
        self.factors[sample.img_id] = sample.scale_factor

    def labels_and_outputs(self, *given):
        """Yield per level an image's labels (1, n) and what the box convolution has to answer, (1, n, 4)."""
        if isinstance(self.head, FCOSHead):  # distances, of the level's stride while it trains
            for labels, distances, stride in zip(*given, self.head.strides, strict=True):
                yield labels[None], distances[None] * stride
        elif isinstance(self.head, ATSSHead):  # boxes
            for anchors, labels, boxes in zip(given[0], given[1], given[3], strict=True):
                positive, deltas = labels < self.head.num_classes, torch.zeros_like(boxes)
                deltas[positive] = self.head.bbox_coder.encode(anchors[positive], boxes[positive])
                yield labels, deltas
        else:
            yield from zip(given[0], given[2], strict=True)

    def see(self, _module, _args, output) -> None:
        self.images = [sample.img_id for sample in output["data_samples"]]

    def answer(self, head, _args, outs):
        """Return perfect outputs in place of the head's."""
        levels = []
        for level in range(len(outs[0])):
            labels, targets = (
                torch.cat(part) for part in zip(*(self.targets[i][level] for i in self.images), strict=True)
            )
            positive = (labels >= 0) & (labels < head.num_classes)
            sure = torch.where(positive, SURE, -SURE)
            by_class = torch.full((*labels.shape, head.cls_out_channels), -SURE)
            by_class[positive, labels[positive]] = SURE
            parts = (by_class, targets, sure, sure)[: len(outs)]  # centerness, IoU or both
            likes = [part[level] for part in outs]
            levels.append([self.as_map(part, like) for part, like in zip(parts, likes, strict=True)])
        return tuple(map(list, zip(*levels, strict=True)))

    @staticmethod
    def as_map(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Return values per anchor (B, H * W * A, ...) as a map (B, A * ..., H, W)."""
        images, channels, height, width = like.shape
        return values.reshape(images, height, width, channels).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("recipe", "detector"), product(["paper", "mmdet3", "micro"], ["retinanet", *AWARE]))
def test_ap_is_100_at_every_threshold(experiment, recipe, detector, monkeypatch):
    init_default_scope("mmdet")
    runs = [name for name, run in experiment.runs.items() if (run.recipe, run.detector) == (recipe, detector)]
    assert len(runs) == 2 * len(SCALES)
    original, perfect = inference.load_model, []
    for name in runs:
        run, paths = experiment.runs[name], experiment.paths
        manifest = Manifest.load(paths.manifest(run.dataset))
        resolved = configs.resolve(run, manifest, experiment.root, experiment.settings, "work")
        put(paths.config(name), configs.to_text(resolved))
        weights.save(MODELS.build(resolved.model), manifest.classes, paths.weights(name))
        put(paths.run_folder(name) / "history.csv", "")
        seal.write(paths.run_folder(name), {"run": run.as_dict()})

        def load(*args, dataset=resolved.train_dataloader.dataset):
            perfect.append(Perfect(original(*args), DATASETS.build(dataset | {"serialize_data": False})))
            return perfect[-1].model

        monkeypatch.setattr(inference, "load_model", load)
        inference.predict(experiment, name, "train")
        found = json.loads(evaluate(experiment, name, "train").read_text())["rules"]
        assert list(found) == experiment.rules_for(run)
        for rule, values in found.items():
            wanted = [key for key in values["metrics"] if key.removeprefix("VOC07_").removeprefix("AP").isdigit()]
            assert len(wanted) == (20 if run.dataset == "voc" else 10)
            assert {key: values["metrics"][key] for key in wanted} == pytest.approx(dict.fromkeys(wanted, 100)), rule
    assert all(across != down for model in perfect for across, down in model.factors.values())
