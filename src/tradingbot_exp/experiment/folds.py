"""The folds of one job, trained one after another: their curves, the mean of these, and what is said on the way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tradingbot_exp.errors import DivergedError
from tradingbot_exp.training.history import History

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.experiment.job import Job

log = logging.getLogger(__name__)


def train_in_turn(folds: Sequence[Job], logger: Any, train: Callable[[Job, Any], History]) -> list[History]:
    """Train the model of each fold.

    Parameters
    ----------
    folds : sequence of Job
        See `Job.folds`.
    logger : object with ``log_metrics(metrics, step)``
        Gets the losses of each epoch; of several folds, what `FoldCurves` makes of them.
    train : callable (job, logger) -> History
        Trains one.

    Returns
    -------
    list of History
        One a fold; fewer if a hook stopped one, as no further fold is begun then.

    Raises
    ------
    DivergedError
        Names the fold, if there are several; its history is the mean over the folds so far.
    """
    if len(folds) == 1:
        return [train(folds[0], logger)]
    histories: list[History] = []
    for number, fold in enumerate(folds, 1):
        if fold.config.training.progress != "off":
            log.info("fold %d of %d: %s", number, len(folds), _in_words(fold.data))
        try:
            histories.append(train(fold, FoldCurves(logger, number, len(folds), histories)))
        except DivergedError as error:
            mean = mean_history([*histories, error.history])
            raise DivergedError(f"In fold {number} of {len(folds)}: {error}", error.epoch, mean) from error
        if histories[-1].stopped_by == "hook":
            break
    return histories


def _in_words(data: PreparedData) -> str:
    """Say which bars a fold trains on and is validated on."""
    first, last = data.index[[data.train.start, data.train.stop - 1]]
    said = f"trains on {first} to {last}"
    if data.train.hole is not None:
        first, last = data.index[[data.train.hole[0], data.train.hole[1] - 1]]
        said += f" without {first} to {last}"
    first, last = data.index[[data.val.start, data.val.stop - 1]]
    return f"{said}, is validated on {first} to {last}".replace(" 00:00:00", "")


class FoldCurves:
    """Logs the losses of each epoch under the fold's own name; while the last fold trains, also the means over folds.

    Parameters
    ----------
    logger : object with ``log_metrics(metrics, step)``
    number, folds : int
        The fold, from 1, and how many there are.
    earlier : sequence of History
        Of the folds before.
    """

    def __init__(self, logger: Any, number: int, folds: int, earlier: Sequence[History]) -> None:
        self._logger, self._number, self._folds, self._earlier = logger, number, folds, earlier

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Pass an epoch's metrics on."""
        found = {f"fold_{self._number}_{name}": value for name, value in metrics.items()}
        # A fold that stopped early has no loss in later epochs.
        if self._number == self._folds and all(history.epochs_run >= step for history in self._earlier):
            for name, value in metrics.items():
                found[name] = fmean([*(history[name][step - 1] for history in self._earlier), value])
        self._logger.log_metrics(found, step)


def mean_history(histories: Sequence[History]) -> History:
    """Average the losses of each epoch that all histories have; of one history, give it as it is."""
    if len(histories) == 1:
        return histories[0]
    mean = History(histories[0].epochs)
    for epoch in range(min(history.epochs_run for history in histories)):
        mean.add({name: fmean(history[name][epoch] for history in histories) for name in mean})
    return mean
