"""All numbers of one evaluation, and why those are missing that are not defined."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.config.choices import LAGS, METRICS
from tradingbot_exp.config.plugins import own_metrics
from tradingbot_exp.evaluation._arrays import Floats, is_constant, vectors
from tradingbot_exp.evaluation.metrics import backtest
from tradingbot_exp.evaluation.metrics import forecast as scores
from tradingbot_exp.evaluation.metrics.market import alpha, beta


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a forecast is worth on one set of bars.

    Attributes
    ----------
    metrics : dict of str to float
        The finite ones of `METRICS` and of the user's own, without a prefix such as ``val_``.
    undefined : dict of str to str
        The rest of them, each with its ``not defined, because …``.
    returns : ndarray, shape (n,), or None
        Net simple return of the strategy a bar; None without one-bar returns.
    position : ndarray, shape (n,)
        Share of wealth held over each bar, between −1 and 1.
    lagged_returns : dict of str to ndarray, shape (n,)
        As `returns`, with the execution lags of `LAGS`: ``lag0``, ``lag1``; empty without one-bar returns.
    """

    metrics: dict[str, float]
    undefined: dict[str, str]
    returns: Floats | None
    position: Floats
    lagged_returns: dict[str, Floats] = field(default_factory=dict)


def validation_metrics(
    actual: ArrayLike,
    forecast: ArrayLike,
    next_return: ArrayLike | None,
    train_mean: float,
    *,
    horizon: int,
    lag: int,
    cost_bps: float,
    periods_per_year: float,
    threshold: float,
) -> Evaluation:
    """Judge a forecast by its errors and by the positions that it leads to.

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
        Target and forecast in the target's unit, a value a bar in time order.
    next_return : array_like, shape (n,), or None
        One-bar log return that follows each bar. None leaves `BACKTEST_METRICS` undefined.
    train_mean : float
        Mean of the target over the train rows, the reference of R².
    horizon, lag : int
        Bars ahead that the forecast looks; bars between signal and fill. Metrics with ``_lag0`` and ``_lag1`` in
        their names have a lag of their own.
    cost_bps : float
        Basis points paid for each unit of position change.
    periods_per_year : float
        Bars in a year.
    threshold : float
        The forecast that takes no side: 0 for returns, 0.5 for directions. ``zero_mse`` is the squared error
        of staying there on every bar: that of the zero forecast for returns, and 0.25 for directions.

    Returns
    -------
    Evaluation
        Each name of `METRICS`, and of the user's own, either in ``metrics`` or in ``undefined``.

    Raises
    ------
    ValueError
        An array holds NaN or an infinity, or the lengths differ.
    """
    a, f = vectors(actual=actual, forecast=forecast)
    position = backtest.positions(f, horizon, lag, threshold)
    found = {
        "mse": scores.mse(a, f),
        "mae": scores.mae(a, f),
        "r2": scores.r2(a, f, train_mean),
        "ic": scores.ic(a, f),
        "rank_ic": scores.rank_ic(a, f),
        "hit_rate": scores.hit_rate(a, f, threshold),
        "zero_mse": scores.mse(a, np.full_like(a, threshold)),
    }
    returns = None
    earned: dict[str, Floats] = {}
    held = {"": position} | {f"_lag{other}": backtest.positions(f, horizon, other, threshold) for other in LAGS}
    if next_return is not None:
        a, r = vectors(actual=a, next_return=next_return)
        returns = backtest.strategy_returns(position, r, cost_bps)
        market = backtest.buy_and_hold_returns(r)
        found |= {
            "sharpe": backtest.sharpe(returns, periods_per_year),
            "sortino": backtest.sortino(returns, periods_per_year),
            "max_drawdown": backtest.max_drawdown(returns),
            "turnover": backtest.turnover(position),
            "cagr": backtest.cagr(returns, periods_per_year),
            "calmar": backtest.calmar(returns, periods_per_year),
            "alpha": alpha(returns, market, periods_per_year),
            "beta": beta(returns, market),
            "buy_hold_sharpe": backtest.sharpe(market, periods_per_year),
            "buy_hold_cagr": backtest.cagr(market, periods_per_year),
        }
        for lagged in list(held)[1:]:
            paid = backtest.strategy_returns(held[lagged], r, cost_bps)
            earned[lagged.removeprefix("_")] = paid
            found[f"sharpe{lagged}"] = backtest.sharpe(paid, periods_per_year)
            found[f"cagr{lagged}"] = backtest.cagr(paid, periods_per_year)
    metrics = {name: found[name] for name in METRICS if math.isfinite(found.get(name, math.nan))}
    undefined = {
        name: f"not defined, because {_reason(plain, found.get(name), a, f, held[lagged])}"
        for name in METRICS
        if name not in metrics
        for plain, lagged in [_split(name)]
    }
    return _with_own(Evaluation(metrics, undefined, returns, position, earned), a, f)


def _split(name: str) -> tuple[str, str]:
    """Take ``_lag0`` or ``_lag1`` off a name: what is left, and what was taken."""
    plain, mark, lag = name.partition("_lag")
    return plain, mark + lag


def _reason(name: str, value: float | None, actual: Floats, forecast: Floats, position: Floats) -> str:
    """Say what the input lacks for the metric `name`, whose value is not finite, or None if not computed."""
    if value is None:
        return "no one-bar returns were given (with data=table, data.returns names their column)"
    if math.isinf(value):
        return "it is too large for a 64-bit float"
    if actual.size == 0:
        return "there are no bars"
    if name in ("ic", "rank_ic", "sharpe", "sortino", "buy_hold_sharpe") and actual.size < 2:
        return "it takes at least 2 bars"
    if name in ("sharpe", "sortino", "calmar") and not position.any():
        return "the strategy never takes a position"
    return {
        "r2": "every actual value equals the train mean",
        "ic": "the forecast is constant" if is_constant(forecast) else "the actual values are constant",
        "rank_ic": "the forecast is constant" if is_constant(forecast) else "the actual values are constant",
        "hit_rate": "no actual value lies above or below the threshold",
        "sharpe": "the strategy returns the same on every bar",
        "sortino": "the strategy loses on no bar",
        "calmar": "the strategy never falls below its highest point",
        "alpha": "the market returns the same on every bar",
        "beta": "the market returns the same on every bar",
        "buy_hold_sharpe": "the market returns the same on every bar",
    }.get(name, "its computation gave no number")


def _with_own(evaluation: Evaluation, actual: Floats, forecast: Floats) -> Evaluation:
    """Add the metrics that the user's own modules registered."""
    found = own_metrics(actual, forecast, evaluation.returns)
    finite = {name: value for name, value in found.items() if math.isfinite(value)}
    reason = "not defined, because its function gave no finite number"
    undefined = dict.fromkeys(found.keys() - finite.keys(), reason)
    return replace(evaluation, metrics=evaluation.metrics | finite, undefined=evaluation.undefined | undefined)
