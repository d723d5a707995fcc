"""Compare `train_model` and stacks with a plain DataLoader loop: model·epochs per second, interleaved in one process.

The data are random numbers of the size of the default set (IBM: 2,264 train rows of 10 features, 484
validation rows); what the numbers are does not change how long they take. The plain loop is on one thread always,
which is faster for so small a network than two. Run ``make bench``, or ``python scripts/bench_training.py --quick``.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tradingbot_exp.training import make_optimizer, train_model
from tradingbot_exp.training.stacked import Member, train_stack
from tradingbot_exp.training.threads import sharing

ROWS, VAL_ROWS, FEATURES, BATCH, RATE = 2264, 484, 10, 32, 1e-3
BASE, FUSED = "plain DataLoader, default Adam", "plain DataLoader, fused Adam"
OURS = "train_model, make_optimizer"


class Data(NamedTuple):
    """Inputs (n, F) and targets (n, 1), float32."""

    X: torch.Tensor
    y: torch.Tensor
    X_val: torch.Tensor
    y_val: torch.Tensor


def make_data(seed: int = 0) -> Data:
    """Draw standard normal features, and returns of a day's size."""
    rng = np.random.default_rng(seed)

    def draw(rows: int, columns: int, scale: float) -> torch.Tensor:
        return torch.from_numpy((scale * rng.standard_normal((rows, columns))).astype(np.float32))

    return Data(draw(ROWS, FEATURES, 1), draw(ROWS, 1, 0.01), draw(VAL_ROWS, FEATURES, 1), draw(VAL_ROWS, 1, 0.01))


def make_model() -> nn.Module:
    """Build the default network, MLP 10-64-32-1, always with the same weights."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))


def plain(data: Data, epochs: int, fused: bool) -> None:
    """Train as PyTorch's tutorials do, on one thread; validation in a single batch, which is its fastest way."""
    with sharing(1):
        _plain(data, epochs, fused)


def _plain(data: Data, epochs: int, fused: bool) -> None:
    model, criterion = make_model(), nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True if fused else None)
    loader = DataLoader(TensorDataset(data.X, data.y), batch_size=BATCH, shuffle=True, num_workers=0)
    for _ in range(epochs):
        model.train()
        total = 0.0
        for X, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(X), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(X)
        model.eval()
        with torch.no_grad():
            criterion(model(data.X_val), data.y_val).item()


def ours(data: Data, epochs: int, fused: bool, watched: bool = False) -> None:
    """Train with `train_model`; a watched model has a hook, so autograd has to do the work."""
    model = make_model()
    if watched:
        model.register_forward_hook(lambda _module, _inputs, _output: None)
    if fused:
        optimizer = make_optimizer("Adam", model.parameters(), RATE)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    train_model(model, *data, optimizer, None, epochs, batch_size=BATCH, seed=0, device="cpu")


def stacked(data: Data, epochs: int, models: int) -> None:
    """Train a stack, each model with a learning rate and a weight decay of its own."""
    members = []
    for number in range(models):
        model = make_model()
        optimizer = make_optimizer("Adam", model.parameters(), RATE * (1 + number / models), 1e-6 * number)
        members.append(Member(model, optimizer, epochs, seed=number))
    train_stack(members, *data, batch_size=BATCH)


STACKS = {f"train_stack, {models} models": models for models in (8, 32, 128)}
ARMS: dict[str, Callable[[Data, int], None]] = {
    BASE: lambda data, epochs: plain(data, epochs, fused=False),
    FUSED: lambda data, epochs: plain(data, epochs, fused=True),
    OURS: lambda data, epochs: ours(data, epochs, fused=True),
    "train_model, default Adam": lambda data, epochs: ours(data, epochs, fused=False),
    "train_model, make_optimizer, autograd": lambda data, epochs: ours(data, epochs, fused=True, watched=True),
    **{
        name: lambda data, epochs, models=models: stacked(data, epochs, models)  # type: ignore[misc]
        for name, models in STACKS.items()
    },
}


def measure(data: Data, rounds: int, epochs: int) -> dict[str, list[float]]:
    """Time every arm once a round, each round in another order; return model·epochs per second."""
    speeds: dict[str, list[float]] = {name: [] for name in ARMS}
    order = list(ARMS)
    for arm in ARMS.values():
        arm(data, 1)  # warm up
    for _ in range(rounds):
        for name in order:
            start = time.perf_counter()
            ARMS[name](data, epochs)
            speeds[name].append(STACKS.get(name, 1) * epochs / (time.perf_counter() - start))
        order.append(order.pop(0))
    return speeds


def report(speeds: dict[str, list[float]]) -> None:
    """Print each arm's median speed, and the median and range of its ratio to the plain loop by round."""
    width = max(map(len, speeds))
    print(f"  {'':<{width}}  epochs/s   ratio  range")
    for name, values in speeds.items():
        ratios = [value / base for value, base in zip(values, speeds[BASE], strict=True)]
        print(
            f"  {name:<{width}}  {statistics.median(values):8.1f}  {statistics.median(ratios):6.2f}"
            f"  {min(ratios):.2f} to {max(ratios):.2f}"
        )


def main() -> None:
    """Run the benchmark with one thread and with two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 2 epochs in place of 11 of 5")
    quick = parser.parse_args().quick
    rounds, epochs = (3, 2) if quick else (11, 5)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, "
        f"{platform.machine()}\n"
        f"MLP {FEATURES}-64-32-1, {ROWS} train and {VAL_ROWS} validation rows, batch {BATCH}, Adam, MSE; "
        f"{rounds} interleaved rounds of {epochs} epochs; ratio to: {BASE}"
    )
    data = make_data()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        print(f"\n{threads} thread{'s' if threads > 1 else ''}")
        report(measure(data, rounds, epochs))


if __name__ == "__main__":
    main()
