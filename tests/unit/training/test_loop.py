"""The loop against a naive one, number by number, and its promises about seeds, stopping and hooks."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tradingbot_exp.errors import DivergedError
from tradingbot_exp.models.lstm import LSTM
from tradingbot_exp.models.mlp import MLP
from tradingbot_exp.training import History, make_optimizer, train_model
from tradingbot_exp.training.networks.plan import alone_of
from tradingbot_exp.training.stacked import train_stack
from tradingbot_exp.training.state import Epoch, Member

Sets = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture
def sets() -> Sets:
    rng = torch.Generator().manual_seed(3)
    X, X_val = (torch.randn(rows, 5, generator=rng, dtype=torch.float64) for rows in (75, 30))
    slope = torch.randn(5, 1, generator=rng, dtype=torch.float64)
    return X, torch.tanh(X @ slope), X_val, torch.tanh(X_val @ slope)


def mlp(dropout: float = 0.0, seed: int = 0, **kwargs: Any) -> MLP:
    torch.manual_seed(seed)
    return MLP(5, 1, [8, 4], dropout=dropout, **kwargs)


def naive(
    model: nn.Module,
    sets: Sets,
    optimizer: torch.optim.Optimizer,
    criterion: Callable[[Tensor, Tensor], Tensor],
    epochs: int,
    clip: float | None = None,
    scheduler: Any = None,
    seed: int = 7,
) -> dict[str, list[float]]:
    """Train by the book, in batches of 32."""
    X, y, X_val, y_val = sets
    out: dict[str, list[float]] = {"train_loss": [], "val_loss": [], "learning_rate": []}
    torch.manual_seed(seed)
    for _ in range(epochs):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(X)).split(32):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            loss = criterion(model(X[rows]), y[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            total += loss.item() * len(rows)
        model.eval()
        with torch.no_grad():
            val = criterion(model(X_val), y_val).item()
        out["train_loss"].append(total / len(X))
        out["val_loss"].append(val)
        out["learning_rate"].append(optimizer.param_groups[0]["lr"])
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(val)
        elif scheduler is not None:
            scheduler.step()
    return out


def assert_same(history: dict[str, list[float]], reference: dict[str, list[float]]) -> None:
    for key, values in reference.items():
        np.testing.assert_allclose(history[key], values, rtol=1e-12, atol=0, err_msg=key)


def fit(model: nn.Module, sets: Sets, optimizer: Any = None, epochs: int = 6, **kwargs: Any) -> History:
    optimizer = optimizer or make_optimizer("Adam", model.parameters(), lr=0.01)
    kwargs = {"seed": 7, "precision": "float64", "device": "cpu", **kwargs}
    return train_model(model, *sets, optimizer, kwargs.pop("criterion", None), epochs, **kwargs)


CASES: dict[str, dict[str, Any]] = {
    "Adam": {},
    "Adam, decay": {"weight_decay": 0.1},
    "AdamW": {"name": "AdamW", "weight_decay": 0.1},
    "SGD": {"name": "SGD", "lr": 0.1},
    "RMSprop": {"name": "RMSprop"},
    "clip": {"clip": 0.05},
    "cosine": {"scheduler": "cosine"},
    "step": {"scheduler": "step"},
    "plateau": {"scheduler": "plateau", "lr": 0.5, "epochs": 25},
    "dropout": {"dropout": 0.3},
    "all": {"name": "AdamW", "weight_decay": 0.1, "clip": 0.1, "scheduler": "cosine", "dropout": 0.2},
}


@pytest.mark.parametrize("way", ["stacked", "autograd"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_the_naive_loop_given_the_same_order(case: dict[str, Any], way: str, sets: Sets) -> None:
    case = {
        "name": "Adam",
        "lr": 0.01,
        "weight_decay": 0.0,
        "epochs": 8,
        "clip": None,
        "scheduler": "none",
    } | case
    ours = mlp(dropout=case.get("dropout", 0.0)).double()
    theirs = copy.deepcopy(ours)
    if way == "autograd":
        ours.register_forward_hook(lambda *_: None)
    by = make_optimizer(case["name"], ours.parameters(), case["lr"], case["weight_decay"])
    assert (alone_of(ours, by) is None) == (way == "autograd" or case["name"] == "RMSprop")
    optimizer = getattr(torch.optim, case["name"])(
        theirs.parameters(), lr=case["lr"], weight_decay=case["weight_decay"]
    )
    schedules = torch.optim.lr_scheduler
    scheduler = {
        "none": lambda: None,
        "cosine": lambda: schedules.CosineAnnealingLR(optimizer, case["epochs"]),
        "step": lambda: schedules.StepLR(optimizer, 3, 0.1),
        "plateau": lambda: schedules.ReduceLROnPlateau(optimizer, factor=0.5, patience=4, threshold=0),
    }[case["scheduler"]]()
    reference = naive(theirs, sets, optimizer, nn.MSELoss(), case["epochs"], case["clip"], scheduler)
    history = fit(
        ours,
        sets,
        by,
        case["epochs"],
        gradient_clip=case["clip"],
        scheduler=case["scheduler"],
    )
    assert_same(history, reference)
    for mine, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-11, atol=1e-13)
    if case["scheduler"] != "none":
        assert len(set(history["learning_rate"])) > 1  # else the schedule was never put to the test


@pytest.mark.parametrize(
    ("loss", "criterion"),
    [
        ("mse", nn.MSELoss()),
        ("mae", nn.L1Loss()),
        ("huber", nn.HuberLoss()),
        ("bce", nn.BCEWithLogitsLoss()),
        (None, nn.SmoothL1Loss()),
        (None, nn.HuberLoss(delta=0.3)),
        (None, nn.MSELoss(reduction="sum")),
        (None, lambda out, y: (out - y).abs().pow(1.5).mean()),
    ],
)
def test_each_loss_is_that_of_the_naive_loop(loss: str | None, criterion: Any, sets: Sets) -> None:
    sets = (sets[0], (sets[1] > 0).double(), sets[2], (sets[3] > 0).double())
    theirs = mlp().double()
    reference = naive(theirs, sets, torch.optim.Adam(theirs.parameters(), lr=0.01), criterion, 4)
    assert_same(fit(mlp(), sets, epochs=4, criterion=criterion), reference)
    if loss is not None:
        assert_same(fit(mlp(), sets, epochs=4, loss=loss), reference)


def test_blocks_smaller_than_the_set_change_nothing(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit(mlp(), sets)
    for module in ("loop", "stack", "batches"):
        monkeypatch.setattr(f"tradingbot_exp.training.{module}.BLOCK", 64)
    assert_same(fit(mlp(), sets), whole)


def test_the_lstm_equals_the_naive_loop_on_windows() -> None:
    rng = torch.Generator().manual_seed(1)
    bars = torch.randn(90, 3, generator=rng, dtype=torch.float64)
    windows = bars.unfold(0, 6, 1).transpose(1, 2)  # (85, 6, 3)
    y = bars[5:, :1].roll(1)
    sets = (windows[:70], y[:70], windows[70:], y[70:])
    torch.manual_seed(0)
    ours = LSTM(3, 1, [6, 4], dropout=0.1).double()
    theirs = copy.deepcopy(ours)
    reference = naive(theirs, sets, torch.optim.Adam(theirs.parameters(), lr=0.01), nn.MSELoss(), 3)
    assert_same(fit(ours, sets, epochs=3), reference)


def test_the_same_seed_is_bit_identical_and_another_is_not(sets: Sets) -> None:
    runs = []
    for seed in (1, 1, 2):
        model = mlp(dropout=0.2)
        runs.append((fit(model, sets, seed=seed, precision="float32"), list(model.parameters())))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(a, b) for a, b in zip(runs[0][1], runs[1][1], strict=True))
    assert runs[0][0] != runs[2][0]


def test_the_same_seed_is_bit_identical_in_two_processes_and_with_one_or_two_threads() -> None:
    code = """if True:
        import sys, torch
        from tradingbot_exp.models.lstm import LSTM
        from tradingbot_exp.models.mlp import MLP
        from tradingbot_exp.training import make_optimizer, train_model
        torch.set_num_threads(int(sys.argv[1]))
        torch.manual_seed(0)
        X, y = torch.randn(100, 4, 5), torch.randn(100)
        for model in (MLP(20, 1, [8, 4], dropout=0.1), LSTM(5, 1, [8], dropout=0.1)):
            optimizer = make_optimizer("Adam", model.parameters(), 0.01)
            print(dict(train_model(model, X, y, X, y, optimizer, None, 5, seed=9, device="cpu")))
    """
    runs = [subprocess.Popen([sys.executable, "-c", code, threads], stdout=subprocess.PIPE) for threads in ("1", "2")]
    first, second = [run.communicate()[0] for run in runs]
    assert b"val_loss" in first
    assert first == second


def test_the_callers_random_numbers_go_on_as_if_nothing_had_been_trained(sets: Sets) -> None:
    model = mlp(dropout=0.5)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(model, sets)
    assert torch.equal(torch.rand(3), expected)
    with pytest.raises(KeyError):
        fit(model, sets, on_epoch=lambda _epoch, record: bool(record["no such key"]))
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), expected)


def test_a_hook_that_draws_random_numbers_changes_no_result(sets: Sets) -> None:
    drawn: list[float] = []
    plain = fit(mlp(dropout=0.2), sets)
    assert fit(mlp(dropout=0.2), sets, on_epoch=lambda *_: drawn.append(torch.rand(()).item())) == plain
    assert len(set(drawn)) == len(drawn)  # and the hook's own stream moves on


def test_without_a_seed_the_ambient_generator_decides(sets: Sets) -> None:
    runs = []
    for ambient in (1, 1, 2):
        model = mlp()
        torch.manual_seed(ambient)
        runs.append(fit(model, sets, seed=None))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_early_stopping_restores_the_best_weights(sets: Sets) -> None:
    noise = torch.randn(75, 1, generator=torch.Generator().manual_seed(0))
    noisy = (sets[0], noise, sets[2], sets[3])
    model = mlp()
    snapshots: list[dict[str, Tensor]] = []

    def keep(_epoch: int, _record: dict[str, float]) -> None:
        snapshots.append(copy.deepcopy(model.state_dict()))

    history = fit(model, noisy, epochs=200, early_stopping=4, on_epoch=keep)
    assert history.stopped_early
    assert history.stopped_by == "early_stopping"
    assert history.epochs_run == history.best_epoch + 4 < 200
    assert history.best_val_loss == min(history["val_loss"]) == history["val_loss"][history.best_epoch - 1]
    best, last = snapshots[history.best_epoch - 1], snapshots[-1]
    assert all(torch.equal(value, best[key]) for key, value in model.state_dict().items())
    assert not all(torch.equal(value, last[key]) for key, value in model.state_dict().items())


class Told:
    """A listener that keeps what it is told, and stops training where it is to."""

    def __init__(self, stop: int | None = None) -> None:
        self.epochs: list[Epoch] = []
        self.went_on: list[bool] = []
        self._stop = stop

    def on_epoch(self, epoch: Epoch) -> bool:
        self.epochs.append(epoch)
        self.went_on.append(epoch.training.goes_on)
        return epoch.number == self._stop


@pytest.mark.parametrize("watched", [False, True])
def test_each_listener_is_told_of_each_epoch_in_order_and_may_stop_training(sets: Sets, watched: bool) -> None:
    model, first, last = mlp(), Told(stop=3), Told()
    if watched:  # so that autograd does the work
        model.register_forward_hook(lambda *_: None)
    options = {"gradient_clip": 0.01, "batch_size": 75, "scheduler": "step", "fold": 2}
    history = fit(model, sets, epochs=9, listeners=[first, last], **options)
    assert (history.epochs_run, history.stopped_by, history.stopped_early) == (3, "hook", True)
    assert first.epochs == last.epochs and first.went_on == [True] * 3 and last.went_on == [True, True, False]
    assert [each.losses for each in last.epochs] == [
        {name: values[n] for name, values in history.items()} for n in range(3)
    ]
    assert [(each.number, each.epochs, each.fold, each.position) for each in last.epochs] == [
        (n, 9, 2, 0) for n in (1, 2, 3)
    ]
    assert all(each.seconds > 0 for each in last.epochs)
    twin = mlp().double()
    nn.MSELoss()(twin(sets[0]), sets[1]).backward()  # type: ignore[no-untyped-call]
    gradient = torch.cat([p.grad.flatten() for p in twin.parameters() if p.grad is not None])
    assert last.epochs[0].gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-9)
    plain, member = Told(), mlp().double()
    whole = fit(mlp(), sets, epochs=2, listeners=[plain])
    assert (whole.epochs_run, whole.stopped_by) == (2, None) and plain.epochs[0].gradient_norm is None
    stacked = Told()
    by = make_optimizer("Adam", member.parameters(), lr=0.01)
    train_stack([Member(member, by, 1, 7, "step", None, 0.01, [stacked])], *sets, batch_size=75, precision="float64")
    assert stacked.epochs[0].gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-9)


class Log:
    def __init__(self) -> None:
        self.calls: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.calls.append((step, metrics))


def test_the_logger_gets_each_epoch_once(sets: Sets) -> None:
    log = Log()
    history = fit(mlp(), sets, epochs=3, logger=log)
    assert log.calls == [
        (n, {"train_loss": history["train_loss"][n - 1], "val_loss": history["val_loss"][n - 1]}) for n in (1, 2, 3)
    ]
    fit(mlp(), sets, epochs=3, logger=log, scheduler="cosine")
    rates = [metrics.get("learning_rate") for _, metrics in log.calls]
    assert rates[:3] == [None] * 3
    assert rates[3:] == pytest.approx([0.01, 0.0075, 0.0025])


@pytest.mark.parametrize("make", [mlp, lambda: nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 1))])
def test_divergence_names_the_epoch_and_what_to_do(make: Callable[[], nn.Module], sets: Sets) -> None:
    def explode(epoch: int, _record: dict[str, float]) -> None:
        if epoch == 2:
            next(model.parameters()).data.fill_(float("inf"))

    model, log, told = make(), Log(), Told(stop=3)
    with pytest.raises(DivergedError) as caught:
        fit(model, sets, epochs=9, logger=log, on_epoch=explode, listeners=[told])
    assert [epoch.diverged for epoch in told.epochs] == [False, False, True]
    assert caught.value.epoch == 3
    message = str(caught.value)
    assert message.startswith("Training diverged: train_loss is nan in epoch 3 of 9. Lower training.learning_rate")
    assert "training.gradient_clip" in message
    history = caught.value.history
    assert (history.epochs_run, history.stopped_by) == (3, None)
    assert history.best_epoch in (1, 2)
    assert [step for step, _ in log.calls] == [1, 2, 3]
    assert not np.isfinite(log.calls[-1][1]["train_loss"])


def test_a_learning_rate_far_too_high_diverges(sets: Sets) -> None:
    model = mlp()
    with pytest.raises(DivergedError, match=r"it was 1e\+10"):
        fit(model, sets, make_optimizer("SGD", model.parameters(), 1e10), epochs=50)


@pytest.mark.parametrize("kind", ["tensor", "numpy", "float64", "column", "list"])
def test_the_kind_of_array_makes_no_difference(kind: str, sets: Sets) -> None:
    single = tuple(values.float() for values in sets)
    convert: Callable[[Tensor], Any] = {
        "tensor": lambda t: t,
        "numpy": lambda t: t.numpy(),
        "float64": lambda t: t.double().numpy(),
        "column": lambda t: t[:, 0] if t.shape[1] == 1 else t,
        "list": lambda t: t.tolist(),
    }[kind]
    given = tuple(convert(values) for values in single)
    history = fit(mlp(), given, precision="float32")  # type: ignore[arg-type]
    assert history == fit(mlp(), single, precision="float32")  # type: ignore[arg-type]


def test_bfloat16_trains_float32_weights(sets: Sets) -> None:
    model = mlp()
    history = fit(model, sets, epochs=20, precision="bf16-mixed")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert history["val_loss"][-1] < history["val_loss"][0]
    assert history["val_loss"] != fit(mlp(), sets, epochs=20, precision="float32")["val_loss"]


def test_the_model_is_left_in_evaluation_mode_and_no_grad_around_does_not_matter(sets: Sets) -> None:
    model = mlp(dropout=0.5)
    with torch.no_grad():
        history = fit(model, sets)
    assert not any(module.training for module in model.modules())
    assert history == fit(mlp(dropout=0.5), sets)
