"""What the returns of a strategy risk, and what it holds: the numbers of a tear sheet beside its ratios.

Arrays have the shape (n,), a value a bar in time order, unless said otherwise. NaN or an infinity in an input raises
`ValueError` with the argument's name; a number that is not defined comes back as ``nan``, never as 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.evaluation._arrays import Floats, is_constant, vectors
from tradingbot_exp.evaluation.metrics.backtest import log_wealth, year_root

TAIL = 0.05
"""Share of the bars that VaR and CVaR are about."""
MOST = 5
"""Drawdowns that are told."""


def volatility(returns: ArrayLike, periods_per_year: float) -> float:
    """Annualised volatility: std (ddof 1) · √periods.

    Parameters
    ----------
    returns, periods_per_year
        See `tradingbot_exp.evaluation.metrics.backtest.sharpe`.

    Returns
    -------
    float
        ``nan`` for fewer than 2 bars.

    References
    ----------
    Bacon (2008), "Practical Portfolio Performance Measurement and Attribution", 2nd ed., chapter 4: annualised risk.
    """
    year = year_root(periods_per_year)
    (r,) = vectors(returns=returns)
    return float(r.std(ddof=1) * year) if r.size > 1 else float("nan")


def skewness(returns: ArrayLike) -> float:
    """Skewness, corrected for the number of bars: below 0 where losses are larger and rarer than gains.

    Parameters
    ----------
    returns : array_like, shape (n,)
        Simple returns a bar.

    Returns
    -------
    float
        ``nan`` for fewer than 3 bars, or if every return is the same.

    References
    ----------
    Joanes & Gill (1998), "Comparing measures of sample skewness and kurtosis", The Statistician 47(1): G₁.
    """
    (r,) = vectors(returns=returns)
    n = r.size
    if n < 3 or is_constant(r):
        return float("nan")
    moves = (r - r.mean()) / np.abs(r - r.mean()).max()  # of size 1, so that no power of them is lost
    return float(np.mean(moves**3) / np.mean(moves**2) ** 1.5 * np.sqrt(n * (n - 1)) / (n - 2))


def value_at_risk(returns: ArrayLike) -> float:
    """Historical value at risk: the return that a share `TAIL` of the bars do not exceed.

    Parameters
    ----------
    returns : array_like, shape (n,)
        Simple returns a bar.

    Returns
    -------
    float
        A return, so that −0.02 is a loss of 2 %, interpolated between those observed; ``nan`` for no bars.

    References
    ----------
    Jorion (2006), "Value at Risk", 3rd ed., chapter 5: the nonparametric VaR, there with the sign of a loss.
    """
    (r,) = vectors(returns=returns)
    return float(np.quantile(r, TAIL)) if r.size else float("nan")


def expected_shortfall(returns: ArrayLike) -> float:
    """Conditional value at risk (CVaR, expected shortfall): the mean of the returns up to `value_at_risk`.

    Parameters
    ----------
    returns
        See `value_at_risk`.

    Returns
    -------
    float
        At most `value_at_risk`, a return as well; ``nan`` for no bars.

    References
    ----------
    Rockafellar & Uryasev (2002), "Conditional value-at-risk for general loss distributions", Journal of Banking &
    Finance 26(7).
    """
    (r,) = vectors(returns=returns)
    return float(r[r <= np.quantile(r, TAIL)].mean()) if r.size else float("nan")


class Drawdown(NamedTuple):
    """A fall of wealth from a peak until that is reached again.

    Attributes
    ----------
    depth : float
        At the trough, between −1 and 0.
    peak, trough : int
        Bars after which wealth was highest, and lowest: 0 is the start, k the end of bar k − 1.
    recovery : int or None
        When wealth was at the peak's level again; None if it was not.
    """

    depth: float
    peak: int
    trough: int
    recovery: int | None


def drawdowns(returns: ArrayLike) -> list[Drawdown]:
    """Return the deepest falls of wealth, `MOST` of them, the deepest first; no two overlap.

    Parameters
    ----------
    returns : array_like, shape (n,)
        Simple returns a bar, compounded from a wealth of 1. A return of −1 or below is ruin, and wealth stays at 0.

    References
    ----------
    Bacon (2008), see `volatility`, chapter 4: individual drawdowns, and the time to recover from them.
    """
    (r,) = vectors(returns=returns)
    wealth = log_wealth(r)
    highest = np.maximum.accumulate(wealth)
    below = wealth < highest
    edges = np.flatnonzero(np.diff(np.concatenate([[False], below, [False]])))
    found = []
    for first, end in edges.reshape(-1, 2):  # below the peak from `first` to `end` − 1
        trough = int(first + np.argmin(wealth[first:end]))
        depth = float(np.expm1(wealth[trough] - highest[trough]))
        found.append(Drawdown(depth, int(first) - 1, trough, int(end) if end < len(wealth) else None))
    return sorted(found, key=lambda each: each.depth)[:MOST]


class Trades(NamedTuple):
    """What is held: the number of spans on one side, each of one symbol, and their mean length in bars."""

    number: int
    bars: float


def trades(weights: Floats) -> Trades:
    """Count the trades: spans of bars over which a symbol is held without a break and on the same side.

    Parameters
    ----------
    weights : ndarray, shape (n, S)
        Share of wealth in each symbol over each bar.

    Returns
    -------
    Trades
        `bars` is ``nan`` where nothing is held. The last span counts with the bars that it has.
    """
    side = np.sign(weights)
    held = side != 0
    opened = int((held & (np.diff(side, axis=0, prepend=0.0) != 0)).sum())
    return Trades(opened, float(held.sum() / opened) if opened else float("nan"))
