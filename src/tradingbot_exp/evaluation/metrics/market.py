"""What of a strategy's returns is the market's: beta, and alpha, which is left without it."""

from __future__ import annotations

from numpy.typing import ArrayLike

from tradingbot_exp.evaluation._arrays import is_constant, vectors
from tradingbot_exp.evaluation.metrics.backtest import year_root


def beta(returns: ArrayLike, market: ArrayLike) -> float:
    """Share of the market that returns move with: the slope of their regression on the market's.

    Parameters
    ----------
    returns, market : array_like, shape (n,)
        Simple returns a bar, of the strategy and of buy and hold.

    Returns
    -------
    float
        ``nan`` where the market returns the same on every bar.

    References
    ----------
    Jensen (1968), "The performance of mutual funds in the period 1945–1964", Journal of Finance 23(2), for alpha and
    beta; here the riskless rate is 0.
    """
    r, m = vectors(returns=returns, market=market)
    if is_constant(m):
        return float("nan")
    moves = m - m.mean()
    return float(moves @ r / (moves @ moves))


def alpha(returns: ArrayLike, market: ArrayLike, periods_per_year: float) -> float:
    """Mean return a year without the share of the market that the returns move with: see `beta`.

    Parameters
    ----------
    returns, market : array_like, shape (n,)
        See `beta`.
    periods_per_year : float
        Bars in a year, 252 for daily ones.

    Returns
    -------
    float
        Not compounded. ``nan`` where `beta` is.
    """
    r, m = vectors(returns=returns, market=market)
    year_root(periods_per_year)
    return float((r.mean() - beta(r, m) * m.mean()) * periods_per_year) if r.size else float("nan")
