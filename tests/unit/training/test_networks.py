"""Networks of any kind in a stack are their twins trained alone; what cannot be stacked is refused with its reason."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tradingbot_exp.errors import TrainingError
from tradingbot_exp.models.registry import model_class
from tradingbot_exp.training import History, make_optimizer, train_model
from tradingbot_exp.training.networks.plan import Plan, plan_of
from tradingbot_exp.training.networks.recurrent import Recurrent
from tradingbot_exp.training.stacked import train_stack
from tradingbot_exp.training.state import Member

FEATURES, BARS = 5, 7
ROWS = torch.randn(9, BARS, FEATURES, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """A user's own, with a dropout layer and another that are passed twice, a buffer, and outputs of shape (n,)."""

    sequential = True

    def __init__(self, width: int = 8, dropout: float = 0.1, scale: float = 0.5, act: Any = torch.tanh) -> None:
        super().__init__()
        self.first, self.again, self.out = nn.Linear(FEATURES, width), nn.Linear(width, width), nn.Linear(width, 1)
        self.dropout, self.scale, self.act = nn.Dropout(dropout), scale, act
        self.register_buffer("ages", torch.linspace(0.0, 1.0, BARS)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x * self.ages)
        for _ in range(2):
            h = h + self.scale * self.dropout(self.act(self.again(h).transpose(0, 1)).transpose(0, 1))
        return self.out(h.mean(1))[:, 0]


def of(name: str, layers: list[int], dropout: float = 0.2) -> Callable[[], nn.Module]:
    return lambda: model_class(name)(FEATURES, 1, hidden_layers=layers, activation="tanh", dropout=dropout)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "lstm": of("lstm", [8, 6]),
    "gru": of("gru", [8, 6]),
    "tcn": of("tcn", [8, 8]),
    "transformer": of("transformer", [8, 8]),
    "own": Residual,
}


@pytest.fixture(scope="module")
def sets() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(3)
    X, X_val = (torch.randn(rows, BARS, FEATURES, generator=rng, dtype=torch.float64) for rows in (75, 30))
    y, y_val = (torch.tanh(x[:, -1].sum(1)) + torch.randn(len(x), generator=rng).double() for x in (X, X_val))
    return X, y, X_val, y_val


def members(make: Callable[[], nn.Module], epochs: int = 20) -> list[Member]:
    found = []
    for seed in range(4):
        torch.manual_seed(seed)
        model = make().double()
        for part in model.modules():
            if isinstance(part, nn.Dropout):
                part.p = [0.1, 0.0, 0.3, 0.2][seed]
        optimizer = make_optimizer("Adam", model.parameters(), 0.003 * (seed + 1), 0.01 * (seed % 2))
        # One stops early, one has its gradients clipped, one has fewer epochs.
        own = {"early_stopping": 3 if seed == 0 else None, "gradient_clip": 0.5 if seed == 1 else None}
        found.append(Member(model, optimizer, epochs - 5 * (seed == 3), seed, "cosine", **own))  # type: ignore[arg-type]
    return found


def alone(given: Member, sets: Any, **options: Any) -> History:
    group = given.optimizer.param_groups[0]
    optimizer = make_optimizer("Adam", given.model.parameters(), group["lr"], group["weight_decay"])
    own = {name: getattr(given, name) for name in ("seed", "scheduler", "early_stopping", "gradient_clip")}
    return train_model(given.model, *sets, optimizer, None, given.epochs, **own, precision="float64", **options)


