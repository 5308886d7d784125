"""How well finished runs know the IoU of their boxes: where it was trained, on other images, and among detections.

    python tools/iou_quality.py configs/experiments/micro-seeds.yaml [RUN ...] [--read-out]

All correlations are Spearman's with the IoU of the decoded box. ``positives`` are the anchors that the IoU loss is
about, on images trained on and on others: p is the score of the right class, and the loss is to be seen between what a
constant would have and the least that is possible, the entropy of the target. ``detections`` are those of an IoU of 0.5
and more, ranked by p; an object's first is the one that counts for AP, the others are duplicates that NMS has left.
``--read-out`` trains a far larger predictor on the frozen features of the positives, a minute per run: were it much
better than the head's convolution, the convolution would be at fault.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmengine.structures import InstanceData
from scipy.stats import spearmanr
from torch import Tensor, nn

from iou_aware import detections
from iou_aware.common import markdown
from iou_aware.data.manifest import Manifest
from iou_aware.evaluation.coco import CocoEvaluator
from iou_aware.evaluation.matching import MATCHED, match, overlaps
from iou_aware.experiment.experiment import Experiment
from iou_aware.inference import predict
from iou_aware.training import parts

WIDTH, DROPOUT, EPOCHS = 256, 0.3, 15


@dataclass(frozen=True)
class Positives:
    """The anchors of some images that the IoU loss is about.

    Attributes:
        iou: ``(P,)`` IoU of the decoded box with its object.
        p: ``(P,)`` score of the object's class.
        predicted: ``(P,)`` predicted IoU; None without an IoU head.
        features: ``(P, D)`` what a read-out sees: the 3x3 features that the head's convolution sees, the anchor, its
            level and its box deltas.
    """

    iou: Tensor
    p: Tensor
    predicted: Tensor | None
    features: Tensor


def positives(model: nn.Module, loader: Any) -> Positives:
    """Find the positives of all images and what the model predicts for them."""
    parts = [part for batch in loader for part in _positives_of(model, batch)]
    columns = [None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)]
    return Positives(*columns)


@torch.inference_mode()
def _positives_of(model: nn.Module, batch: Mapping[str, Any]) -> Iterator[tuple[Tensor, Tensor, Tensor | None, Tensor]]:
    """Yield the columns of ``Positives`` per image and level."""
    head, data = model.bbox_head, model.data_preprocessor(batch, False)
    levels = model.extract_feat(data["inputs"])
    outs = head(levels)
    priors = head.prior_generator.grid_priors([level.shape[-2:] for level in levels], device="cpu")
    seen = [F.unfold(_last(head.reg_convs, level), 3, padding=1).mT for level in levels]
    for i, sample in enumerate(data["data_samples"]):
        truth = sample.gt_instances
        boxes = get_box_tensor(truth.bboxes) * torch.tensor(np.tile(sample.scale_factor, 2), dtype=torch.float32)
        if not len(boxes):
            continue
        objects = InstanceData(bboxes=boxes, labels=truth.labels)
        assigned = head.assigner.assign(InstanceData(priors=torch.cat(priors)), objects).gt_inds
        for place, found in enumerate(assigned.split([len(level) for level in priors])):
            mine = (found > 0).nonzero()[:, 0]
            of = found[mine] - 1
            cls, deltas, *iou = (_flat(out[place][i], head.num_base_priors)[mine] for out in outs)
            anchor = F.one_hot(mine % head.num_base_priors, head.num_base_priors)
            level = F.one_hot(torch.full_like(mine, place), len(levels))
            decoded = head.bbox_coder.decode(priors[place][mine], deltas)
            yield (
                bbox_overlaps(decoded, boxes[of], is_aligned=True),
                cls.sigmoid()[torch.arange(len(mine)), truth.labels[of]],
                iou[0][:, 0].sigmoid() if iou else None,
                torch.cat([seen[place][i, mine // head.num_base_priors], anchor, level, deltas], 1),
            )


def _last(convolutions: nn.ModuleList, feature: Tensor) -> Tensor:
    for convolution in convolutions:
        feature = convolution(feature)
    return feature


def _flat(out: Tensor, anchors: int) -> Tensor:
    """Turn the output of one image and level, (A*K, H, W), into one row per anchor, (H*W*A, K)."""
    return out.permute(1, 2, 0).reshape(out.shape[1] * out.shape[2] * anchors, -1)


def correlation(values: Any, iou: Any) -> float:
    """Return Spearman's correlation."""
    return float(spearmanr(np.asarray(values), np.asarray(iou))[0])


