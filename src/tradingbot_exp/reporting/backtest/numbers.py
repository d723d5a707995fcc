"""A run's forecasts as money: positions, returns and what follows from them, computed as its metrics were.

In goes ``evaluation/validation_returns.csv`` as `Artifacts.predictions`, and the run's own rules from its params;
out come frozen records that `tradingbot_exp.reporting.backtest.equity` draws. Arrays hold a value a bar in time
order; wealth and drawdown also hold the start.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradingbot_exp.data.frequency import describe_frequency
from tradingbot_exp.evaluation.metrics import backtest
from tradingbot_exp.evaluation.metrics.intervals import sharpe_interval
from tradingbot_exp.evaluation.metrics.target import neutral_forecast
from tradingbot_exp.evaluation.rules import Rules, buy_and_hold_returns
from tradingbot_exp.evaluation.significance.bootstrap import MIN_BARS, Interval
from tradingbot_exp.tracking.reading.run_record import RunRecord

Floats = NDArray[np.float64]
_LARGEST_LOG = 700.0  # the simple return beyond is no float64
COST_POINTS, LEAST_COST_REACH, MOST_COST_REACH = 61, 10.0, 200.0


@dataclass(frozen=True, eq=False)
class Backtest:
    """What the validation forecasts earned.

    Attributes
    ----------
    rules : Rules
    times : DatetimeIndex or RangeIndex of shape (n + 1,)
        The closes between which returns are earned: return i from ``times[i]`` to ``times[i + 1]``. The last one
        lies after the forecasts and is set by their usual distance.
    position, market : ndarray of shape (n,)
        Share of wealth held; one-bar simple return of the market.
    gross, net : ndarray of shape (n,)
        Simple return of the strategy before and after costs.
    left_out : int
        Bars without all numbers that it takes, or whose return no 64-bit float can hold.
    """

    rules: Rules
    times: pd.Index[Any]
    position: Floats
    market: Floats
    gross: Floats
    net: Floats
    left_out: int = 0

    @property
    def turnover(self) -> float:
        """Mean change of position a bar."""
        return backtest.turnover(self.position)

    @cached_property
    def interval(self) -> Interval:
        """The net Sharpe ratio with its 95 % interval, of blocks at least as long as the horizon."""
        return sharpe_interval(self.net, self.rules)

    def luck(self, window: int) -> float:
        """How far from its mean chance takes the Sharpe ratio of that many bars, 19 times of 20; NaN if not known.

        Half the interval of all n bars, times √(n / window): the spread of a mean of that many bars.
        """
        return (self.interval.high - self.interval.low) / 2.0 * math.sqrt(len(self.net) / window)

    def sharpe(self, returns: Floats) -> float:
        """Sharpe ratio of returns a bar, a year if that is known; NaN if not defined."""
        return backtest.sharpe(returns, self.rules.annual)


@dataclass(frozen=True, eq=False)
class CostCurve:
    """The net Sharpe ratio if a change of position had cost something else.

    Attributes
    ----------
    bps, sharpe : ndarray of shape (m,)
    charged, at_charged : float
        The run's own cost, and the ratio there.
    hold : float
        Buy and hold's ratio, at no cost.
    break_even : float
        The cost in basis points at which the mean net return is 0; below 0 where the strategy loses at no cost,
        NaN where it never trades.
    """

    bps: Floats
    sharpe: Floats
    charged: float
    at_charged: float
    hold: float
    break_even: float


def rules_of(run: RunRecord, predictions: pd.DataFrame | None = None) -> Rules:
    """Read a run's rules from its params and tags; a number that is not there has its default.

    The bars in a year are those of the tag ``periods_per_year``, else of the param, else told from the dates.
    """
    params = run.params
    periods: float | None = _number(run.tags, "periods_per_year") or _number(params, "evaluation.periods_per_year")
    if not periods and predictions is not None and _dated(predictions):
        periods = describe_frequency(pd.DatetimeIndex(predictions["date"])).periods
    neutral = neutral_forecast(params.get("training.loss", "mse"), params.get("data.target", "return"))
    return Rules(
        horizon=max(int(_number(params, "data.horizon")), 1),
        lag=int(_number(params, "evaluation.execution_lag", 1.0)),
        cost_bps=_number(params, "evaluation.cost_bps", 5.0),
        neutral=neutral,
        periods=periods if periods and periods > 0 else None,
    )


def backtest_of(predictions: pd.DataFrame, rules: Rules) -> Backtest | None:
    """Compute gross and net returns from forecasts and the market's returns; None where those are not there.

    Positions are those on record, else they are taken from the forecasts as a run does.
    """
    if not {"forecast", "next_log_return"} <= set(predictions):
        return None
    used = [name for name in ("forecast", "next_log_return", "position") if name in predictions]
    numbers = predictions[used].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    keep = np.isfinite(numbers).all(axis=1) & (numbers[:, 1] < _LARGEST_LOG)
    if not keep.any():
        return None
    forecast, log_return = numbers[keep, 0], numbers[keep, 1]
    position = numbers[keep, 2] if "position" in used else rules.positions(forecast)
    return Backtest(
        rules,
        _closes(predictions.loc[keep]),
        position,
        market=buy_and_hold_returns(log_return),
        gross=replace(rules, cost_bps=0.0).net_returns(position, log_return),
        net=rules.net_returns(position, log_return),
        left_out=int((~keep).sum()),
    )


def wealth(returns: Floats) -> Floats:
    """Compound simple returns from 1, shape (n + 1,); a return of −1 or below is ruin, and wealth stays at 0."""
    with np.errstate(divide="ignore"):
        logs: Floats = np.cumsum(np.log1p(np.maximum(returns, -1.0)))
    return np.concatenate([[1.0], np.exp(logs)])


def drawdown(returns: Floats) -> Floats:
    """Fall of wealth from its highest point so far, the start included, shape (n + 1,), from −1 to 0."""
    path = wealth(returns)
    return np.asarray(path / np.maximum.accumulate(path) - 1.0)


def window_of(bars: int, periods: float | None) -> int:
    """Choose the bars of a rolling window: half a year, but 20 to a third of all; 0 for fewer than `MIN_BARS`."""
    half_a_year = round((periods or 252.0) / 2)
    return 0 if bars < MIN_BARS else max(min(half_a_year, bars // 3), min(20, bars // 2))


def rolling_sharpe(returns: Floats, window: int, periods: float) -> Floats:
    """Sharpe ratio of the last `window` returns at each bar, shape (n,); NaN before, and where they are all equal."""
    rolling = pd.Series(returns).rolling(window)
    std = rolling.std(ddof=1).to_numpy()
    flat = (rolling.max() == rolling.min()).to_numpy() | ~(std > 0)
    return np.where(flat, np.nan, rolling.mean().to_numpy() / np.where(flat, 1.0, std) * math.sqrt(periods))


def monthly_returns(times: pd.Index[Any], returns: Floats) -> pd.DataFrame | None:
    """Compound returns by calendar month of the close that ends each.

    Returns
    -------
    DataFrame or None
        A row a year, columns 1 to 12 and ``year``; NaN where there are no bars. None for bars without dates.
    """
    if not isinstance(times, pd.DatetimeIndex):
        return None
    ends = times[1:]
    growth = pd.Series(np.maximum(1.0 + returns, 0.0))
    by_month = growth.groupby([ends.year, ends.month]).prod().unstack() - 1.0
    table = by_month.reindex(columns=range(1, 13))
    table["year"] = growth.groupby(ends.year).prod() - 1.0
    table.index.name = "year"
    return table


def cost_curve(test: Backtest) -> CostCurve:
    """Vary the cost of a change of position from 0 to well beyond what is charged and where nothing is left."""
    charged, turnover = test.rules.cost_bps, test.turnover
    break_even = float(1e4 * np.mean(test.gross) / turnover) if turnover > 0 else math.nan
    beyond = 1.3 * break_even if math.isfinite(break_even) else 0.0
    reach = max(2.0 * charged, min(beyond, MOST_COST_REACH), LEAST_COST_REACH)
    bps = np.linspace(0.0, reach, COST_POINTS)
    paid = np.abs(np.diff(test.position, prepend=0.0)) * 1e-4
    return CostCurve(
        bps,
        np.array([test.sharpe(test.gross - cost * paid) for cost in bps]),
        charged,
        test.sharpe(test.net),
        test.sharpe(test.market),
        break_even,
    )


def _closes(predictions: pd.DataFrame) -> pd.Index[Any]:
    """Give the dates of the bars and one more, or numbers from 0 where there are no dates."""
    if not _dated(predictions):
        return pd.RangeIndex(len(predictions) + 1)
    dates = pd.DatetimeIndex(predictions["date"])
    usual = np.median(np.diff(dates.to_numpy())) if len(dates) > 1 else np.timedelta64(1, "D")
    return dates.append(pd.DatetimeIndex([dates[-1] + pd.Timedelta(usual)]))


def _dated(predictions: pd.DataFrame) -> bool:
    return "date" in predictions and pd.api.types.is_datetime64_any_dtype(predictions["date"])


def _number(texts: Mapping[str, str], key: str, default: float = 0.0) -> float:
    """Read a finite number from text; the default where there is none, as of ``auto``."""
    try:
        number = float(texts.get(key, "nan"))
    except ValueError:
        return default
    return number if math.isfinite(number) else default
