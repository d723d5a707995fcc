"""Confidence intervals of all metrics of one evaluation, from one set of resamples that they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradingbot_exp.evaluation._arrays import Floats, vectors
from tradingbot_exp.evaluation.metrics import backtest
from tradingbot_exp.evaluation.metrics import forecast as scores
from tradingbot_exp.evaluation.metrics.evaluate import Evaluation
from tradingbot_exp.evaluation.metrics.market import alpha, beta
from tradingbot_exp.evaluation.significance.bootstrap import (
    DRAWS,
    MIN_BARS,
    Interval,
    block_length,
    block_lengths,
    bootstrap_interval,
    draws_for,
    stationary_indices,
)

LEVEL = 0.95
_AT_ONCE = 2**20
_MOSTLY = 0.9  # share of the resamples on which a metric has to be defined

Statistic = Callable[[NDArray[np.int64]], float]


@dataclass(frozen=True)
class Intervals:
    """Percentile intervals by metric.

    Attributes
    ----------
    bounds : dict of str to (float, float)
        Low and high, in the metric's unit.
    problem : str
        ``not defined, because …`` if there are none; else empty.
    block : float
        Mean block length of the resamples, in bars.
    draws : int
    """

    bounds: dict[str, tuple[float, float]]
    problem: str
    block: float
    draws: int


def metric_intervals(
    actual: ArrayLike,
    next_return: ArrayLike | None,
    train_mean: float,
    judged: Mapping[str, tuple[ArrayLike, Evaluation]],
    *,
    horizon: int,
    periods_per_year: float,
    threshold: float,
    draws: int = DRAWS,
    seed: int = 0,
) -> Intervals:
    """Give 95 % intervals of what `validation_metrics` computes, for several forecasts of the same bars.

    Bars are drawn in blocks, with their target, their forecasts and their returns after costs: positions are those
    that were held, and are not formed anew. The mean block length is the longest that squared errors, or any of the
    returns, ask for, and at least the horizon. All metrics share the resamples, so that model and rivals can be
    compared.

    Parameters
    ----------
    actual : array_like, shape (n,)
    next_return : array_like, shape (n,), or None
        See `validation_metrics`.
    train_mean : float
        The reference of R².
    judged : mapping of str to (forecast, Evaluation)
        Forecasts, shape (n,), by the prefix of their metrics' names (empty for the model), with their evaluation.
    horizon : int
    periods_per_year, threshold : float
    draws, seed : int
        Resamples; fewer, but at least 500, of more than 10,000 bars.

    Returns
    -------
    Intervals
        Without the metrics that are not defined on the bars, or not on a tenth of the resamples. None at all for
        fewer than 30 bars.

    References
    ----------
    Politis & Romano (1994), "The stationary bootstrap", JASA 89(428); Efron & Tibshirani (1993), "An introduction to
    the bootstrap", chapter 13, for the percentile interval.
    """
    (a,) = vectors(actual=actual)
    n = len(a)
    if n < MIN_BARS:
        return Intervals(
            {}, f"not defined, because there are {n} bars, and a bootstrap takes at least {MIN_BARS}", 0, 0
        )
    market = None if next_return is None else backtest.buy_and_hold_returns(next_return)
    statistics: dict[str, Statistic] = {}
    guides = [] if market is None else [market]
    for prefix, (forecast, evaluation) in judged.items():
        (f,) = vectors(forecast=forecast)
        own = _forecast_statistics(a, f, train_mean, threshold)
        if evaluation.returns is not None:
            own |= _trading_statistics(evaluation, periods_per_year)
            if market is not None:
                own |= _market_statistics(evaluation.returns, market, periods_per_year)
            guides.append(evaluation.returns)
            for name, earned in evaluation.lagged_returns.items():
                own |= _lagged_statistics(name, earned, periods_per_year)
        statistics |= {f"{prefix}{name}": each for name, each in own.items() if name in evaluation.metrics}
        guides.append((a - f) ** 2)
    neutral, mean = (a - threshold) ** 2, (a - train_mean) ** 2
    statistics |= {"zero_mse": lambda i: float(neutral[i].mean()), "train_mean_mse": lambda i: float(mean[i].mean())}
    if market is not None:
        statistics["buy_hold_sharpe"] = lambda i: backtest.sharpe(market[i], periods_per_year)
        statistics["buy_hold_cagr"] = lambda i: backtest.cagr(market[i], periods_per_year)
    block = min(max(float(block_lengths(np.stack(guides, axis=1)).max()), float(horizon)), float(n))
    draws = min(draws, draws_for(n))
    return Intervals(_bounds(statistics, n, block, draws, seed), "", block, draws)


def ic_interval(actual: ArrayLike, forecast: ArrayLike, horizon: int) -> Interval:
    """Give the information coefficient with its 95 % interval, of bars drawn in blocks.

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
    horizon : int
        Blocks are at least as long.
    """
    pair = np.stack(vectors(actual=actual, forecast=forecast))
    together = np.prod(pair - pair.mean(axis=1, keepdims=True), axis=0)
    return _interval(pair, _correlations, together, horizon)


def sharpe_interval(returns: ArrayLike, periods_per_year: float, horizon: int) -> Interval:
    """Give the Sharpe ratio a year with its 95 % interval; see `ic_interval`."""
    (r,) = vectors(returns=returns)
    return _interval(r, lambda values: backtest.sharpe_ratios(values, periods_per_year), r, horizon)


def alpha_interval(returns: ArrayLike, market: ArrayLike, periods_per_year: float, horizon: int) -> Interval:
    """Give alpha a year with its 95 % interval; see `ic_interval`, and `tradingbot_exp.evaluation.metrics.market`."""
    r, m = vectors(returns=returns, market=market)
    slope = beta(r, m)
    rest = r - slope * m if math.isfinite(slope) else r
    return _interval(np.stack([r, m]), lambda pairs: periods_per_year * _alphas(pairs), rest, horizon)


def _interval(series: Floats, statistic: Callable[[Floats], Floats], guide: Floats, horizon: int) -> Interval:
    n = series.shape[-1]
    block = block_length(guide) if n >= MIN_BARS else None
    return bootstrap_interval(series, statistic, draws=draws_for(n), block=block, horizon=horizon)


def _correlations(pairs: Floats) -> Floats:
    """Correlate pairs of shape (..., 2, n); NaN where one is constant."""
    moves = pairs - pairs.mean(axis=-1, keepdims=True)
    first, second = moves[..., 0, :], moves[..., 1, :]
    size = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    return np.asarray((first * second).sum(axis=-1) / np.where(size > 0, size, np.nan))


def _alphas(pairs: Floats) -> Floats:
    """Give alpha a bar, of returns and the market's of shape (..., 2, n); NaN where the market is constant."""
    means = pairs.mean(axis=-1)
    moves = pairs - means[..., None]
    spread = (moves[..., 1, :] ** 2).sum(axis=-1)
    slope = (moves[..., 0, :] * moves[..., 1, :]).sum(axis=-1) / np.where(spread > 0, spread, np.nan)
    return np.asarray(means[..., 0] - slope * means[..., 1])


