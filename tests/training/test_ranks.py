"""Several training processes are one: the same images per step, and the same gradients from them."""

from pathlib import Path

import pytest
import torch
from builders.training import BACKBONE, FASTER_RCNN, IOU_AWARE, RETINANET, history, project, resolved, together
from mmengine.optim import OptimWrapper

from iou_aware.experiment.experiment import Experiment
from iou_aware.training import loading
from iou_aware.training.runner import Progress

IMAGES = 24  # the first batch of 16 is of images that are wider than high, and needs no padding
BATCH = 16


@pytest.fixture(autouse=True)
def _recorded(monkeypatch):
    """Make every training process write down each step's gradients, losses and images into the current folder."""
    steps: list[dict] = []
    step, after = OptimWrapper.step, Progress.after_train_iter

    def before_clipping(self, **kwargs):
        groups = [parameter for group in self.param_groups for parameter in group["params"]]
        steps.append({"gradients": [parameter.grad.clone() for parameter in groups]})
        return step(self, **kwargs)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        steps[-1]["images"] = [sample.img_id for sample in data_batch["data_samples"]]
        steps[-1]["losses"] = {key: value.detach() for key, value in outputs.items()}
        torch.save(steps[-1 - runner.iter :], f"rank{runner.rank}.pth")
        return after(self, runner, batch_idx, data_batch, outputs)

    monkeypatch.setattr(OptimWrapper, "step", before_clipping)
    monkeypatch.setattr(Progress, "after_train_iter", after_train_iter)


def steps_of(folder: Path, run: str, processes: int, monkeypatch) -> list[list[dict]]:
    """Train a run with so many processes; return what each of them wrote down.

    Batch norm uses its running statistics, as in MMDetection's recipes for pretrained backbones. With the statistics of
    its own images each process would compute something else; no normaliser could mend that.
    """
    settings = {"epochs": 1, "device": "cpu", "batch_size": BATCH, "gpus": processes}
    experiment = project(folder, images=IMAGES, settings=settings)
    (folder / "configs" / "backbones" / "tiny.py").write_text(BACKBONE.replace("norm_eval=False", "norm_eval=True"))
    monkeypatch.chdir(folder)
    assert together(experiment, run, processes) == [0] * processes
    return [torch.load(folder / f"rank{rank}.pth") for rank in range(processes)]


def greatest_difference(gradients: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """Return the greatest difference, as a part of the greatest gradient of the same parameter."""
    assert len(gradients) == len(expected) > 20
    scales = [max(theirs.abs().max().item(), 1e-6) for theirs in expected]
    parts = zip(gradients, expected, scales, strict=True)
    return max((ours - theirs).abs().max().item() / scale for ours, theirs, scale in parts)


def empty_odd_places(monkeypatch) -> None:
    """Take the boxes from every second image of a batch, the second process's, after it has been loaded."""
    original = Progress.before_train_iter

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        for place, sample in enumerate(data_batch["data_samples"]):
            if runner.rank == 1 if runner.distributed else place % 2:
                sample.gt_instances = sample.gt_instances[:0]
        return original(self, runner, batch_idx, data_batch)

    monkeypatch.setattr(Progress, "before_train_iter", before_train_iter)


@pytest.mark.parametrize("positives", ["everywhere", "in the first process only"])
@pytest.mark.parametrize("run", [RETINANET, IOU_AWARE])
def test_two_processes_of_8_images_give_the_gradients_of_one_of_16(tmp_path, monkeypatch, run, positives):
    if positives != "everywhere":
        empty_odd_places(monkeypatch)
    one = steps_of(tmp_path / "one", run, 1, monkeypatch)[0][0]
    first, second = (steps[0] for steps in steps_of(tmp_path / "two", run, 2, monkeypatch))
    assert len(first["images"]) == len(second["images"]) == len(one["images"]) // 2 == 8
    assert greatest_difference(first["gradients"], one["gradients"]) < 1e-4
    assert greatest_difference(first["gradients"], second["gradients"]) == 0
    studies = [Experiment.load(tmp_path / name / "configs/experiments/study.yaml") for name in ("one", "two")]
    assert history(studies[1], run)[0] == pytest.approx(history(studies[0], run)[0], rel=1e-5)
    if positives != "everywhere":
        assert second["losses"]["loss_bbox"] == 0 < first["losses"]["loss_bbox"]


def test_two_stages_train_in_several_processes_as_well(tmp_path, monkeypatch):
    one = steps_of(tmp_path / "one", FASTER_RCNN, 1, monkeypatch)[0]
    two = steps_of(tmp_path / "two", FASTER_RCNN, 2, monkeypatch)
    assert [len(step["images"]) for step in one] == [16, 8]
    assert [len(step["images"]) for step in two[0]] == [8, 4]


@pytest.mark.parametrize(("processes", "total"), [(2, 8), (2, 14), (3, 15), (5, 15)])
def test_each_step_shares_out_the_images_of_one_process(tmp_path, monkeypatch, processes, total):
    """18 images of both orientations by 15: the last batch, of 3, is too small for five processes."""
    data = resolved(project(tmp_path), RETINANET).train_dataloader

    def epoch_of(rank: int, size: int) -> list[list[int]]:
        monkeypatch.setattr(loading, "get_dist_info", lambda: (rank, size))
        data.batch_size = total // size
        return list(loading.build(data, seed=3).batch_sampler)

    whole = epoch_of(0, 1)
    shares = [epoch_of(rank, processes) for rank in range(processes)]
    assert sorted(place for batch in whole for place in batch) == list(range(18))
    for step, batch in enumerate(whole):
        seen = [place for share in shares for place in share[step]]
        assert set(seen) == set(batch)
        assert all(share[step] for share in shares)
        assert len(seen) == max(len(batch), processes)
    assert {len(share) for share in shares} == {len(whole)}