@pytest.mark.parametrize("options", [{}, {"loss": "sharpe", "batch_size": 20}], ids=["mse", "dates"])
@pytest.mark.parametrize("name", MODELS)
def test_each_network_of_a_stack_is_its_twin_trained_alone(name: str, options: dict[str, Any], sets: Any) -> None:
    rng = np.random.default_rng(0)
    shared = dict(options)
    if options:
        shared |= {"returns_train": 0.01 * rng.normal(size=75), "returns_val": 0.01 * rng.normal(size=30)}
        shared |= {"dates_train": np.sort(rng.integers(0, 40, 75)), "dates_val": np.sort(rng.integers(0, 15, 30))}
    own = members(MODELS[name])
    twins = copy.deepcopy(own)
    if options and name in ("tcn", "transformer", "own"):
        with pytest.raises(TrainingError, match="batches of loss=sharpe differ in size"):
            train_stack(own, *sets, precision="float64", **shared)
        return
    found = train_stack(own, *sets, precision="float64", **shared)
    for member, twin, history in zip(own, twins, found, strict=True):
        right = alone(twin, sets, device="cpu", **shared)
        assert isinstance(history, History), history
        assert (history.epochs_run, history.stopped_by) == (right.epochs_run, right.stopped_by)
        for column in ("train_loss", "val_loss"):
            np.testing.assert_allclose(history[column], right[column], rtol=1e-9)
        for one, other in zip(member.model.state_dict().values(), twin.model.state_dict().values(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)


def test_recurrent_layers_have_a_kind_of_their_own_and_others_are_tried(sets: Any) -> None:
    plans = {name: plan_of(make().train(), ROWS) for name, make in MODELS.items()}
    assert all(isinstance(plan, Plan) for plan in plans.values()), plans
    kinds = {name: plan.kind for name, plan in plans.items() if isinstance(plan, Plan)}
    assert [name for name, kind in kinds.items() if kind is Recurrent] == ["lstm", "gru"]


def test_what_is_work_enough_is_not_worth_a_stack() -> None:
    for name, small, large in (("lstm", 16, 64), ("gru", 64, 256), ("tcn", 32, 128), ("transformer", 32, 128)):
        for width, worth in ((small, True), (large, False)):
            plan = plan_of(of(name, [width, width])().train(), torch.randn(8, 20, FEATURES))
            why = plan if isinstance(plan, str) else plan.why_not_worth_it(32)
            assert (why == "") == worth, (name, width, why)
            assert worth or "no faster" in why


class Batch(Residual):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x)[:, None])


class Chance(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.dropout(x, 0.5, self.training))


class Repeated(Residual):
    """One layer several times over, as trials of other depths have it."""

    def __init__(self, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(FEATURES, FEATURES)] * depth)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return super().forward(x)


class Tied(Residual):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(8, 8)
        self.other.weight = self.again.weight

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.other(self.first(x)).mean((1, 2))


class DroppedTwice(Residual):
    """One dropout layer under two names."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        self.also = self.dropout


class InPlace(Residual):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.0, inplace=True)


class Counting(Residual):
    def forward(self, x: Tensor) -> Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        return super().forward(x)


class Sparse(Residual):
    def __init__(self) -> None:
        super().__init__()
        self.mask = torch.eye(3).to_sparse()


class Logarithm(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.log(x))


class Unused(Residual):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(2, 2)


class Branching(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if float(self.first.weight.sum()) > 0 else -x)


class Inside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.LSTM(FEATURES, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(x)[0][:, -1])


def shifted(by: float) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.tanh(x + by)


def frozen() -> nn.Module:
    model = Residual()
    model.out.bias.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Batch, "it keeps statistics of its batches"),
        (Chance, "torch.func cannot run it"),
        (Repeated, "its part layers.1 is layers.0 once more"),
        (Tied, "its parameter other.weight is again.weight once more"),
        (DroppedTwice, "its part also is dropout once more"),
        (InPlace, "its dropout layer dropout works in place"),
        (Counting, "its forward pass changes its attribute calls"),
        (Sparse, "its attribute mask cannot be compared"),
        (lambda: Residual(act=torch.tensor(0.5).mul), "its attribute act cannot be compared"),
        (Logarithm, "by itself it gives values that are not finite for rows of the data"),
        (lambda: Residual(width=400), "it has more than 50,000 parameters"),
        (Unused, "its output does not depend on its parameter spare.weight"),
        (Branching, "torch.func cannot run it"),
        (Inside, "torch.func cannot run it"),
        (frozen, "some of its parameters are frozen"),
        (
            lambda: Residual(act=shifted(0.1)),
            "its attribute act cannot be compared",
        ),
    ],
)
def test_what_cannot_be_stacked_says_why(make: Callable[[], nn.Module], why: str, sets: Any) -> None:
    before, drawn = copy.deepcopy(model := make().train()).state_dict(), torch.get_rng_state()
    plan = plan_of(model, ROWS)
    assert isinstance(plan, str) and why in plan
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    with pytest.raises(TrainingError, match=r"^A model cannot be stacked: "):
        train_stack([*members(make, 6)], *sets, precision="float64")


def test_modules_that_compute_otherwise_are_of_two_shapes(sets: Any) -> None:
    def key(**settings: Any) -> Any:
        plan = plan_of(Residual(**settings).train(), ROWS)
        assert isinstance(plan, Plan)
        return plan.key

    assert key() == key(dropout=0.3) == key(act=torch.tanh)
    assert len({key(), key(scale=0.25), key(width=12), key(act=torch.sin), key(act=nn.functional.gelu)}) == 5
    assert key(act=nn.functional.relu) != key(act=nn.functional.silu) and key(scale=1) != key(scale=True)
    mixed = [*members(Residual)[:1], *members(lambda: Residual(scale=0.25))[:1]]
    with pytest.raises(TrainingError, match="one shape"):
        train_stack(mixed, *sets, precision="float64")
