"""The rules by which forecasts become returns: the same for a run, its test set, its reports and its verdict.

``next_return[t]`` is the log return from the close of bar t to the close of bar t + 1, and ``position[t]`` is what is
held over that time, as a share of wealth (−1 is short, 0 flat, 1 long).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.evaluation._arrays import Floats, vectors
from tradingbot_exp.evaluation.metrics.target import NAIVE, neutral_forecast

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.data import PreparedData


@dataclass(frozen=True)
class Rules:
    """How forecasts become returns.

    Attributes
    ----------
    horizon, lag : int
        Bars ahead that the forecast looks, at least 1; bars between signal and fill, 0 to fill at the close that made
        the signal.
    cost_bps : float
        Cost of changing the position by 1, in basis points (1e-4) of wealth; at least 0.
    neutral : float
        The forecast that takes no side: 0 for returns, 0.5 for directions.
    periods : float or None
        Bars a year, 252 for daily ones; None if unknown, or without one-bar returns: ratios are then those of a bar.

    Raises
    ------
    ValueError
        One of them is out of range.
    """

    horizon: int = 1
    lag: int = 1
    cost_bps: float = 5.0
    neutral: float = 0.0
    periods: float | None = None

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}; expected at least 1 bar.")
        if self.lag < 0:
            raise ValueError(f"lag is {self.lag}; expected 0 bars or more: a fill cannot come before its signal.")
        if not (np.isfinite(self.cost_bps) and self.cost_bps >= 0):
            raise ValueError(f"cost_bps is {self.cost_bps}; expected a number of basis points, 0 or more.")

    @classmethod
    def of(cls, config: Config, data: PreparedData) -> Rules:
        """Return the rules of a configuration on its data.

        Raises
        ------
        DataError
            ``evaluation.periods_per_year=auto``, and the time index does not tell how many bars there are in a year.
        """
        asked = config.evaluation
        year = None
        if data.next_return is not None:
            year = data.periods_per_year if asked.periods_per_year == "auto" else float(asked.periods_per_year)
        neutral = neutral_forecast(config.training.loss, config.data.target)
        return cls(data.horizon, asked.execution_lag, asked.cost_bps, neutral, year)

    @property
    def annual(self) -> float:
        """Bars a year, or 1."""
        return 1.0 if self.periods is None else self.periods

    @property
    def per(self) -> str:
        """What a ratio is for: ``a year``, or ``a bar``."""
        return "a bar" if self.periods is None else "a year"

    @property
    def naive(self) -> str:
        """What the forecast that takes no side is called."""
        return NAIVE[self.neutral]

    def positions(self, forecast: ArrayLike, lag: int | None = None) -> Floats:
        """Return the position held over each bar: the mean of the last `horizon` signs, taken `lag` bars later.

        With horizon h each signal is held for h bars, so h signals overlap, each on 1/h of the wealth. Signals
        before the first bar count 0. ``position[t]`` depends on ``forecast[: t - lag + 1]`` alone.

        Parameters
        ----------
        forecast : array_like, shape (n,)
            ``forecast[t]`` was made with the close of bar t.
        lag : int, optional
            Another one than the rules'.

        Returns
        -------
        ndarray, shape (n,), float64
            Between −1 and 1.

        References
        ----------
        Jegadeesh & Titman (1993), "Returns to buying winners and selling losers", Journal of Finance 48(1): the
        overlapping portfolios.
        """
        (f,) = vectors(forecast=forecast)
        lag = self.lag if lag is None else lag
        # Sums of signs are whole numbers, so the running difference is exact.
        total = np.concatenate([np.zeros(self.horizon), np.cumsum(np.sign(f - self.neutral))])
        held = (total[self.horizon :] - total[: -self.horizon]) / self.horizon
        return np.concatenate([np.zeros(min(lag, f.size)), held[: max(f.size - lag, 0)]])

    def net_returns(self, position: ArrayLike, next_return: ArrayLike) -> Floats:
        """Return the net simple return of each bar, position · (exp(r) − 1) − cost · |Δ position|.

        Parameters
        ----------
        position : array_like, shape (n,)
            Share of wealth held; before the first bar it is 0, so the first position pays to be entered.
        next_return : array_like, shape (n,)
            One-bar log returns r.
        """
        p, r = vectors(position=position, next_return=next_return)
        return np.asarray(p * np.expm1(r) - self.cost_bps * 1e-4 * changes_of(p))


def buy_and_hold_returns(next_return: ArrayLike) -> Floats:
    """Return each bar's simple return when long from the first one on, at no cost: exp(r) − 1, shape (n,)."""
    (r,) = vectors(next_return=next_return)
    return np.asarray(np.expm1(r))


def changes_of(position: Floats) -> Floats:
    """Return the absolute change of position at each bar, shape (n,), flat before the first."""
    return np.abs(np.diff(position, prepend=0.0))
