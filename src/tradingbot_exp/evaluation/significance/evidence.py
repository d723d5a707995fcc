"""What a study's verdict rests on: the gains of its trials over a benchmark, bar by bar, and how many were tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradingbot_exp.config.choices import BACKTEST_METRICS, OBJECTIVES
from tradingbot_exp.evaluation._arrays import Floats, vectors
from tradingbot_exp.evaluation.metrics.objectives import better_direction

Family = Literal["loss", "return"]
_COVERED = 0.9  # share of the winner's bars that a trial has to have to be tested beside it


def family_of(metric: str) -> Family:
    """Tell whether a metric judges returns, or forecasts: those are held against the train mean by their loss."""
    return "return" if metric.removeprefix("val_") in BACKTEST_METRICS else "loss"


@dataclass(frozen=True, eq=False)
class StudyEvidence:
    """A study as the verdict sees it.

    A row is a validation bar in time order, a column a configuration: a trial that is complete and no duplicate. NaN
    stands where a trial has no value. Returns are simple returns a bar.

    Attributes
    ----------
    metric, direction : str
        What was searched for: ``val_loss`` and ``minimize``, or ``val_sharpe`` and ``maximize``.
    winner : int or None
        Column of the trial that was picked; None if it has none.
    tried : int
        Configurations tried in this study, pruned and failed ones included, duplicates not; at least 1.
    ever : int
        Configurations ever tried on these bars, this study's included; 0 if nobody knows.
    planned : int
        Trials that the study was to make.
    periods_per_year : float
    horizon : int
        Bars ahead that the target looks.
    returns : ndarray, shape (n, K), or None
        Net returns of each trial; None without one-bar returns.
    market : ndarray, shape (n,), or None
        Returns of buy and hold.
    gains : ndarray, shape (n, K), or None
        Loss of the train-mean forecast less the trial's: see `loss_gains`. None if nobody kept the forecasts.
    """

    metric: str
    direction: str
    winner: int | None
    tried: int
    periods_per_year: float
    ever: int = 0
    planned: int = 0
    horizon: int = 1
    returns: Floats | None = None
    market: Floats | None = None
    gains: Floats | None = None

    def __post_init__(self) -> None:
        for name, matrix in (("returns", self.returns), ("gains", self.gains)):
            if matrix is not None and matrix.ndim != 2:
                raise ValueError(f"{name} has the shape {matrix.shape}; expected (bars, trials).")
            if matrix is not None and self.winner is not None and not 0 <= self.winner < matrix.shape[1]:
                raise ValueError(f"winner is {self.winner}; expected a column of {name}, 0 to {matrix.shape[1] - 1}.")
            if matrix is not None and np.isinf(matrix).any():
                raise ValueError(f"{name} holds infinite values; expected numbers, or NaN where a trial has none.")
        if self.returns is not None and (self.market is None or self.market.shape != self.returns.shape[:1]):
            shape = None if self.market is None else self.market.shape
            raise ValueError(f"market has the shape {shape}; expected a return for each of {len(self.returns)} bars.")
        if self.tried < 1 or self.horizon < 1:
            raise ValueError(f"tried is {self.tried} and horizon {self.horizon}; expected each to be at least 1.")

    @property
    def family(self) -> Family:
        """Whether returns were searched for, or a loss."""
        return family_of(self.metric)

    @property
    def backwards(self) -> bool:
        """Whether the study looked for the worst value instead of the best; of a user's own metric nobody knows."""
        return self.metric in OBJECTIVES and self.direction != (better_direction(self.metric) or "maximize")

    @property
    def ranking(self) -> str:
        """By what cross-validation ranks trials, of `overfitting.RANKINGS`: the metric itself, or what is nearest."""
        if self.family == "loss":
            return "mean"
        return {"val_sortino": "sortino", "val_cagr": "mean"}.get(self.metric, "sharpe")

    @property
    def count(self) -> int:
        """The larger of the two counts of configurations tried: in this study, and ever."""
        columns = [int(matrix.shape[1]) for matrix in (self.returns, self.gains) if matrix is not None]
        return max(self.tried, self.ever, *columns, 1)

    @property
    def excess(self) -> Floats | None:
        """Returns of each trial less those of buy and hold, shape (n, K); None without returns."""
        if self.returns is None or self.market is None:
            return None
        return np.asarray(self.returns - self.market[:, None])


@dataclass(frozen=True, eq=False)
class Complete:
    """The part of a matrix that can be tested: no NaN.

    Attributes
    ----------
    values : ndarray, shape (n, K)
    rows, columns : ndarray of int
        Where they come from.
    winner : int
        Column in `values`.
    """

    values: Floats
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    winner: int


def complete(matrix: Floats, winner: int) -> Complete | None:
    """Keep the trials that have at least 90 % of the winner's bars, and the bars that all of these have.

    None if the winner has no bars at all. What is left out was tried all the same, and counts.
    """
    known = np.isfinite(matrix)
    rows = known[:, winner]
    if not rows.any():
        return None
    columns = np.flatnonzero(known[rows].mean(axis=0) >= _COVERED)
    rows = np.flatnonzero(rows & known[:, columns].all(axis=1))
    if not rows.size:
        return None
    return Complete(matrix[np.ix_(rows, columns)], rows, columns, int(np.searchsorted(columns, winner)))


def loss_gains(actual: ArrayLike, forecasts: ArrayLike, train_mean: float, loss: str = "mse") -> Floats:
    """Give the loss of the train-mean forecast less that of each trial's, on each bar.

    Parameters
    ----------
    actual : array_like, shape (n,)
        Targets.
    forecasts : array_like, shape (n, K)
        In the target's unit; for ``bce`` probabilities of 1. NaN where a trial has none.
    train_mean : float
        Mean of the target over the train rows.
    loss : str
        ``mse``, ``mae``, ``huber`` (from 1 on linear, as torch's) or ``bce``.

    Returns
    -------
    ndarray, shape (n, K)
        In the loss's unit; above 0 where the trial was nearer, NaN where its forecast is.

    References
    ----------
    Diebold & Mariano (1995), "Comparing predictive accuracy", Journal of Business & Economic Statistics 13(3): the
    loss differential; Huber (1964), "Robust estimation of a location parameter", Annals of Mathematical Statistics
    35(1), for his loss.
    """
    (a,) = vectors(actual=actual)
    f = np.asarray(forecasts, dtype=np.float64)
    if f.ndim != 2 or len(f) != len(a):
        raise ValueError(f"forecasts has the shape {f.shape}; expected ({len(a)}, trials).")
    if loss not in ("mse", "mae", "huber", "bce"):
        raise ValueError(f"loss is {loss!r}; expected mse, mae, huber or bce.")

    def losses(forecast: Floats) -> Floats:
        if loss == "bce":
            # As torch does, so that one certain and wrong forecast does not cost infinitely much.
            with np.errstate(divide="ignore"):
                yes, no = np.maximum(np.log(forecast), -100.0), np.maximum(np.log1p(-forecast), -100.0)
            return np.asarray(-(a[:, None] * yes + (1 - a[:, None]) * no))
        error = np.abs(a[:, None] - forecast)
        if loss == "mae":
            return np.asarray(error)
        if loss == "huber":
            return np.asarray(np.where(error < 1, 0.5 * error**2, error - 0.5))
        return np.asarray(error**2)

    return np.asarray(losses(np.full((len(a), 1), float(train_mean))) - losses(f))
