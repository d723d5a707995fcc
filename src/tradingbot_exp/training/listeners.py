"""Listeners that are here already: curves, and a function of one's own."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tradingbot_exp.training.state import Epoch


class MetricLogger(Protocol):
    """Whatever takes metrics: an `EnhancedMLflowLogger`, or one's own."""

    def log_metrics(self, metrics: dict[str, float], step: int) -> object:
        """Record an epoch's metrics."""


def seed_prefix(seed: int) -> str:
    """Return what begins the metrics of one of several networks of a run."""
    return f"seed_{seed}/"


class Curves:
    """Logs the losses of each epoch and, with a schedule, the learning rate.

    Of several folds each has curves of its own, ``fold_1_val_loss``; while the last one trains, the means over folds
    are logged too, for epochs that all folds have.

    Parameters
    ----------
    logger : MetricLogger
    prefix : str
        Begins each name.
    folds : int
    validated : bool
        Whether there are validation rows, and so a loss of them.
    """

    def __init__(self, logger: MetricLogger, prefix: str = "", folds: int = 1, *, validated: bool = True) -> None:
        self._logger, self._prefix, self._folds, self._validated = logger, prefix, folds, validated
        self._earlier: dict[int, list[dict[str, float]]] = {}  # by epoch, what earlier folds had

    def on_epoch(self, epoch: Epoch) -> None:
        """Log an epoch."""
        metrics = epoch.losses
        if not epoch.training.scheduled:
            del metrics["learning_rate"]
        if not self._validated:
            del metrics["val_loss"]
        found = metrics
        if self._folds > 1:
            found = {f"fold_{epoch.fold}_{name}": value for name, value in metrics.items()}
            all_folds = self._earlier.setdefault(epoch.number, [])
            all_folds.append(metrics)
            if len(all_folds) == self._folds:  # a fold that stopped early has no loss in later epochs
                found |= {name: fmean(each[name] for each in all_folds) for name in metrics}
        self._logger.log_metrics({f"{self._prefix}{name}": value for name, value in found.items()}, epoch.number)


class Hook:
    """Asks a function, from the epoch's number and losses to whether training is to stop."""

    def __init__(self, function: Callable[[int, dict[str, float]], bool | None]) -> None:
        self._function = function

    def on_epoch(self, epoch: Epoch) -> bool | None:
        """Ask, unless training has diverged."""
        return None if epoch.diverged else self._function(epoch.number, epoch.losses)
