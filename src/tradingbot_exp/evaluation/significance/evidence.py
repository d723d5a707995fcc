"""What a study's verdict rests on: what its trials forecast and earned on each bar, and how many were tried."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tradingbot_exp.config.metrics import OBJECTIVES, Family, better_direction, family_of
from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.evaluation.significance.across import Across
from tradingbot_exp.evaluation.significance.selection_bias import directions_of
from tradingbot_exp.evaluation.significance.series import Before, Twice, alpha_series, centred, forecast_series

_COVERED = 0.9  # share of the winner's bars that a trial has to have to be tested beside it


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
    climbed : int
        Hyper-parameters among which a sampler went by the values of earlier trials; 0 where points were drawn without.
    rules : Rules
    actual : ndarray, shape (n,), or None
        Targets.
    forecasts : ndarray, shape (n, K), or None
        In the target's unit. None if nobody kept them.
    market : ndarray, shape (n,), or None
        Returns of buy and hold.
    returns : ndarray, shape (n, K), or None
        Net returns of each trial; None without one-bar returns.
    folds : ndarray of int, shape (n,), or None
        Row of `before` that belongs to each bar; all are of one fold if None.
    before : Before or None
        What each trial knew before each fold's bars; a trial of NaN cannot be tested.
    across : Across or None
        Of a panel, where a bar is a date, and `actual` and `forecasts` are means over its symbols.
    loss : str
        What models were trained by, where that decides what `metric` judges.
    """

    metric: str
    direction: str
    winner: int | None
    tried: int
    rules: Rules
    ever: int = 0
    planned: int = 0
    climbed: int = 0
    actual: Floats | None = None
    forecasts: Floats | None = None
    market: Floats | None = None
    returns: Floats | None = None
    folds: NDArray[np.intp] | None = None
    before: Before | None = None
    across: Across | None = None
    loss: str = ""

    def __post_init__(self) -> None:
        for name, matrix in (("returns", self.returns), ("forecasts", self.forecasts)):
            if matrix is not None and matrix.ndim != 2:
                raise ValueError(f"{name} has the shape {matrix.shape}; expected (bars, trials).")
            if matrix is not None and self.winner is not None and not 0 <= self.winner < matrix.shape[1]:
                raise ValueError(f"winner is {self.winner}; expected a column of {name}, 0 to {matrix.shape[1] - 1}.")
            if matrix is not None and np.isinf(matrix).any():
                raise ValueError(f"{name} holds infinite values; expected numbers, or NaN where a trial has none.")
        for name, rows, of in (("market", self.market, self.returns), ("actual", self.actual, self.forecasts)):
            if of is not None and (rows is None or rows.shape != of.shape[:1]):
                shape = None if rows is None else rows.shape
                raise ValueError(f"{name} has the shape {shape}; expected a value for each of {len(of)} bars.")
        if self.tried < 1:
            raise ValueError(f"tried is {self.tried}; expected at least 1 configuration.")

    @property
    def family(self) -> Family:
        """Whether returns were searched for, or forecasts."""
        return family_of(self.metric, self.loss)

    def directions(self, family: Family) -> int:
        """Return those that the sampler may turn to, 0 where it does not climb: see `directions_of`."""
        return directions_of(self.climbed, family)

    @property
    def backwards(self) -> bool:
        """Whether the study looked for the worst value instead of the best; of a user's own metric nobody knows."""
        return self.metric in OBJECTIVES and self.direction != (better_direction(self.metric) or "maximize")

    @property
    def ranking(self) -> str:
        """By what cross-validation ranks trials, of `overfitting.RANKINGS`: the metric itself, or what is nearest."""
        if self.family == "forecast":
            return "mean"
        return {"val_sortino": "sortino", "val_cagr": "mean"}.get(self.metric, "sharpe")

    @property
    def count(self) -> int:
        """The larger of the two counts of configurations tried: in this study, and ever."""
        columns = [int(matrix.shape[1]) for matrix in (self.returns, self.forecasts) if matrix is not None]
        return max(self.tried, self.ever, *columns, 1)

    @property
    def part(self) -> Part | None:
        """What is tested: `forecast_part`, or where returns were searched `return_part`."""
        return self.forecast_part if self.family == "forecast" else self.return_part

    @cached_property
    def forecast_part(self) -> Part | None:
        """The forecasts that can be tested: see `_part`."""
        return self._part("forecast")

    @cached_property
    def return_part(self) -> Part | None:
        """The returns that can be tested: see `_part`."""
        return self._part("return")

    def _part(self, family: Family) -> Part | None:
        """Take the trials that have at least 90 % of the winner's bars, and what they knew, on the bars that all have.

        What is left out was tried all the same, and counts. None if the winner has no bars.
        """
        forecasts = family == "forecast"
        matrix, beside = (self.forecasts, self.actual) if forecasts else (self.returns, self.market)
        if matrix is None or beside is None or self.winner is None or self.before is None:
            return None
        known = np.isfinite(matrix) & np.isfinite(self.before.dates).all(axis=0)
        rows = known[:, self.winner]
        if not rows.any():
            return None
        columns = np.flatnonzero(known[rows].mean(axis=0) >= _COVERED)
        bars = np.flatnonzero(rows & known[:, columns].all(axis=1))
        if not bars.size:
            return None
        outcomes, values = beside[bars], matrix[np.ix_(bars, columns)]
        folds = np.zeros(bars.size, np.intp) if self.folds is None else self.folds[bars]
        before = Before(*(each[:, columns] for each in self.before))
        across = self.across.take(bars, columns) if forecasts and self.across is not None else None
        series = (
            forecast_series(outcomes, values, before, folds, across)
            if forecasts
            else alpha_series(outcomes, values, before, folds)
        )
        winner = int(np.searchsorted(columns, self.winner))
        return Part(family, outcomes, values, folds, before, series, columns, winner, across)