def _forecast_statistics(a: Floats, f: Floats, mean: float, threshold: float) -> dict[str, Statistic]:
    return {
        "mse": lambda i: scores.mse(a[i], f[i]),
        "mae": lambda i: scores.mae(a[i], f[i]),
        "r2": lambda i: scores.r2(a[i], f[i], mean),
        "ic": lambda i: scores.ic(a[i], f[i]),
        "rank_ic": lambda i: scores.rank_ic(a[i], f[i]),
        "hit_rate": lambda i: scores.hit_rate(a[i], f[i], threshold),
    }


def _trading_statistics(evaluation: Evaluation, periods_per_year: float) -> dict[str, Statistic]:
    (r,) = vectors(returns=evaluation.returns if evaluation.returns is not None else [])
    changes = np.abs(np.diff(evaluation.position, prepend=0.0))
    return {
        "sharpe": lambda i: backtest.sharpe(r[i], periods_per_year),
        "sortino": lambda i: backtest.sortino(r[i], periods_per_year),
        "max_drawdown": lambda i: backtest.max_drawdown(r[i]),
        "turnover": lambda i: float(changes[i].mean()),
        "cagr": lambda i: backtest.cagr(r[i], periods_per_year),
        "calmar": lambda i: backtest.calmar(r[i], periods_per_year),
    }


def _market_statistics(returns: Floats, market: Floats, periods_per_year: float) -> dict[str, Statistic]:
    return {
        "alpha": lambda i: alpha(returns[i], market[i], periods_per_year),
        "beta": lambda i: beta(returns[i], market[i]),
    }


def _lagged_statistics(lag: str, returns: Floats, periods_per_year: float) -> dict[str, Statistic]:
    return {
        f"sharpe_{lag}": lambda i: backtest.sharpe(returns[i], periods_per_year),
        f"cagr_{lag}": lambda i: backtest.cagr(returns[i], periods_per_year),
    }


def _bounds(
    statistics: Mapping[str, Statistic], n: int, block: float, draws: int, seed: int
) -> dict[str, tuple[float, float]]:
    rng = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // n)
    drawn = np.empty((draws, len(statistics)))
    for start in range(0, draws, at_once):
        part = stationary_indices(n, block, min(at_once, draws - start), rng)
        for row, index in enumerate(part, start):
            drawn[row] = [each(index) for each in statistics.values()]
    bounds = {}
    for name, values in zip(statistics, drawn.T, strict=True):
        finite = values[np.isfinite(values)]
        if finite.size >= _MOSTLY * draws:
            low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            if math.isfinite(low) and math.isfinite(high):
                bounds[name] = (float(low), float(high))
    return bounds
