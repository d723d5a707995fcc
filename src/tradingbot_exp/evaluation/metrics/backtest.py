"""From forecasts to positions, returns after costs, and what is said about them.

Arrays have the shape (n,), a value a bar in time order. ``next_return[t]`` is the log return from the close
of bar t to the close of bar t + 1, and ``position[t]`` is what is held over that time, as a share of wealth
(−1 is short, 0 flat, 1 long). NaN or an infinity in an input raises `ValueError` with the argument's name; a
number that is not defined comes back as ``nan``, never as 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.evaluation._arrays import Floats, is_constant, vectors


def positions(forecast: ArrayLike, horizon: int = 1, lag: int = 1, threshold: float = 0.0) -> Floats:
    """Position held over each bar: the mean of the last `horizon` signs, taken `lag` bars later.

    With horizon h each signal is held for h bars, so h signals overlap, each on 1/h of the wealth. Signals
    before the first bar count 0. ``position[t]`` depends on ``forecast[: t - lag + 1]`` alone.

    Parameters
    ----------
    forecast : array_like, shape (n,)
        ``forecast[t]`` was made with the close of bar t.
    horizon : int
        Bars ahead that the forecast looks, at least 1.
    lag : int
        Bars between signal and fill; 0 fills at the close that made the signal.
    threshold : float
        The forecast that takes no side: 0 for returns, 0.5 for directions.

    Returns
    -------
    ndarray, shape (n,), float64
        Between −1 and 1.

    References
    ----------
    Jegadeesh & Titman (1993), "Returns to buying winners and selling losers", Journal of Finance 48(1): the
    overlapping portfolios.
    """
    if horizon < 1:
        raise ValueError(f"horizon is {horizon}; expected at least 1 bar.")
    if lag < 0:
        raise ValueError(f"lag is {lag}; expected 0 bars or more: a fill cannot come before its signal.")
    (f,) = vectors(forecast=forecast)
    # Sums of signs are whole numbers, so the running difference is exact.
    total = np.concatenate([np.zeros(horizon), np.cumsum(np.sign(f - threshold))])
    held = (total[horizon:] - total[:-horizon]) / horizon
    return np.concatenate([np.zeros(min(lag, f.size)), held[: max(f.size - lag, 0)]])


def strategy_returns(position: ArrayLike, next_return: ArrayLike, cost_bps: float) -> Floats:
    """Net simple return of each bar, position · (exp(r) − 1) − cost · |Δ position|.

    Parameters
    ----------
    position : array_like, shape (n,)
        Share of wealth held; before the first bar it is 0, so the first position pays to be entered.
    next_return : array_like, shape (n,)
        One-bar log returns.
    cost_bps : float
        Cost of changing the position by 1, in basis points (1e-4) of wealth; at least 0.

    Returns
    -------
    ndarray, shape (n,), float64
        Simple returns.
    """
    if not (np.isfinite(cost_bps) and cost_bps >= 0):
        raise ValueError(f"cost_bps is {cost_bps}; expected a number of basis points, 0 or more.")
    p, r = vectors(position=position, next_return=next_return)
    return np.asarray(p * np.expm1(r) - cost_bps * 1e-4 * changes_of(p))


def buy_and_hold_returns(next_return: ArrayLike) -> Floats:
    """Compute each bar's simple return when long from the first one on, at no cost: exp(r) − 1.

    Parameters
    ----------
    next_return : array_like, shape (n,)
        One-bar log returns.

    Returns
    -------
    ndarray, shape (n,), float64
        Simple returns.
    """
    (r,) = vectors(next_return=next_return)
    return np.asarray(np.expm1(r))


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
    year = year_root(periods_per_year)
    (r,) = vectors(returns=returns)
    if is_constant(r):
        return float("nan")
    r = r / np.max(np.abs(r))
    return float(r.mean() / r.std(ddof=1) * year)


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
    with np.errstate(divide="ignore"):  # the logarithm of 0 is ruin
        wealth = np.concatenate([[0.0], np.cumsum(np.log1p(np.maximum(r, -1.0)))])
    return float(np.expm1(np.min(wealth - np.maximum.accumulate(wealth))))


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


def turnover(position: ArrayLike) -> float:
    """Mean change of position a bar, mean(|Δ position|), starting flat.

    Parameters
    ----------
    position : array_like, shape (n,)
        Share of wealth held.

    Returns
    -------
    float
        Between 0 and 2 for positions within ±1: 2 is from long to short, or back, at each bar. ``nan`` for no
        bars.

    References
    ----------
    DeMiguel, Garlappi & Uppal (2009), "Optimal versus naive diversification", Review of Financial Studies 22(5), where
    turnover is the mean sum of absolute trades; there against weights that have drifted with prices.
    """
    (p,) = vectors(position=position)
    return float(np.mean(changes_of(p))) if p.size else float("nan")


def changes_of(position: Floats) -> Floats:
    """Compute the absolute change of position at each bar, shape (n,), flat before the first."""
    return np.abs(np.diff(position, prepend=0.0))


def year_root(periods_per_year: float) -> float:
    """Factor that annualises a ratio."""
    if not (np.isfinite(periods_per_year) and periods_per_year > 0):
        raise ValueError(f"periods_per_year is {periods_per_year}; expected a number above 0, such as 252.")
    return float(np.sqrt(periods_per_year))
