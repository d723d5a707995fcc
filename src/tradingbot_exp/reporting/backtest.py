"""A run's forecasts as money: positions and returns, computed as its metrics were.

In goes ``evaluation/validation_returns.csv`` as `Artifacts.predictions`, and the run's own rules from its params; the
sections of reports draw the frozen record that comes out. Arrays hold a value a bar in time order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tradingbot_exp.data.frequency import describe_frequency
from tradingbot_exp.data.panel import Layout, layout_of
from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.metrics import backtest
from tradingbot_exp.evaluation.metrics.intervals import sharpe_interval
from tradingbot_exp.evaluation.metrics.target import neutral_forecast
from tradingbot_exp.evaluation.portfolio import sums_by_symbol
from tradingbot_exp.evaluation.positions import Sizing
from tradingbot_exp.evaluation.rules import Rules, buy_and_hold_returns
from tradingbot_exp.evaluation.significance.bootstrap import MIN_BARS, Interval
from tradingbot_exp.tracking.reading.run_record import RunRecord

_LARGEST_LOG = 700.0  # the simple return beyond is no float64


@dataclass(frozen=True, eq=False)
class Backtest:
    """What the validation forecasts earned.

    Attributes
    ----------
    rules : Rules
    times : DatetimeIndex or RangeIndex of shape (n + 1,)
        The closes between which returns are earned: return i from ``times[i]`` to ``times[i + 1]``. The last one
        lies after the forecasts and is set by their usual distance.
    layout : Layout
        The date and symbol of each row.
    weights, earned : ndarray of shape (n, S)
        Share of wealth in each of S symbols, and what it earned before all costs: of one instrument its position.
    market : ndarray of shape (n,)
        One-bar simple return of the market.
    changes : ndarray of shape (n,)
        Σ |Δ weight|: of one instrument the absolute change of position.
    gross, net : ndarray of shape (n,)
        Simple return of the strategy before and after all costs.
    borrowed : ndarray of shape (n,)
        What being short costs.
    left_out : int
        Rows without all numbers that it takes, or whose return no 64-bit float can hold; rows of another program that
        has a date of a symbol twice.
    """

    rules: Rules
    times: pd.Index[Any]
    layout: Layout
    weights: Floats
    earned: Floats
    market: Floats
    changes: Floats
    gross: Floats
    net: Floats
    borrowed: Floats
    left_out: int = 0

    @property
    def turnover(self) -> float:
        """Mean change of position a bar."""
        return float(np.mean(self.changes))

    @cached_property
    def interval(self) -> Interval:
        """The net Sharpe ratio with its 95 % interval, of blocks at least as long as the horizon."""
        return sharpe_interval(self.net, self.rules)

    def luck(self, window: int) -> float:
        """How far from its mean chance takes the Sharpe ratio of that many bars, 19 times of 20; NaN if not known.

        Half the interval of all n bars, times √(n / window): the spread of a mean of that many bars.
        """
        return (self.interval.high - self.interval.low) / 2.0 * math.sqrt(len(self.net) / window)

    @property
    def break_even(self) -> float:
        """The cost in basis points of a change of position at which the mean net return is 0.

        Below 0 where the strategy loses at no cost, NaN where it never trades.
        """
        earned = np.mean(self.gross - self.borrowed)
        return float(1e4 * earned / self.turnover) if self.turnover > 0 else math.nan

    def sharpe(self, returns: Floats) -> float:
        """Sharpe ratio of returns a bar, a year if that is known; NaN if not defined."""
        return backtest.sharpe(returns, self.rules.annual)


def rules_of(run: RunRecord, predictions: pd.DataFrame | None = None) -> Rules:
    """Read a run's rules from its params and tags.

    A number that is not there has its default, and one that is out of range the nearest that is possible. The bars
    in a year are those of the tag ``periods_per_year``, else of the param, else told from the dates.
    """
    params = run.params
    periods: float | None = _number(run.tags, "periods_per_year") or _number(params, "evaluation.periods_per_year")
    if not periods and predictions is not None and _dated(predictions):
        periods = describe_frequency(pd.DatetimeIndex(predictions["date"].unique())).periods
    borrowed = max(_number(params, "evaluation.borrow_bps"), 0.0)
    neutral = neutral_forecast(params.get("training.loss", "mse"), params.get("data.target", "return"))
    return Rules(
        horizon=max(int(_number(params, "data.horizon")), 1),
        lag=max(int(_number(params, "evaluation.execution_lag", 1.0)), 0),
        cost_bps=max(_number(params, "evaluation.cost_bps", 5.0), 0.0),
        neutral=neutral,
        sizing=Sizing(min_symbols=max(int(_number(params, "evaluation.min_symbols", 3.0)), 2)),
        periods=periods if periods and periods > 0 else None,
        borrow_bps=borrowed if periods and periods > 0 else 0.0,
    )


def backtest_of(predictions: pd.DataFrame, rules: Rules, later: int = 0) -> Backtest | None:
    """Compute gross and net returns from forecasts and the market's returns; None where those are not there.

    Positions are those on record; where another program recorded none, they are the signs of the forecasts. They are
    taken so many bars `later`, at least 0, than they were.
    """
    held = "weight" if "symbol" in predictions else "position"
    needed = {"forecast", "next_log_return"} | ({"date", "weight"} if held == "weight" else set())
    if not needed <= set(predictions):
        return None
    used = [name for name in ("forecast", "next_log_return", held) if name in predictions]
    numbers = predictions[used].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    keep = np.isfinite(numbers).all(axis=1) & (numbers[:, 1] < _LARGEST_LOG)
    if held == "weight":
        keep &= ~predictions.duplicated(["date", "symbol"]).to_numpy()
    if not keep.any():
        return None
    kept, numbers = predictions.loc[keep], numbers[keep]
    layout = Layout.of_one(len(kept))
    if held == "weight":
        layout, order = layout_of(kept["date"], kept["symbol"], kept.get("dates_ahead"))
        kept, numbers = kept.iloc[order], numbers[order]
    log_return = numbers[:, 1]
    position = numbers[:, 2] if held in used else rules.positions(numbers[:, 0], layout)
    position = replace(rules, horizon=1).held(position, layout, later)
    earned = rules.earned(position, log_return, layout)
    return Backtest(
        rules,
        closes_of(kept.iloc[layout.starts]),
        layout,
        earned.weights,
        sums_by_symbol(position * np.expm1(log_return), layout),
        buy_and_hold_returns(log_return, layout),
        earned.changes,
        earned.gross,
        earned.net,
        earned.borrowed,
        left_out=int((~keep).sum()),
    )


def wealth(returns: Floats) -> Floats:
    """Compound simple returns from 1, shape (n + 1,); a return of −1 or below is ruin, and wealth stays at 0."""
    return np.asarray(np.exp(backtest.log_wealth(returns)))


def time_title(times: pd.Index[Any]) -> str:
    """Return what an axis of such times is called."""
    return "time" if isinstance(times, pd.DatetimeIndex) else "bar"


def window_of(bars: int, periods: float | None) -> int:
    """Choose the bars of a rolling window: half a year, but 20 to a third of all; 0 for fewer than `MIN_BARS`."""
    half_a_year = round((periods or 252.0) / 2)
    return 0 if bars < MIN_BARS else max(min(half_a_year, bars // 3), min(20, bars // 2))


def closes_of(predictions: pd.DataFrame) -> pd.Index[Any]:
    """Return the dates of the bars and one more, shape (n + 1,), or numbers from 0 where there are no dates."""
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
