"""Mixed precision and compilation: the network alone is computed otherwise, and a run still goes on bit for bit."""

import pytest
import torch
from builders.training import (
    FASTER_RCNN,
    IOU_AWARE,
    RETINANET,
    history,
    initial,
    interrupt,
    outcome,
    project,
    resolved,
    saved,
)
from torch import nn

from iou_aware.method.trunk import compute
from iou_aware.training import loading, weights
from iou_aware.training.train import train

# By the type and the compiler of the network, the relative and the absolute difference that its losses may have. For
# half precision it is 16 times the type's epsilon.
TOLERANCES = [
    (torch.float16, None, 16 * 2**-10, 1e-3),
    (torch.bfloat16, None, 16 * 2**-7, 1e-3),
    (None, "aot_eager", 1e-4, 1e-6),
]


@pytest.mark.parametrize(("dtype", "compiler", "relative", "absolute"), TOLERANCES)
@pytest.mark.parametrize("run", [RETINANET, IOU_AWARE, FASTER_RCNN])
def test_losses_are_those_of_single_precision_within_its_digits(tmp_path, run, dtype, compiler, relative, absolute):
    """Compiled by PyTorch's tracing, without its generated code, which takes a minute to compile."""
    experiment = project(tmp_path)
    model = initial(experiment, run).train()
    batch = next(iter(loading.build(resolved(experiment, run).train_dataloader, seed=0)))

    def losses() -> dict[str, torch.Tensor]:
        torch.manual_seed(1)  # Faster R-CNN samples anchors at random
        data = model.data_preprocessor(batch, True)
        return model.parse_losses(model.loss(data["inputs"], data["data_samples"]))[1]

    names, expected = list(model.state_dict()), losses()
    compute(model, dtype, compiler)
    computed_in = set()
    for module in model.modules():
        if dtype and isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: computed_in.add(output.dtype))
    found = losses()
    assert computed_in == ({dtype} if dtype else set())
    assert list(model.state_dict()) == names
    for name, value in expected.items():
        assert found[name].dtype == torch.float32
        assert found[name].item() == pytest.approx(value.item(), rel=relative, abs=absolute), name
    assert dtype is None or any(not torch.equal(found[name], expected[name]) for name in expected)
    found["loss"].backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients)


def test_a_run_in_half_precision_learns_and_goes_on_with_its_loss_scale(tmp_path, monkeypatch):
    """A scale too large for half precision is halved in the first steps; one that starts anew would be halved again."""
    original = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device: original(device, init_scale=2.0**22))
    settings = {"epochs": 2, "device": "cpu", "amp": True}
    whole, cut = (project(tmp_path / name, settings=settings) for name in ("whole", "cut"))
    train(whole, IOU_AWARE)
    interrupt(cut, IOU_AWARE, monkeypatch, 7)
    state = weights.load(saved(cut, IOU_AWARE)[-1])["optimizer"]["loss_scaler"]
    assert 1 < state["scale"] < 2.0**22
    assert state["_growth_tracker"] > 0  # steps were made, and not all of them left out
    train(cut, IOU_AWARE)
    assert outcome(cut, IOU_AWARE) == outcome(whole, IOU_AWARE)
    first, *_, last = history(whole, IOU_AWARE)
    assert last["loss"] < first["loss"]
    tensors = weights.load(whole.paths.weights(IOU_AWARE))["state_dict"].values()
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in tensors)
