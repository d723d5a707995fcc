"""What a training run leaves behind: its losses by epoch, and which epoch was best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean


class History(dict[str, list[float]]):
    """The losses of each epoch, a dict of lists of equal length.

    Parameters
    ----------
    epochs : int
        The epochs asked for.

    Attributes
    ----------
    epochs : int
        As given.
    of : tuple of History
        Of a mean, what it is the mean of; else empty.
    stopped_by : str or None
        ``"early_stopping"``, ``"hook"`` (an ``on_epoch`` returned True), or None.

    Notes
    -----
    The keys are ``train_loss`` (the mean over the samples of the loss that each had in its batch, during
    the epoch), ``val_loss`` (after the epoch) and ``learning_rate`` (of the first parameter group, during
    the epoch).
    """

    def __init__(self, epochs: int = 0) -> None:
        super().__init__(train_loss=[], val_loss=[], learning_rate=[])
        self.epochs = epochs
        self.of: tuple[History, ...] = ()
        self.stopped_by: str | None = None

    def add(self, record: dict[str, float]) -> None:
        """Append one epoch's values."""
        for key, values in self.items():
            values.append(record[key])

    @property
    def epochs_run(self) -> int:
        """The epochs trained, including one that diverged."""
        return len(self["val_loss"])

    @property
    def best_epoch(self) -> int:
        """The first epoch, counted from 1, with the lowest validation loss; 0 if there is none."""
        finite = [(loss, epoch) for epoch, loss in enumerate(self["val_loss"], 1) if math.isfinite(loss)]
        return min(finite)[1] if finite else 0

    @property
    def best_val_loss(self) -> float:
        """The lowest validation loss; NaN if there is none."""
        return self["val_loss"][self.best_epoch - 1] if self.best_epoch else math.nan

    @property
    def stopped_early(self) -> bool:
        """Whether training ended, on purpose, before all the epochs asked for."""
        return self.stopped_by is not None and self.epochs_run < self.epochs


def mean_history(histories: Sequence[History]) -> History:
    """Average the losses of each epoch that all histories have; return the only one as it is."""
    if len(histories) == 1:
        return histories[0]
    mean = History(histories[0].epochs)
    mean.of = tuple(histories)
    for epoch in range(min(history.epochs_run for history in histories)):
        mean.add({name: fmean(history[name][epoch] for history in histories) for name in mean})
    return mean
