"""What all sides of the benchmark share: the data, the network, the plain training loop, and what is logged.

Every side trains the same network on the same rows and logs the same things: a parent run, a run a trial, all
keys of the configuration as params, two losses an epoch, and the final losses.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BATCH, BATCHES = 32, (16, 32, 64)
LEARNING_RATE, WEIGHT_DECAY = (1e-4, 1e-2), (1e-7, 1e-2)
"""What is searched, both on a log scale."""


@dataclass(frozen=True)
class Task:
    """What a side is asked to do.

    `data` is a folder with ``rows.npz`` and ``params.json``; `space` is ranges or default.
    """

    data: Path
    store: str
    trials: int
    epochs: int
    seed: int
    space: str = "ranges"

    @property
    def params(self) -> dict[str, str]:
        """All keys of the composed configuration."""
        found: dict[str, str] = json.loads((self.data / "params.json").read_text())
        return found


def task() -> Task:
    """Read the command line of a side."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--space", default="ranges")
    return Task(**vars(parser.parse_args()))


def load(folder: Path) -> tuple[Any, ...]:
    """Give the rows as float32 tensors: inputs (n, 10) and targets (n, 1), of train and of validation."""
    import numpy as np
    import torch

    with np.load(folder / "rows.npz") as rows:
        return tuple(torch.from_numpy(rows[name]) for name in ("X_train", "y_train", "X_val", "y_val"))


def make_model() -> Any:
    """Build the default network, 10-64-32-1."""
    from torch import nn

    return nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))


def fit(rows: tuple[Any, ...], rate: float, decay: float, epochs: int, batch: int = BATCH) -> list[tuple[float, float]]:
    """Train as most people do, with a DataLoader; the losses of an epoch are read once.

    Validation is one batch, its quickest way. A fused Adam and one thread are the best settings for so small a
    network.
    """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(1)
    X, y, X_val, y_val = rows
    model, criterion = make_model(), nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay, fused=True)
    loader = DataLoader(TensorDataset(X, y), batch_size=batch, shuffle=True)
    losses = []
    for _ in range(epochs):
        model.train()
        total = torch.zeros(())
        for X_batch, y_batch in loader:
            optimizer.zero_grad()
            loss = criterion(model(X_batch), y_batch)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(X_batch)
        model.eval()
        with torch.no_grad():
            losses.append((float(total) / len(X), float(criterion(model(X_val), y_val))))
    return losses


def log_trial(client: Any, run_id: str, params: dict[str, str], losses: list[tuple[float, float]]) -> None:
    """Log all params, the losses of each epoch and the last one, in one batch: MLflow's quickest way."""
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    points = [
        Metric(name, value, now, epoch)
        for epoch, pair in enumerate(losses, start=1)
        for name, value in zip(("train_loss", "val_loss"), pair, strict=True)
    ]
    points.append(Metric("final_loss", losses[-1][1], now, 0))
    client.log_batch(run_id, points, [Param(key, value) for key, value in params.items()])


def trial_params(wanted: Task, rate: float, decay: float, batch: int = BATCH) -> dict[str, str]:
    """Give the params of one trial."""
    own = {"model.learning_rate": rate, "training.learning_rate": rate, "training.weight_decay": decay}
    own |= {"training.batch_size": batch}
    return wanted.params | {key: str(value) for key, value in own.items()}
