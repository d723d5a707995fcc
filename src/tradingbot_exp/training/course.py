"""A model's way through its epochs, alone or in a stack: what is told after each, and when it is over."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from tradingbot_exp.training.checks import diverged
from tradingbot_exp.training.history import History
from tradingbot_exp.training.optim import make_schedule

Record = dict[str, float]


class MetricLogger(Protocol):
    """Whatever takes metrics: an `EnhancedMLflowLogger`, or one's own."""

    def log_metrics(self, metrics: dict[str, float], step: int) -> object:
        """Record an epoch's metrics."""


class Course:
    """Keeps the history of one model and decides after each epoch whether it goes on.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Its learning rate is recorded and scheduled.
    epochs, scheduler, early_stopping, logger, progress, on_epoch
        See `tradingbot_exp.training.train_model`.
    weights : callable
        Gives a copy of the model's weights as they are.

    Attributes
    ----------
    history : History
    best : dict
        With early stopping, the best epoch's weights; else empty.
    goes_on : bool
        Whether there is another epoch.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        epochs: int,
        *,
        weights: Callable[[], dict[str, Tensor]],
        scheduler: str = "none",
        early_stopping: int | None = None,
        logger: MetricLogger | None = None,
        progress: Callable[[int, int, Record], object] | None = None,
        on_epoch: Callable[[int, Record], bool | None] | None = None,
    ) -> None:
        self.history = History(epochs)
        self.best: dict[str, Tensor] = {}
        self.goes_on = True
        self._optimizer, self._weights, self._early_stopping = optimizer, weights, early_stopping
        self._logger, self._progress, self._on_epoch = logger, progress, on_epoch
        self._schedule = make_schedule(scheduler, optimizer, epochs)
        if self._schedule is not None:
            # A schedule warns if it is stepped before its optimizer, which a stack may never step itself.
            untyped: Any = optimizer
            untyped._opt_called = True

    def after_epoch(self, train_loss: float, val_loss: float) -> None:
        """Record an epoch, and settle what comes next.

        Raises
        ------
        DivergedError
            A loss is not finite.
        """
        history = self.history
        epoch = history.epochs_run + 1
        record = {
            "train_loss": train_loss,
            "val_loss": val_loss,
            "learning_rate": float(self._optimizer.param_groups[0]["lr"]),
        }
        history.add(record)
        self._log(epoch, record)
        if self._progress is not None:
            self._progress(epoch, history.epochs, record)
        if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
            raise diverged(history)
        if self._early_stopping and history.best_epoch == epoch:
            self.best = self._weights()
        if self._schedule is not None:
            self._schedule(val_loss)
        if self._on_epoch is not None and self._on_epoch(epoch, dict(record)):
            history.stopped_by = "hook"
        elif self._early_stopping and epoch - history.best_epoch >= self._early_stopping:
            history.stopped_by = "early_stopping"
        self._settle()

    def state(self) -> dict[str, Any]:
        """Give how far it is as plain values: history, best weights, schedule."""
        history = self.history
        return {
            "history": {key: list(values) for key, values in history.items()},
            "stopped_by": history.stopped_by,
            "best": self.best,
            "schedule": None if self._schedule is None else self._schedule.state(),
        }

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Put it where another one stood, and log its epochs: the logger may not have got the last of them."""
        for key, values in self.history.items():
            values[:] = state["history"][key]
        self.history.stopped_by, self.best = state["stopped_by"], state["best"]
        if self._schedule is not None and state["schedule"] is not None:
            self._schedule.go_on_from(state["schedule"])
        for epoch in range(1, self.history.epochs_run + 1):
            self._log(epoch, {key: values[epoch - 1] for key, values in self.history.items()})
        self._settle()

    def _log(self, epoch: int, record: Record) -> None:
        if self._logger is not None:
            keys = ("train_loss", "val_loss") if self._schedule is None else tuple(record)
            self._logger.log_metrics({key: record[key] for key in keys}, step=epoch)

    def _settle(self) -> None:
        self.goes_on = self.history.stopped_by is None and self.history.epochs_run < self.history.epochs