@dataclass(frozen=True, eq=False)
class Part:
    """The part of a study's forecasts or returns that can be tested: no NaN.

    Attributes
    ----------
    family : str
    outcomes : ndarray, shape (n,)
        Targets, or the market's returns.
    values : ndarray, shape (n, K)
        Forecasts, or net returns.
    folds : ndarray of int, shape (n,)
        Row of `before` that belongs to each bar.
    before : Before
    series : Twice
        What is tested.
    columns : ndarray of int
        Which trials these are.
    winner : int
        Column in `values`.
    across : Across or None
        Of forecasts of a panel.
    """

    family: Family
    outcomes: Floats
    values: Floats
    folds: NDArray[np.intp]
    before: Before
    series: Twice
    columns: NDArray[np.int64]
    winner: int
    across: Across | None = None

    @property
    def spread(self) -> Floats:
        """The outcomes' standard deviation in the fold of each bar, shape (n,)."""
        squares = centred(self.outcomes, self.folds) ** 2
        if self.across is not None:  # of all symbols, not of a date's mean
            squares = squares + self.across.squares - self.outcomes**2
        return np.asarray(
            np.sqrt(np.bincount(self.folds, squares) / np.maximum(np.bincount(self.folds), 1))[self.folds]
        )

    @property
    def breadth(self) -> float:
        """How much the winner's series spreads, in the outcomes' standard deviations; 1 of one instrument.

        A mean over symbols spreads less than one product of forecast and outcome does, so that less skill is enough.
        """
        if self.across is None or self.is_still:
            return 1.0
        return float(self.winners.std() / np.sqrt(np.mean(self.spread**2)))

    @property
    def winners(self) -> Floats:
        """The winner's series by the means of the validation dates, shape (n,)."""
        return self.series.within[:, self.winner]

    @property
    def is_still(self) -> bool:
        """Whether the winner's series is nothing at all: a forecast that never moves, or a share of the market."""
        return not np.ptp(self.winners)