def describe(found: Positives) -> dict[str, str]:
    """Return one row of the table of positives."""
    row = {
        "positives": f"{len(found.iou):,}",
        "mean IoU": f"{found.iou.mean():.2f}",
        "p": f"{correlation(found.p, found.iou):.2f}",
    }
    if found.predicted is None:
        return row
    least, constant = (_loss(probable, found.iou) for probable in (found.iou, found.iou.mean().expand_as(found.iou)))
    return row | {
        "predicted IoU": f"{correlation(found.predicted, found.iou):.2f}",
        "its bias": f"{(found.predicted - found.iou).mean():+.3f}",
        "its loss (a constant's, the least)": f"{_loss(found.predicted, found.iou):.3f} ({constant:.3f}, {least:.3f})",
    }


def _loss(predicted: Tensor, iou: Tensor) -> float:
    return F.binary_cross_entropy(predicted.clamp(1e-6, 1 - 1e-6), iou).item()


def read_out(trained: Positives, other: Positives) -> float:
    """Train a perceptron of two hidden layers on the features of ``trained``; return its best correlation on ``other``.

    The best over the epochs, chosen on the very images that it is reported for: what it could do at most.
    """
    torch.manual_seed(0)
    mean, deviation = trained.features.mean(0), trained.features.std(0) + 1e-3
    inputs, unseen = ((one.features - mean) / deviation for one in (trained, other))
    layers = [nn.Linear(inputs.shape[1], WIDTH), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, WIDTH // 2)]
    network = nn.Sequential(*layers, nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH // 2, 1), nn.Flatten(0))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.1)
    best = -1.0
    for _ in range(EPOCHS):
        network.train()
        for chosen in torch.randperm(len(inputs)).split(WIDTH):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(network(inputs[chosen]), trained.iou[chosen]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            best = max(best, correlation(network(unseen), other.iou))
    return best


def among_detections(experiment: Experiment, name: str) -> dict[str, str]:
    """Return one row of the table of detections: of a run, on the split that it is evaluated on."""
    run = experiment.runs[name]
    split = experiment.splits_for(run)[0]
    manifest = Manifest.load(experiment.paths.manifest(run.dataset)).for_seed(run.seed)
    evaluator = CocoEvaluator(experiment.root / manifest.split(split).annotations)
    rule = next(rule for rule in experiment.rules_for(run) if rule in ("cls", "alpha=1.00"))
    found = detections.read(experiment.paths.detections(name, split), rule)
    near = overlaps(evaluator.objects, found.results)
    hits = np.flatnonzero((near.same >= MATCHED) & ~near.crowd)
    matches = match(evaluator, found.results, thresholds=np.array([MATCHED]))
    first = matches.rows[matches.true[0]]
    row = {"run": name, "first of an object": f"{len(first):,}", "others": f"{len(hits) - len(first):,}"}
    for title, values in (("p", found.cls_scores), ("predicted IoU", found.iou_preds)):
        if values is not None:
            row |= {f"{title}, all": f"{correlation(values[hits], near.same[hits]):.2f}"}
            row |= {f"{title}, first": f"{correlation(values[first], near.same[first]):.2f}"}
    return row


def table(rows: list[dict[str, str]]) -> str:
    """Return rows as a Markdown table, whose columns are all that any row has."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return markdown.table(columns, [[row.get(column, "") for column in columns] for row in rows])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", help="a file of configs/experiments, its runs trained and predicted")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="which of its runs (all of RetinaNet)")
    parser.add_argument("--read-out", action="store_true", help="also train a larger predictor of the IoU")
    options = parser.parse_args()
    experiment = Experiment.load(options.experiment)
    names = options.runs or [name for name, run in experiment.runs.items() if "retinanet" in run.detector]
    rows = []
    for name in names:
        config = parts.read(experiment.paths.config(name))
        model = predict.load_model(config, experiment.paths.weights(name))
        run = experiment.runs[name]
        manifest = Manifest.load(experiment.paths.manifest(run.dataset)).for_seed(run.seed)
        splits = (manifest.train, manifest.evaluate[0])
        found = [
            positives(model, predict.build_loader(config, manifest, experiment.root, split, experiment.settings))
            for split in splits
        ]
        rows += [{"run": name, "images": split} | describe(one) for split, one in zip(splits, found, strict=True)]
        if options.read_out:
            rows[-1]["a larger predictor"] = f"{read_out(*found):.2f}"
    print(table(rows), table([among_detections(experiment, name) for name in names]), sep="\n\n")


if __name__ == "__main__":
    main()
