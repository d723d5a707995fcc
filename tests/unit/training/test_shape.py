"""Which networks and losses are trained without autograd, which may not be, and that both give the same gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from tradingbot_exp.config.losses import LOSSES
from tradingbot_exp.models.linear import LinearModel
from tradingbot_exp.models.mlp import MLP
from tradingbot_exp.training import make_optimizer, train_model
from tradingbot_exp.training.losses import loss_name
from tradingbot_exp.training.networks.layers import read_layers

TANH = nn.Tanh()
STACKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: MLP(6, 1, [5, 4]),
    "two outputs": lambda: MLP(6, 2, [5]),
    "dropout": lambda: MLP(6, 1, [5, 4], dropout=0.4),
    "linear": lambda: LinearModel(6),
    "no bias": lambda: nn.Sequential(nn.Linear(6, 5, bias=False), nn.Tanh(), nn.Linear(5, 1)),
    "flatten": lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 1)),
    "bare dropout": lambda: nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 1), nn.Tanh()),
    "shared activation": lambda: nn.Sequential(nn.Linear(6, 5), TANH, nn.Linear(5, 5), TANH, nn.Linear(5, 1)),
} | {
    name: lambda part=part: nn.Sequential(nn.Linear(6, 5), copy.deepcopy(part), nn.Linear(5, 1))  # type: ignore[misc]
    for name, part in {
        "relu": nn.ReLU(),
        "tanh": nn.Tanh(),
        "gelu": nn.GELU(),
        "gelu tanh": nn.GELU("tanh"),
        "silu": nn.SiLU(),
        "leaky": nn.LeakyReLU(0.3),
        "elu": nn.ELU(0.7),
    }.items()
}


@pytest.mark.parametrize("loss", [name for name, row in LOSSES.items() if row.gradient is not None])
@pytest.mark.parametrize("make", STACKS.values(), ids=STACKS)
def test_losses_and_gradients_are_autograds(make: Callable[[], nn.Module], loss: str) -> None:
    torch.manual_seed(0)
    ours = make().double()
    assert read_layers(ours) is not None
    plain = copy.deepcopy(ours)
    plain.register_forward_hook(lambda *_: None)  # so that autograd does the work
    X = torch.randn(9, 3, 2, dtype=torch.float64)
    X = X if isinstance(ours, MLP | LinearModel) or type(ours[0]) is nn.Flatten else X.flatten(1)  # type: ignore[index]
    y = torch.rand_like(plain(X)).detach() + (0 if LOSSES[loss].logits else 1)  # on both sides of huber's 1
    histories = [
        train_model(
            model,
            *(X, y, X, y),
            make_optimizer("SGD", model.parameters(), 1e-3),
            *(None, 2),
            **{"seed": 1, "loss": loss, "precision": "float64", "device": "cpu", "batch_size": 5},  # type: ignore[arg-type]
        )
        for model in (ours, plain)
    ]
    for key, values in histories[1].items():
        assert histories[0][key] == pytest.approx(values, rel=1e-12)
    for mine, right in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, right.grad, rtol=1e-11, atol=1e-15)


def with_hook(register: str) -> nn.Module:
    model = MLP(6, 1, [5])
    getattr(model.layers[0], register)(lambda *_: None)
    return model


def shared() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), layer)


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    model[2].weight = model[0].weight
    return model


def frozen() -> nn.Module:
    model = MLP(6, 1, [5])
    model.layers[0].weight.requires_grad_(False)
    return model


def parameter_hook() -> nn.Module:
    model = MLP(6, 1, [5])
    model.layers[0].weight.register_hook(lambda grad: grad * 2)  # type: ignore[no-untyped-call]
    return model


def replaced_forward() -> nn.Module:
    model = MLP(6, 1, [5])
    model.forward = lambda x: x[:, :1] * model.layers[2].bias  # type: ignore[method-assign, operator]
    return model


class Doubled(MLP):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "subclass": lambda: Doubled(6, 1, [5]),
    "shared layer": shared,
    "tied weights": tied,
    "frozen": frozen,
    "parameter hook": parameter_hook,
    "replaced forward": replaced_forward,
    "weight norm": lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 1))),
    "batch norm": lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 1)),
    "two activations": lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Tanh(), nn.Linear(5, 1)),
    "dropout first": lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 1)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(6, 5)), nn.Linear(5, 1)),
    "no layer": lambda: nn.Sequential(nn.Flatten()),
} | {
    name: lambda name=name: with_hook(name)  # type: ignore[misc]
    for name in ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook")
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_anything_else_is_left_to_autograd(make: Callable[[], nn.Module]) -> None:
    assert read_layers(make()) is None


def test_a_global_hook_or_anomaly_detection_leaves_it_to_autograd() -> None:
    model = MLP(6, 1, [5])
    assert read_layers(model) is not None
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert read_layers(model) is None
    finally:
        handle.remove()
    with torch.autograd.set_detect_anomaly(True):
        assert read_layers(model) is None


def hooked_loss() -> nn.Module:
    loss = nn.MSELoss()
    loss.register_forward_hook(lambda *_: None)
    return loss


@pytest.mark.parametrize(
    "criterion",
    [
        nn.MSELoss(reduction="sum"),
        nn.HuberLoss(delta=0.5),
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0])),
        nn.SmoothL1Loss(),
        nn.functional.mse_loss,
        hooked_loss(),
        type("Mine", (nn.MSELoss,), {})(),
    ],
    ids=["summed", "own delta", "own weight", "smooth", "function", "hooked", "subclass"],
)
def test_a_criterion_of_ones_own_is_left_to_autograd(criterion: Any) -> None:
    assert loss_name(criterion) is None


def test_a_hook_registered_while_training_is_called() -> None:
    calls = []
    model = MLP(6, 1, [5])
    X, y = torch.randn(64, 6), torch.randn(64)

    def hook(epoch: int, _record: dict[str, float]) -> None:
        if epoch == 1:
            model.layers[0].register_forward_hook(lambda *_: calls.append(1))

    train_model(model, X, y, X, y, make_optimizer("Adam", model.parameters(), 0.01), None, 2, on_epoch=hook)
    assert len(calls) == 3  # two batches and one validation pass of the second epoch


def test_a_gradient_left_over_from_before_moves_nothing() -> None:
    model, other = MLP(6, 1, [5]), nn.Parameter(torch.ones(3))
    other.grad = torch.ones(3)
    X, y = torch.randn(64, 6), torch.randn(64)
    train_model(model, X, y, X, y, make_optimizer("SGD", [*model.parameters(), other], 0.1), None, 2)
    assert torch.equal(other, torch.ones(3))


def test_a_frozen_layer_stays_as_it_is() -> None:
    model = frozen()
    before = model.layers[0].weight.clone()  # type: ignore[index, union-attr]
    X, y = torch.randn(64, 6), torch.randn(64)
    train_model(model, X, y, X, y, make_optimizer("AdamW", model.parameters(), 0.01, 0.1), None, 2)
    assert torch.equal(model.layers[0].weight, before)  # type: ignore[index, union-attr]
