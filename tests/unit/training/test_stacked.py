"""A model in a stack ends up as it does alone, whatever its options and whatever becomes of the others."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tradingbot_exp.config.losses import LOSSES, Loss
from tradingbot_exp.errors import DivergedError, TrainingError
from tradingbot_exp.models.linear import LinearModel
from tradingbot_exp.models.lstm import LSTM
from tradingbot_exp.models.mlp import MLP
from tradingbot_exp.training import History, make_optimizer, train_model
from tradingbot_exp.training.listeners import Hook
from tradingbot_exp.training.networks.plan import alone_of
from tradingbot_exp.training.stacked import train_stack
from tradingbot_exp.training.state import Member

Sets = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture(scope="module")
def sets() -> Sets:
    rng = torch.Generator().manual_seed(3)
    X, X_val = (torch.randn(rows, 5, generator=rng, dtype=torch.float64) for rows in (75, 30))
    slope = torch.randn(5, 1, generator=rng, dtype=torch.float64)
    noise = torch.randn(75, 1, generator=rng, dtype=torch.float64)
    return X, torch.tanh(X @ slope) + noise, X_val, torch.tanh(X_val @ slope)


def member(
    seed: int, lr: float = 0.01, decay: float = 0.0, name: str = "Adam", model: Any = None, **options: Any
) -> Member:
    torch.manual_seed(seed)
    model = MLP(5, 1, [8, 4]) if model is None else model()
    model.to(torch.float64)
    if "on_epoch" in options:
        options["listeners"] = [Hook(options.pop("on_epoch"))]
    return Member(model, make_optimizer(name, model.parameters(), lr, decay), options.pop("epochs", 8), seed, **options)


def alone(given: Member, sets: Sets, *, watched: bool = False, **shared: Any) -> tuple[History | Exception, nn.Module]:
    """Train a copy of a member by itself; where it is watched, autograd and the optimizer itself do the work."""
    model = copy.deepcopy(given.model)
    if watched:
        model.register_forward_hook(lambda *_: None)
    group = given.optimizer.param_groups[0]
    optimizer = make_optimizer(type(given.optimizer).__name__, model.parameters(), group["lr"], group["weight_decay"])
    own = {
        field.name: getattr(given, field.name)
        for field in dataclasses.fields(given)
        if field.name not in ("model", "optimizer", "epochs")
    }
    options = {"precision": "float64", **shared, **own}
    try:
        return train_model(model, *sets, optimizer, None, given.epochs, device="cpu", **options), model
    except Exception as error:
        return error, model


def assert_as_alone(members: list[Member], sets: Sets, rtol: float = 1e-12, **shared: Any) -> list[Any]:
    twins = [alone(each, sets, **shared) for each in members]
    outcomes = train_stack(members, *sets, **{"precision": "float64", **shared})
    for each, outcome, (twin, model) in zip(members, outcomes, twins, strict=True):
        assert type(outcome) is type(twin), (outcome, twin)
        history, expected = (getattr(found, "history", found) for found in (outcome, twin))
        if not isinstance(history, History):
            continue
        assert (history.epochs_run, history.stopped_by) == (expected.epochs_run, expected.stopped_by)
        for key, values in expected.items():
            np.testing.assert_allclose(history[key], values, rtol=rtol, atol=0, err_msg=key)
        if isinstance(outcome, History):
            for mine, right in zip(each.model.parameters(), model.parameters(), strict=True):
                torch.testing.assert_close(mine, right, rtol=10 * rtol, atol=10 * rtol)
        assert not each.model.training
    return outcomes


# Of 75 train rows and 30 validation rows.
RETURNS = {"returns_train": np.sin(np.arange(75)) / 50, "returns_val": np.sin(np.arange(30)) / 50}
DATES = {"dates_train": np.cumsum(np.arange(75) % 3 < 2), "dates_val": np.arange(30) // 4}
# The first to leave is not the last of its stack.
LONG = [{"epochs": 6}, {"epochs": 20}, {"epochs": 12}]


def own(forecast: Tensor, target: Tensor) -> Tensor:
    """No mean over rows."""
    return (forecast - target).square().mean().sqrt()


def own_returns(forecast: Tensor, target: Tensor, returns: Tensor) -> Tensor:
    assert returns.shape == forecast.shape
    return (forecast - target).square().mean() - (forecast * returns).sum()


def own_order(forecast: Tensor, target: Tensor, returns: Tensor) -> Tensor:
    return (forecast - target).abs().mean() + (forecast * returns).diff(dim=0).square().sum()


OWN = [
    Loss("own", "", own),
    Loss("own_returns", "", own_returns, takes_returns=True),
    Loss("own_order", "", own_order, takes_returns=True, in_order=True),
    Loss("smooth", "", "SmoothL1Loss"),
]

STACKS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "learning rates and seeds": ([{"lr": lr} for lr in (0.1, 0.01, 0.001)], {}),
    "one rate": ([{}, {}, {}], {}),
    "decays": ([{"decay": decay} for decay in (0.0, 0.1, 0.01)], {}),
    "AdamW": ([{"name": "AdamW", "lr": 0.1 / n, "decay": 0.1 * n} for n in (1, 2, 3)], {}),
    "SGD": ([{"name": "SGD", "lr": 0.1 / n, "decay": 0.1 * n} for n in (1, 2, 3)], {}),
    "dropout": ([{"model": lambda p=p: MLP(5, 1, [8, 4], dropout=p)} for p in (0.3, 0.3, 0.1)], {}),
    "clip": ([{"gradient_clip": clip} for clip in (0.05, None, 0.5)], {}),
    "schedules": ([{"scheduler": name, "epochs": 9} for name in ("cosine", "none", "step", "plateau")], {}),
    "epochs": ([{"epochs": epochs} for epochs in (2, 7, 1, 4)], {}),
    "early stopping": ([{"early_stopping": n, "epochs": 40, "lr": 0.1} for n in (1, 3, None)], {}),
    "linear": ([{"model": lambda: LinearModel(5), "lr": 0.1 * n} for n in (1, 2, 3)], {}),
    "two outputs, gelu": ([{"model": lambda: MLP(5, 2, [8, 4], "gelu")}] * 2, {"loss": "huber"}),
    "no bias": ([{"model": lambda: nn.Sequential(nn.Linear(5, 4, bias=False), nn.Tanh(), nn.Linear(4, 1))}] * 2, {}),
    "one unit": (
        [
            {"model": lambda: nn.Sequential(nn.Linear(5, 1), nn.Tanh(), nn.Linear(1, 8), nn.ELU(), nn.Linear(8, 1))}
            | {"name": "SGD", "lr": 0.1 * n}  # Adam would not see a gradient of another length
            for n in (1, 2, 3)
        ],
        {},
    ),
    "wider at the end": ([{"model": lambda: MLP(5, 2, [1]), "name": "AdamW", "decay": 0.1}] * 2, {"batch_size": 37}),
    "mae": ([{}, {"lr": 0.1}], {"loss": "mae"}),
    "bce": ([{}, {"lr": 0.1}], {"loss": "bce"}),
    "pinball": ([{"quantile": q, **own} for q, own in zip((0.1, 0.5, 0.9), LONG, strict=True)], {"loss": "pinball"}),
    "bce, weights": (
        [{"pos_weight": w, **own} for w, own in zip((None, 3.0, "balanced"), LONG, strict=True)],
        {"loss": "bce"},
    ),
    "sharpe": ([{"lr": 0.002 * n, **LONG[n - 1]} for n in (1, 2, 3)], {"loss": "sharpe", "batch_size": 16}),
    "sharpe, dates": (
        [{"lr": 0.002 * n, **LONG[n - 1]} for n in (1, 2, 3)],
        {"loss": "sharpe", "batch_size": 16, **DATES},
    ),
    "sharpe, dropout": (
        [{"model": lambda p=p: MLP(5, 1, [8, 4], dropout=p), "gradient_clip": p} for p in (0.1, 0.4)],
        {"loss": "sharpe", "batch_size": 16, **DATES},
    ),
    "own": ([{"lr": 0.01 * n, **LONG[n - 1]} for n in (1, 2, 3)], {"loss": "own"}),
    "own, returns": ([{"lr": 0.01 * n, **LONG[n - 1]} for n in (1, 2, 3)], {"loss": "own_returns"}),
    "own, in order": ([{"lr": 0.01 * n, **LONG[n - 1]} for n in (1, 2, 3)], {"loss": "own_order", **DATES}),
    "one of torch's": ([{"lr": 0.01 * n} for n in (1, 2, 3)], {"loss": "smooth"}),
    "one batch": ([{}, {"lr": 0.1}], {"batch_size": 200}),
    "whole batches": ([{}, {"lr": 0.1}], {"batch_size": 25}),
    "all": (
        [
            {
                "name": "AdamW",
                "lr": 0.05 * n,
                "decay": 0.1 * n,
                "gradient_clip": 0.2 * n,
                "scheduler": "cosine",
                "early_stopping": n,
                "epochs": 20 + n,
                "model": lambda n=n: MLP(5, 1, [8, 4], "silu", 0.1 * n),
            }
            for n in (1, 2, 3)
        ],
        {"batch_size": 16},
    ),
}


@pytest.mark.parametrize(("options", "shared"), STACKS.values(), ids=STACKS)
def test_each_model_of_a_stack_is_its_twin_trained_alone(
    options: list[dict[str, Any]], shared: dict[str, Any], sets: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = {**RETURNS, **shared}
    for row in OWN:
        monkeypatch.setitem(LOSSES, row.name, row)
    if shared.get("loss") == "bce":
        sets = (sets[0], (sets[1] > 0).double(), sets[2], (sets[3] > 0).double())
    members = [member(seed, **own) for seed, own in enumerate(options)]
    if members[0].model(sets[0]).shape[1] == 2:
        sets = (sets[0], sets[1].repeat(1, 2), sets[2], sets[3].repeat(1, 2))
    again = copy.deepcopy(members)
    torchs = [alone(each, sets, watched=True, **shared)[0] for each in members]
    outcomes = assert_as_alone(members, sets, **shared)
    for one, other in zip(outcomes, torchs, strict=True):
        np.testing.assert_allclose(one["val_loss"], other["val_loss"], rtol=1e-10)  # type: ignore[index]
    for module in ("stack", "batches"):
        monkeypatch.setattr(f"tradingbot_exp.training.{module}.BLOCK", 64)  # as if the set were much larger
    for one, other in zip(outcomes, train_stack(again, *sets, **{"precision": "float64", **shared}), strict=True):
        np.testing.assert_allclose(one["val_loss"], other["val_loss"], rtol=1e-12)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
def test_it_is_the_twin_to_the_last_bit_where_layers_fill_16_bytes(name: str, precision: str, sets: Sets) -> None:
    dtype = getattr(torch, precision)
    X, y, X_val, y_val = (each.to(dtype) for each in sets)
    wide = (torch.cat([X, X.square()], 1), y, torch.cat([X_val, X_val.square()], 1), y_val)

    def prune(epoch: int, record: Any) -> bool:
        return epoch == 3

    members = [
        member(
            seed,
            0.02 * (seed + 1),
            decay,
            name,
            lambda drop=drop: MLP(10, 1, [64, 32], dropout=drop),
            scheduler=scheduler,
            epochs=15 + seed,
            **options,
        )
        for seed, (decay, drop, scheduler, options) in enumerate(
            [
                (0.0, 0.3, "none", {}),
                (0.1, 0.1, "none", {"early_stopping": 2}),
                (0.0, 0.2, "cosine", {"gradient_clip": 0.3}),
                (0.01, 0.1, "plateau", {"on_epoch": prune}),
                (0.0, 0.1, "none", {"on_epoch": prune, "gradient_clip": 0.1}),
            ]
        )
    ]
    for batch_size in (16, 32):
        outcomes = assert_as_alone(copy.deepcopy(members), wide, rtol=0, precision=precision, batch_size=batch_size)
        assert {outcome.stopped_by for outcome in outcomes} >= {"hook", None}


@pytest.mark.parametrize("dates", [1, 3])
def test_of_batches_in_time_order_it_is_the_twin_to_the_last_bit_too(dates: int) -> None:
    rng = torch.Generator().manual_seed(0)
    X, y = torch.randn(1037, 10, generator=rng), 0.02 * torch.randn(1037, 1, generator=rng)
    returns = {"returns_train": y[:701], "returns_val": y[701:]}
    when = {"dates_train": np.arange(701) // dates, "dates_val": np.arange(336) // dates}
    members = [member(seed, 0.002, model=lambda: MLP(10, 1, [64, 32], "silu", 0.1)) for seed in range(3)]
    shared = {**returns, **when, "loss": "sharpe", "precision": "float32"}
    assert_as_alone(members, (X[:701], y[:701], X[701:], y[701:]), rtol=0, **shared)


def test_windows_are_spread_out(sets: Sets) -> None:
    windows = tuple(X.unfold(0, 4, 1).transpose(1, 2) if X.shape[1] > 1 else X[3:] for X in sets)
    assert_as_alone([member(seed, model=lambda: MLP(20, 1, [6])) for seed in (1, 2)], windows)  # type: ignore[arg-type]


def test_whoever_stops_is_pruned_fails_or_diverges_leaves_without_disturbing_the_others(sets: Sets) -> None:
    def stop(epoch: int, _record: dict[str, float]) -> bool:
        return epoch == 3

    def fail(epoch: int, _record: dict[str, float]) -> None:
        if epoch == 2:
            raise OSError("the disk is full")

    members = [
        member(1),
        member(2, on_epoch=stop),
        member(3, lr=1e200, name="Adam"),
        member(4, on_epoch=fail),
        member(5, early_stopping=1, epochs=40, lr=0.2),
        member(6, epochs=40),
    ]
    outcomes = assert_as_alone(members, sets)
    assert isinstance(outcomes[2], DivergedError) and outcomes[2].history.epochs_run == outcomes[2].epoch
    assert isinstance(outcomes[3], OSError)
    assert (outcomes[1].stopped_by, outcomes[4].stopped_by) == ("hook", "early_stopping")
    assert [outcomes[n].epochs_run for n in (0, 1, 5)] == [8, 3, 40]


def test_a_gradient_too_large_to_be_measured_is_left_alone_where_none_is_clipped(sets: Sets) -> None:
    large = tuple(values * 1e80 for values in sets)  # the square of a gradient is infinite
    outcomes = assert_as_alone([member(1), member(2, gradient_clip=1.0)], large)  # type: ignore[arg-type]
    assert all(isinstance(outcome, History) for outcome in outcomes)


def test_an_interrupt_ends_the_training_of_all(sets: Sets) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_stack([member(1), member(2, on_epoch=stop)], *sets, precision="float64")


def test_the_callers_random_numbers_stay(sets: Sets) -> None:
    members = [member(seed, model=lambda: MLP(5, 1, [4], dropout=0.2)) for seed in (1, 2)]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_stack(members, *sets, precision="float64")
    assert torch.equal(torch.rand(3), expected)


def hooked() -> nn.Module:
    model = MLP(5, 1, [8, 4])
    model.layers[0].register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize(
    "make",
    [
        lambda: member(1, model=hooked),
        lambda: member(1, name="RMSprop"),
        lambda: member(1, model=lambda: LSTM(5, 1, [3])),
        lambda: member(1, model=lambda: MLP(5, 1, [8, 5])),
        lambda: member(1, model=lambda: MLP(5, 1, [8, 4], "tanh")),
        lambda: member(1, name="SGD"),
    ],
    ids=["hook", "optimizer", "lstm", "other shape", "other activation", "other rule"],
)
def test_what_cannot_be_stacked_is_refused(make: Callable[[], Member], sets: Sets) -> None:
    with pytest.raises(TrainingError, match=r"one shape|cannot be stacked: a part of it has a hook"):
        train_stack([member(0), make()], *sets, precision="float64")


@pytest.mark.parametrize(
    "change",
    [
        {"amsgrad": True},
        {"maximize": True},
        {"foreach": True, "betas": (0.8, 0.99), "eps": 1e-6},
    ],
)
def test_only_an_optimizer_of_known_formulas_is_stacked(change: dict[str, Any], sets: Sets) -> None:
    model = MLP(5, 1, [8, 4]).double()
    optimizer = torch.optim.Adam(model.parameters(), 0.01, **change)
    assert (alone_of(model, optimizer) is None) == ("betas" not in change)
    twin = copy.deepcopy(model)
    right = torch.optim.Adam(twin.parameters(), 0.01, **change)
    twin.register_forward_hook(lambda *_: None)  # so that autograd and the optimizer itself do the work

    def losses(trained: nn.Module, by: torch.optim.Optimizer) -> list[float]:
        # Twice, as training may go on with the state that an earlier call left.
        calls = [train_model(trained, *sets, by, None, 3, seed=1, precision="float64", device="cpu") for _ in range(2)]
        return calls[1]["val_loss"]

    np.testing.assert_allclose(losses(model, optimizer), losses(twin, right), rtol=1e-12)
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-12)
        for name, value in right.state[theirs].items():
            torch.testing.assert_close(optimizer.state[mine][name], value, rtol=1e-11, atol=1e-13)


def test_a_step_that_is_watched_is_left_to_the_optimizer(sets: Sets) -> None:
    model, calls = MLP(5, 1, [4]), []
    optimizer = make_optimizer("Adam", model.parameters(), 0.01)
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    train_model(model, *sets, optimizer, None, 2)
    assert len(calls) == 2 * 3


def test_sgd_with_momentum_takes_torchs_steps_alone_and_in_a_stack(sets: Sets) -> None:
    def made(seed: int) -> Member:
        own = member(seed)
        settings = {"lr": 0.02 * (seed + 1), "momentum": 0.9, "weight_decay": 0.01 * seed}
        optimizer = torch.optim.SGD(own.model.parameters(), **settings)
        return dataclasses.replace(own, optimizer=optimizer, gradient_clip=0.5 * seed or None)

    def trained(given: Member) -> History:
        options = {"seed": given.seed, "gradient_clip": given.gradient_clip, "precision": "float64", "device": "cpu"}
        return train_model(given.model, *sets, given.optimizer, None, given.epochs, **options)  # type: ignore[arg-type]

    stacked, single, plain = ([made(seed) for seed in range(3)] for _ in range(3))
    for each in plain:
        each.model.register_forward_hook(lambda *_: None)  # so that autograd and the optimizer itself do the work
    assert None not in [alone_of(each.model, each.optimizer) for each in stacked]
    for _ in range(2):  # the second time they go on with the velocity that they have
        outcomes = train_stack(stacked, *sets, precision="float64")
        for outcome, one, other in zip(outcomes, single, plain, strict=True):
            right = trained(other)["val_loss"]
            np.testing.assert_allclose(trained(one)["val_loss"], right, rtol=1e-12)
            assert isinstance(outcome, History)
            np.testing.assert_allclose(outcome["val_loss"], right, rtol=1e-12)
    nesterov = torch.optim.SGD(stacked[0].model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    assert alone_of(stacked[0].model, nesterov) is None
