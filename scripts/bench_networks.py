"""Measure the training of 24 networks at once, beside one after another with PyTorch's own modules.

The modules are what one would write: `nn.LSTM`, `nn.GRU`, `nn.Conv1d`, `nn.TransformerEncoder` and a residual network,
trained by autograd and torch's fused Adam in the same loop, on the same batches. One thread, training alone: rows of 20
bars and ten features, batches of 32. Each runs in turn, and the fastest of the rounds counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tradingbot_exp.models.registry import model_class
from tradingbot_exp.training.loop import train_model
from tradingbot_exp.training.optim import make_optimizer
from tradingbot_exp.training.stacked import train_stack
from tradingbot_exp.training.state import Member

MODELS, BARS, FEATURES, ROWS, VAL_ROWS = 24, 20, 10, 1280, 320
Sets = tuple[Any, Any, Any, Any]


class Recurrent(nn.Module):
    """One layer, and a Linear on its last step."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU], units: int) -> None:
        super().__init__()
        self.layer, self.head = kind(FEATURES, units, batch_first=True), nn.Linear(units, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to forecasts, (n, 1)."""
        return self.head(self.layer(x)[0][:, -1])


class Convolutions(nn.Module):
    """Three residual blocks of two dilated convolutions of 32 channels, and a Linear on the last step."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(FEATURES, 1), (32, 1), (32, 2), (32, 2), (32, 4), (32, 4)]
        self.layers = nn.ModuleList(nn.Conv1d(before, 32, 3, dilation=dilation) for before, dilation in sizes)
        self.beside, self.head = nn.Conv1d(FEATURES, 32, 1), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to forecasts, (n, 1)."""
        x = x.transpose(1, 2)
        for block in range(3):
            h = x
            for layer in self.layers[2 * block : 2 * block + 2]:
                h = torch.relu(layer(functional.pad(h, (2 * layer.dilation[0], 0))))
            x = torch.relu(h + (x if block else self.beside(x)))
        return self.head(x[:, :, -1])


class Encoder(nn.Module):
    """Two encoder layers of 32 with four heads, read at the last step."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 128, 0.0, "gelu", batch_first=True, norm_first=True)
        self.inputs, self.head = nn.Linear(FEATURES, 32), nn.Linear(32, 1)
        self.layers = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(32), enable_nested_tensor=False)
        self.register_buffer("places", torch.randn(BARS, 32))

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to forecasts, (n, 1)."""
        return self.head(self.layers(self.inputs(x) + self.places)[:, -1])


class Plain(nn.Module):
    """The default network, as a module of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to forecasts, (n, 1)."""
        return self.layers(x)


class Residual(nn.Module):
    """Two residual layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(FEATURES, width), nn.Linear(width, 1)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to forecasts, (n, 1)."""
        h = self.first(x)
        for layer in self.layers:
            h = h + torch.relu(layer(h))
        return self.out(h)


def ours(name: str, layers: list[int]) -> Callable[[], nn.Module]:
    """Return what builds a model of this package."""
    return lambda: model_class(name)(FEATURES, 1, hidden_layers=layers)


CASES: dict[str, tuple[float, Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "MLP [64, 32], 5 walk-forward folds": (5.0, Plain, ours("mlp", [64, 32])),
    "residual module, 32 wide": (5.0, lambda: Residual(32), lambda: Residual(32)),
    "residual module, 64 wide": (5.0, lambda: Residual(64), lambda: Residual(64)),
    "LSTM, 16 units": (3.0, lambda: Recurrent(nn.LSTM, 16), ours("lstm", [16])),
    "LSTM, 32 units": (1.5, lambda: Recurrent(nn.LSTM, 32), ours("lstm", [32])),
    "LSTM, 64 units (trained alone)": (1.5, lambda: Recurrent(nn.LSTM, 64), ours("lstm", [64])),
    "GRU, 16 units": (3.0, lambda: Recurrent(nn.GRU, 16), ours("gru", [16])),
    "GRU, 64 units": (1.5, lambda: Recurrent(nn.GRU, 64), ours("gru", [64])),
    "TCN, 3 blocks of 32": (2.0, Convolutions, ours("tcn", [32, 32, 32])),
    "Transformer, 2 layers of 32": (1.5, Encoder, ours("transformer", [32, 32])),
}


def sets_of(name: str) -> list[Sets]:
    """Return the sets of each fold: bars one by one for what takes rows, else windows of them."""
    rng = np.random.default_rng(0)
    flat = name.startswith(("MLP", "residual"))
    rows = ROWS + VAL_ROWS
    X = rng.normal(size=(rows, FEATURES) if flat else (rows, BARS, FEATURES)).astype(np.float32)
    y = rng.normal(size=rows).astype(np.float32)
    if "folds" not in name:
        return [(X[:ROWS], y[:ROWS], X[ROWS:], y[ROWS:])]
    edges = ROWS + VAL_ROWS * np.arange(6) // 5
    return [(X[:start], y[:start], X[start:end], y[start:end]) for start, end in pairwise(edges)]


def members(make: Callable[[], nn.Module], epochs: int) -> list[Member]:
    """Build networks of their own seeds."""
    found = []
    for seed in range(MODELS):
        torch.manual_seed(seed)
        model = make()
        found.append(Member(model, make_optimizer("Adam", model.parameters(), 1e-3, 0.0), epochs, seed))
    return found


def one_after_another(given: Sequence[Member], sets: Sets) -> None:
    """Train each by itself."""
    for member in given:
        train_model(member.model, *sets, member.optimizer, None, member.epochs, seed=member.seed, device="cpu")


def seconds(
    train: Callable[[Sequence[Member], Sets], object], make: Callable[[], nn.Module], name: str, epochs: int
) -> float:
    """Time the training of all, fold after fold."""
    total = 0.0
    for sets in sets_of(name):
        given = members(make, epochs)
        started = time.perf_counter()
        train(given, sets)
        total += time.perf_counter() - started
    return total


def main() -> None:
    """Measure all cases, and print ratios beside the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, (goal, peer, own) in CASES.items():
        at_once = one_after_another if "alone" in name else lambda given, sets: train_stack(given, *sets)
        arms = {"torch": (one_after_another, peer), "at once": (at_once, own), "alone": (one_after_another, own)}
        found = {
            arm: min(seconds(train, make, name, options.epochs) for _ in range(options.rounds))
            for arm, (train, make) in arms.items()
        }
        times = found["torch"] / found["at once"]
        print(f"{name}: PyTorch's own modules {found['torch']:.2f} s, ours at once {found['at once']:.2f} s, ", end="")
        print(f"{times:.1f} times (goal {goal:g}); ours one after another {found['alone']:.2f} s", flush=True)


if __name__ == "__main__":
    main()
