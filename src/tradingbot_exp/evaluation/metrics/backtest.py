"""What the returns of a strategy are worth: ratios, drawdown, growth, and what of them is the market's.

Arrays have the shape (n,), a value a bar in time order. NaN or an infinity in an input raises `ValueError` with the
argument's name; a number that is not defined comes back as ``nan``, never as 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.evaluation._arrays import Floats, is_constant, vectors


def sharpe(returns: ArrayLike, periods_per_year: float) -> float:
    """Annualised Sharpe ratio against a rate of 0: mean / std (ddof 1) · √periods.

    Parameters
    ----------
    returns : array_like, shape (n,)
        Simple returns a bar.
    periods_per_year : float
        Bars in a year, 252 for daily ones.

    Returns
    -------
    float
        ``nan`` for fewer than 2 bars, or if every return is the same.

    References
    ----------
    Sharpe (1994), "The Sharpe ratio", Journal of Portfolio Management 21(1), equations 3 to 6.
    """
    year_root(periods_per_year)
    (r,) = vectors(returns=returns)
    return float("nan") if is_constant(r) else float(sharpe_ratios(r, periods_per_year))


def sharpe_ratios(returns: Floats, periods_per_year: float) -> Floats:
    """Compute `sharpe` of many series at once: shape (..., n) to shape (...), NaN for a constant series."""
    flat = returns.max(axis=-1) == returns.min(axis=-1)
    scaled = returns / np.where(flat, 1.0, np.abs(returns).max(axis=-1))[..., None]
    std = np.where(flat, np.nan, scaled.std(axis=-1, ddof=1))
    return np.asarray(scaled.mean(axis=-1) / std * year_root(periods_per_year))


def sortino(returns: ArrayLike, periods_per_year: float) -> float:
    """Annualised Sortino ratio against a target of 0: mean / √mean(min(r, 0)²) · √periods.

    Parameters
    ----------
    returns : array_like, shape (n,)
        Simple returns a bar. The downside is averaged over all bars, not over the losing ones.
    periods_per_year : float
        Bars in a year, 252 for daily ones.

    Returns
    -------
    float
        ``nan`` for fewer than 2 bars, or if no return is below 0.

    References
    ----------
    Sortino & Price (1994), "Performance measurement in a downside risk framework", Journal of Investing 3(3).
    """
    year = year_root(periods_per_year)
    (r,) = vectors(returns=returns)
    loss = np.minimum(r, 0.0)
    if r.size < 2 or not loss.any():
        return float("nan")
    worst = -loss.min()
    return float((r / worst).mean() / np.sqrt(np.mean((loss / worst) ** 2)) * year)


def max_drawdown(returns: ArrayLike) -> float:
    """Deepest fall of wealth from its highest point so far, the starting 1.0 included.

    Parameters
    ----------
    returns : array_like, shape (n,)
        Simple returns a bar, compounded. A return of −1 or below is ruin, and wealth stays at 0.

    Returns
    -------
    float
        Between −1 and 0: −0.25 is a loss of a quarter. ``nan`` for no bars.

    References
    ----------
    Bacon (2008), see `cagr`, chapter 4: the largest individual drawdown.
    """
    (r,) = vectors(returns=returns)
    if not r.size:
        return float("nan")
    wealth = log_wealth(r)
    return float(np.expm1(np.min(wealth - np.maximum.accumulate(wealth))))


def log_wealth(returns: Floats) -> Floats:
    """Return the logarithm of wealth from the starting 1.0 on, shape (n + 1,): −∞ from a return of −1 or below on."""
    with np.errstate(divide="ignore"):
        return np.concatenate([[0.0], np.cumsum(np.log1p(np.maximum(returns, -1.0)))])


def cagr(returns: ArrayLike, periods_per_year: float) -> float:
    """Compound annual growth rate, Π(1 + r)^(periods / n) − 1.

    Parameters
    ----------
    returns : array_like, shape (n,)
        Simple returns a bar. A return of −1 or below is ruin: −1.
    periods_per_year : float
        Bars in a year, 252 for daily ones. Few bars are blown up: a month's 5 % is 80 % a year.

    Returns
    -------
    float
        At least −1: 0.1 is a tenth more a year. ``nan`` for no bars, ``inf`` where it is too large for a float.

    References
    ----------
    Bacon (2008), "Practical Portfolio Performance Measurement and Attribution", 2nd ed., chapter 2: the geometric
    mean return, annualised.
    """
    year_root(periods_per_year)
    (r,) = vectors(returns=returns)
    if not r.size:
        return float("nan")
    with np.errstate(divide="ignore", over="ignore"):  # the logarithm of 0 is ruin
        return float(np.expm1(np.mean(np.log1p(np.maximum(r, -1.0))) * periods_per_year))


def calmar(returns: ArrayLike, periods_per_year: float) -> float:
    """Calmar ratio: the compound annual growth rate over the depth of the maximum drawdown, over all bars.

    Parameters
    ----------
    returns : array_like, shape (n,)
        Simple returns a bar.
    periods_per_year : float
        Bars in a year, 252 for daily ones.

    Returns
    -------
    float
        ``nan`` for no bars, or if wealth never falls below its highest point.

    References
    ----------
    Young (1991), "Calmar ratio: a smoother tool", Futures 20(1); there over the last 36 months.
    """
    fall = -max_drawdown(returns)
    return cagr(returns, periods_per_year) / fall if fall > 0 else float("nan")


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


def year_root(periods_per_year: float) -> float:
    """Factor that annualises a ratio."""
    if not (np.isfinite(periods_per_year) and periods_per_year > 0):
        raise ValueError(f"periods_per_year is {periods_per_year}; expected a number above 0, such as 252.")
    return float(np.sqrt(periods_per_year))
