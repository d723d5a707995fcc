"""Training that is stopped after any epoch and resumed from its state gives the bits of one that never stopped."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tradingbot_exp.config.choices import OPTIMIZERS
from tradingbot_exp.models.linear import LinearModel
from tradingbot_exp.models.lstm import LSTM
from tradingbot_exp.models.mlp import MLP
from tradingbot_exp.training import History, make_optimizer, train_model
from tradingbot_exp.training.state import Epoch

EPOCHS = 9


class StoppedError(Exception):
    """What the hook raises in place of a kill."""


class Kept:
    """Keeps checkpoints in memory, written and read as a file would be."""

    def __init__(self, state: dict[str, Any] | None = None, every: int = 2) -> None:
        self.state, self.every, self.epochs = state, every, list[int]()

    def on_epoch(self, epoch: Epoch) -> None:
        if epoch.number % self.every == 0 or not epoch.training.goes_on:
            file = io.BytesIO()
            torch.save(epoch.training.snapshot(), file)
            file.seek(0)
            self.state = torch.load(file, weights_only=True)
            self.epochs.append(epoch.number)


class Points:
    def __init__(self) -> None:
        self.points: dict[tuple[str, int], float] = {}

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.points.update({(name, step): value for name, value in metrics.items()})


def make_model(kind: str, dropout: float) -> nn.Module:
    torch.manual_seed(5)
    if kind == "lstm":
        return LSTM(4, 1, [6, 5], dropout=dropout)
    if kind == "linear":
        return LinearModel(12, 1)
    if kind == "norm":  # has buffers, and is no stack of linear layers
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 1))
    return MLP(12, 1, [8, 4], dropout=dropout)


def data(kind: str) -> tuple[Tensor, ...]:
    source = torch.Generator().manual_seed(3)
    X, X_val = (torch.randn(rows, 3, 4, generator=source) for rows in (75, 30))
    X, X_val = (X, X_val) if kind == "lstm" else (X.flatten(1), X_val.flatten(1))
    y, y_val = (torch.sin(part.flatten(1).sum(1)) for part in (X, X_val))
    return X, y, X_val, y_val


def trained(
    kind: str = "mlp",
    optimizer: str = "Adam",
    dropout: float = 0.0,
    rate: float = 0.01,
    stop_at: int | None = None,
    kept: Kept | None = None,
    **options: Any,
) -> tuple[History | None, nn.Module, dict[tuple[str, int], float]]:
    """Train as the main job does; an exception of the hook ends it in epoch `stop_at`."""

    def hook(epoch: int, _record: dict[str, float]) -> None:
        torch.rand(epoch)  # the caller's own stream is not the run's
        if epoch == stop_at:
            raise StoppedError

    model, logged, history = make_model(kind, dropout), Points(), None
    made = make_optimizer(optimizer, model.parameters(), rate, 0.001)
    rest: dict[str, Any] = {"batch_size": 16, "seed": 7, "on_epoch": hook, **options}
    if kept is not None:
        rest |= {"listeners": [kept], "resume": kept.state}
    try:
        history = train_model(model, *data(kind), made, None, EPOCHS, logged, **rest)
    except StoppedError:
        assert stop_at is not None
    return history, model, logged.points


RETURNS = {"returns_train": torch.arange(75.0).sin() / 50, "returns_val": torch.arange(30.0).sin() / 50}
CASES = [
    *({"optimizer": name} for name in OPTIMIZERS),
    *({"scheduler": name, "optimizer": other} for name in ("cosine", "step", "plateau") for other in ("Adam", "SGD")),
    {"scheduler": "plateau", "rate": 2.0},
    *({"kind": kind, "dropout": 0.3, "scheduler": "cosine"} for kind in ("mlp", "lstm", "norm")),
    {"kind": "linear", "loss": "huber"},
    {"kind": "lstm", "precision": "float64", "gradient_clip": 0.1},
    {"precision": "float64", "dropout": 0.5, "gradient_clip": 0.1},
    {"precision": "bf16-mixed"},
    {"loss": "sharpe", "dropout": 0.2, **RETURNS},
    {"loss": "sharpe", "kind": "lstm", "dates_train": [n // 2 for n in range(75)], **RETURNS},
    {"early_stopping": 2, "rate": 0.3, "optimizer": "AdamW", "dropout": 0.2},
    {"early_stopping": 1, "rate": 1.0, "kind": "lstm"},
]


@pytest.mark.parametrize(
    ("case", "stop_at"),
    [*((case, 7) for case in CASES), *((case, stop) for case in (CASES[0], CASES[-2]) for stop in (1, 2, 4, 9))],
    ids=lambda value: "-".join(map(str, value.values()))[:40] if isinstance(value, dict) else str(value),
)
def test_a_training_that_was_stopped_and_gone_on_with_has_the_bits_of_one_that_was_not(
    case: dict[str, Any], stop_at: int
) -> None:
    expected, model, points = trained(**case)
    assert expected is not None
    kept = Kept()
    _, _, before = trained(**case, stop_at=min(stop_at, expected.epochs_run), kept=kept)
    assert before and all(points[key] == value for key, value in before.items())  # keeping changes nothing
    found, again, after = trained(**case, kept=Kept(kept.state))
    assert found is not None
    assert dict(found) == dict(expected) and vars(found) == vars(expected)
    assert after == points
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_the_cases_do_stop_early_and_do_change_the_learning_rate() -> None:
    stopped = [trained(**case)[0] for case in CASES if "early_stopping" in case]
    assert all(each is not None and each.stopped_early and each.best_epoch < each.epochs_run for each in stopped)
    for name, rate in (("cosine", 0.01), ("step", 0.01), ("plateau", 2.0)):
        history = trained(scheduler=name, rate=rate)[0]
        assert history is not None and len(set(history["learning_rate"])) > 1, history


def test_the_state_after_the_last_epoch_gives_the_outcome_without_training() -> None:
    kept = Kept(every=100)
    expected, model, _ = trained(early_stopping=2, rate=0.3, kept=kept)
    assert expected is not None and kept.epochs == [expected.epochs_run]
    found, again, _ = trained(early_stopping=2, rate=0.3, kept=kept, stop_at=1)
    assert found == expected and found is not None and found.stopped_by == "early_stopping"
    assert kept.epochs == [expected.epochs_run]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("part", ["rng", "optimizer", "schedule", "best"])
def test_each_part_of_the_state_is_needed(part: str) -> None:
    case: dict[str, Any] = {"dropout": 0.3, "scheduler": "cosine", "early_stopping": 9, "rate": 0.1}
    history, model, points = trained(**case)
    assert history is not None and history.best_epoch == 3
    kept, fresh = Kept(), Kept(every=1)
    trained(**case, stop_at=6, kept=kept)
    trained(**case, stop_at=2, kept=fresh)
    assert kept.state is not None and fresh.state is not None
    for holder in (kept.state, kept.state["training"]):
        if part in holder:
            holder[part] = fresh.state.get(part) or fresh.state["training"][part]
    _, again, after = trained(**case, kept=Kept(kept.state))
    same = all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not (same and after == points)
