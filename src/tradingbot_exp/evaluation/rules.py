"""The rules by which forecasts become returns: the same for a run, its test set, its reports and its verdict.

``next_return[t]`` is the log return from the close of bar t to the close of bar t + 1, and ``position[t]`` is what is
held over that time, as a share of its symbol's part of wealth (−1 is short, 0 flat, 1 long). Which row is of which date
and symbol a `Layout` says; what is earned has one value a date.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.config.positions import POSITIONS
from tradingbot_exp.errors import ConfigError
from tradingbot_exp.evaluation._arrays import Floats, vectors
from tradingbot_exp.evaluation.metrics.target import NAIVE, neutral_forecast
from tradingbot_exp.evaluation.portfolio import changes_of, shares, sums_by_date, weights_by_date
from tradingbot_exp.evaluation.positions import Signals, Sizing, wanted_positions

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config, EvaluationConfig
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.data.panel import Layout


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
    sizing : Sizing
        The position rule with its numbers.
    borrow_bps : float
        A year's cost of a short position of 1, in basis points of wealth; at least 0, and above it only with `periods`.

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
    sizing: Sizing = field(default_factory=Sizing)
    borrow_bps: float = 0.0

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}; expected at least 1 bar.")
        if self.lag < 0:
            raise ValueError(f"lag is {self.lag}; expected 0 bars or more: a fill cannot come before its signal.")
        if not (np.isfinite(self.cost_bps) and self.cost_bps >= 0):
            raise ValueError(f"cost_bps is {self.cost_bps}; expected a number of basis points, 0 or more.")
        if not (np.isfinite(self.borrow_bps) and self.borrow_bps >= 0):
            raise ValueError(f"borrow_bps is {self.borrow_bps}; expected a number of basis points a year, 0 or more.")
        if self.borrow_bps and self.periods is None:
            raise ValueError(f"borrow_bps is {self.borrow_bps} a year, and periods does not say how many bars that is.")

    @classmethod
    def of(cls, config: Config, data: PreparedData) -> Rules:
        """Return the rules of a configuration on its data.

        Raises
        ------
        ConfigError
            The position rule, or ``evaluation.borrow_bps``, needs what the data do not have.
        DataError
            ``evaluation.periods_per_year=auto``, and the time index does not tell how many bars there are in a year.
        """
        asked = config.evaluation
        _check_needs(asked, data)
        year = None
        if data.next_return is not None:
            year = data.periods_per_year if asked.periods_per_year == "auto" else float(asked.periods_per_year)
        neutral = neutral_forecast(config.training.loss, config.data.target)
        sizing = Sizing.of(config)
        return cls(data.horizon, asked.execution_lag, asked.cost_bps, neutral, year, sizing, asked.borrow_bps)

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

    def positions(self, forecast: ArrayLike, layout: Layout) -> Floats:
        """Return the position held over each bar: what the rule wants of the forecasts (`wanted`), held (`held`)."""
        return self.held(self.wanted(forecast, layout), layout)

    def wanted(
        self,
        forecast: ArrayLike,
        layout: Layout,
        spread: ArrayLike = math.nan,
        volatility: ArrayLike | None = None,
    ) -> Floats:
        """Return the position that the rule wants of each forecast, shape (n,).

        Parameters
        ----------
        forecast : array_like, shape (n,)
            ``forecast[t]`` was made with the close of bar t.
        layout : Layout
        spread : float, or array_like of shape (n,)
            See `Signals`.
        volatility : array_like, shape (n,), optional
            See `Signals`; NaN throughout if it is not given.

        Raises
        ------
        ValueError
            The forecasts are not finite, or the rule lacks what it goes by.
        TrainingError
            See `wanted_positions`.
        """
        (f,) = vectors(forecast=forecast)
        known = np.full(f.shape, np.nan) if volatility is None else np.asarray(volatility, dtype=np.float64)
        spreads = np.broadcast_to(np.asarray(spread, dtype=np.float64), f.shape)
        return wanted_positions(Signals(f - self.neutral, layout, spreads, known, self.sizing))

    def held(self, wanted: Floats, layout: Layout, lag: int | None = None) -> Floats:
        """Return what is held over each bar: the mean of a symbol's last `horizon` values, taken `lag` bars later.

        With horizon h each position is held for h bars, so h positions overlap, each on 1/h of the wealth. Those
        before a symbol's first bar count 0. What is held at row t depends on its symbol's rows up to t − lag alone.

        Parameters
        ----------
        wanted : ndarray, shape (n,)
            Positions, or weights.
        layout : Layout
            Bars are those of each symbol.
        lag : int, optional
            Another one than the rules'.

        Returns
        -------
        ndarray, shape (n,), float64

        References
        ----------
        Jegadeesh & Titman (1993), "Returns to buying winners and selling losers", Journal of Finance 48(1): the
        overlapping portfolios.
        """
        n, first = len(wanted), self.lag if lag is None else lag
        series, age, total = layout.ordered(wanted), layout.ordered(layout.earlier), np.zeros(n)
        for back in range(min(first, n), min(first + self.horizon, n)):
            total[back:] += np.where(age[back:] >= back, series[: n - back], 0.0)
        found = np.empty(n)
        found[layout.by_symbol] = total / self.horizon
        return found

    def weights(self, wanted: Floats, layout: Layout) -> Floats:
        """Return the share of wealth that each wanted position is, shape (n,): of one instrument, the position itself.

        It is the position over the number of symbols that have a row on its date; where the rule has all of wealth at
        work, over Σ |position| of its date, so of ``long_short`` ±½ / k.
        """
        return shares(wanted, layout, invested=layout.is_panel and POSITIONS[self.sizing.rule].invested)

    def earned(self, weight: ArrayLike, next_return: ArrayLike, layout: Layout) -> Earned:
        """Return what weights earn and cost on each date: see `tradingbot_exp.evaluation.portfolio`.

        Parameters
        ----------
        weight : array_like, shape (n,)
            Share of wealth held; before the first bar it is 0, so the first one pays to be entered.
        next_return : array_like, shape (n,)
            One-bar log returns r.
        layout : Layout
        """
        p, r = vectors(weight=weight, next_return=next_return)
        weights = weights_by_date(p, layout)
        changes, gross = changes_of(weights), sums_by_date(p * np.expm1(r), layout)
        short = np.maximum(-weights, 0.0).sum(axis=1)
        return Earned(
            weights, changes, gross, self.cost_bps * 1e-4 * changes, self.borrow_bps * 1e-4 / self.annual * short
        )


class Earned(NamedTuple):
    """What weights earn on D dates, in shares of wealth.

    Attributes
    ----------
    weights : ndarray, shape (D, S)
        Of each symbol.
    changes : ndarray, shape (D,)
        Σ |Δ weight|.
    gross : ndarray, shape (D,)
        Σ weight · (exp(r) − 1), before costs.
    paid, borrowed : ndarray, shape (D,)
        What the changes cost, and what being short does.
    """

    weights: Floats
    changes: Floats
    gross: Floats
    paid: Floats
    borrowed: Floats

    @property
    def net(self) -> Floats:
        """Simple return after all costs, shape (D,)."""
        return self.gross - self.paid - self.borrowed


def buy_and_hold_returns(next_return: ArrayLike, layout: Layout) -> Floats:
    """Return each date's simple return when long from the first one on, at no cost, shape (D,).

    Weights are equal over the symbols that have a row on it: of one instrument it is exp(r) − 1.
    """
    (r,) = vectors(next_return=next_return)
    return sums_by_date(shares(np.expm1(r), layout, invested=False), layout)


def _check_needs(asked: EvaluationConfig, data: PreparedData) -> None:
    """Refuse a position rule, or a cost, that needs what the data do not have."""
    needs = POSITIONS[asked.position].needs
    if needs == "symbols" and not data.symbols:
        raise ConfigError(
            f"evaluation.position={asked.position} weighs symbols against each other, and the data are of one "
            f"instrument, {data.symbol}. Use another rule, such as sign, or data of several symbols."
        )
    if data.next_return is None and (needs == "returns" or asked.borrow_bps):
        said = f"position={asked.position}" if needs == "returns" else f"borrow_bps={asked.borrow_bps:g}"
        raise ConfigError(
            f"evaluation.{said} takes one-bar returns, and the data have none: with data=table, data.returns names "
            "their column."
        )
