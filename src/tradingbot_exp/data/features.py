"""The registry of features, each a function of bars that uses the present bar and past ones only.

With C, H, L, V for adjusted close, high, low and volume, r = Δ ln C, and standard deviations with ddof 1.
A feature's value at row t is known at the close of bar t. RSI and ATR follow J. W. Wilder, New Concepts in
Technical Trading Systems (1978).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd

from tradingbot_exp.data.cells import FloatArray
from tradingbot_exp.errors import ConfigError, near
from tradingbot_exp.runtime.text import qualified_name

Feature = Callable[[pd.DataFrame], "pd.Series[float]"]


class FittedFeature(Protocol):
    """A feature that learns from the train bars first: see `tradingbot_exp.data.fitted.fitted_feature`."""

    def fit(self, bars: pd.DataFrame, /) -> Any:
        """Learn from the train bars."""

    def transform(self, bars: pd.DataFrame, /) -> pd.Series[float]:
        """Compute the feature, as a function of bars would."""


_Registered = TypeVar("_Registered", bound="Feature | type[FittedFeature]")

WARMUP = 33
"""Rows dropped at the start, as MACD's 26 and 9 bars need, whichever features are chosen: so runs compare."""

_ROWS = 8192  # looked at at once, so that they stay in the cache

_WARMUPS: dict[str, int] = {}

FEATURES: dict[str, Feature | type[FittedFeature]] = {}
"""Every registered feature by its name."""


def feature(name: str, warmup: int = WARMUP) -> Callable[[_Registered], _Registered]:
    """Register a function from bars (``open high low close volume``) to a series on the same index.

    Parameters
    ----------
    name : str
        As in ``data.features``.
    warmup : int
        Bars that the function needs before its first value. Over `WARMUP`, that many rows are dropped at the start
        of the data where the feature is used.
    """

    def register(function: _Registered) -> _Registered:
        known = FEATURES.get(name)
        if known is not None and qualified_name(known) != qualified_name(function):
            raise ConfigError(f"data.features: {name!r} is {qualified_name(known)} already.")
        FEATURES[name], _WARMUPS[name] = function, warmup
        return function

    return register


def warmup_of(names: Sequence[str]) -> int:
    """Count the rows at the start that the named features have no value for: `WARMUP`, or more if one needs it."""
    return max([WARMUP, *(_WARMUPS.get(name, 0) for name in names)])


def is_ours(name: str) -> bool:
    """Tell whether a registered feature is one of this package: quick, and a function of the bars alone."""
    return FEATURES[name] is _OURS.get(name)


def reads_volume(name: str) -> bool:
    """Tell whether a registered feature may read the volume: one of a user's own may read any column."""
    return name == "volume_z_20" or not is_ours(name)


def compute_features(
    frame: pd.DataFrame, names: Sequence[str], fitted: Mapping[str, FittedFeature] | None = None
) -> pd.DataFrame:
    """Compute the named features; a name that is not registered is looked up among the frame's columns.

    Parameters
    ----------
    frame : pandas.DataFrame of shape (n, …)
        Adjusted bars, see `tradingbot_exp.data.sources.Bars`.
    names : sequence of str
        The features, in the order wanted.
    fitted : mapping of str to FittedFeature, optional
        Those that learned from train bars, by name.

    Returns
    -------
    pandas.DataFrame of shape (n, len(names))
        float64. The first rows, at most `warmup_of` the names, are NaN where a feature needs more past than there is.

    Raises
    ------
    ConfigError
        If a name is neither a feature nor a numeric column of the frame.
    """
    values = np.empty((len(names), len(frame)))  # memory: one feature at a time beside it
    for row, name in enumerate(names):
        if name in FEATURES:
            values[row] = _computed(name, frame, fitted or {})
        elif name in frame:
            values[row] = frame[name]
        else:
            known = [*FEATURES, *(str(column) for column in frame.columns)]
            raise ConfigError(
                f"data.features: {name!r} is neither a feature nor a numeric column of the file; known are "
                f"{', '.join(known)}.{near(name, known)}"
            )
    return pd.DataFrame(values.T, frame.index, list(names), copy=False)


def _computed(name: str, frame: pd.DataFrame, fitted: Mapping[str, FittedFeature]) -> pd.Series[float]:
    """Compute one feature; what a function of the user's own raises, or gives of the wrong length, is named."""
    registered = FEATURES[name]
    if isinstance(registered, type) and name not in fitted:
        raise ConfigError(
            f"data.features: {name} learns from train bars, and what it learned was not given: fit it by fit_features."
        )
    # A copy, so that nothing it sets is there the next time.
    function = copy.deepcopy(fitted[name]).transform if isinstance(registered, type) else registered
    if is_ours(name):
        return function(frame)
    place = f"data.features: {name} ({qualified_name(function)})"
    try:
        values = pd.Series(function(frame.copy())).astype(np.float64)
    except Exception as error:
        raise ConfigError(f"{place} raised {type(error).__name__}: {error}") from error
    if not values.index.equals(frame.index):
        raise ConfigError(f"{place} gave {len(values)} values; expected a series on the index of the bars.")
    return values


# Arithmetic is numpy's, of which a panel has as many calls as it has symbols; smoothing is pandas'.


def _values(bars: pd.DataFrame, column: str) -> FloatArray:
    return bars[column].to_numpy(dtype=np.float64)


def _before(values: FloatArray, bars: int = 1) -> FloatArray:
    """Return the values so many bars before, NaN where there are none."""
    return np.concatenate([np.full(min(bars, len(values)), np.nan), values[:-bars]])


def _ratio(over: FloatArray, under: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(over / under)


def _log_return(bars: pd.DataFrame, span: int) -> pd.Series[float]:
    close = _values(bars, "close")
    return pd.Series(np.log(_ratio(close, _before(close, span))), bars.index)


@feature("ret_1")
def ret_1(bars: pd.DataFrame) -> pd.Series[float]:
    """ln(C / C₋₁)."""
    return _log_return(bars, 1)


@feature("ret_5")
def ret_5(bars: pd.DataFrame) -> pd.Series[float]:
    """ln(C / C₋₅)."""
    return _log_return(bars, 5)


@feature("ret_20")
def ret_20(bars: pd.DataFrame) -> pd.Series[float]:
    """ln(C / C₋₂₀)."""
    return _log_return(bars, 20)


@feature("vol_20")
def vol_20(bars: pd.DataFrame) -> pd.Series[float]:
    """Take the standard deviation of the last 20 one-bar log returns, unannualised."""
    return pd.Series(_last(np.asarray(_log_return(bars, 1), dtype=np.float64), 20)[1], bars.index)


@feature("rsi_14")
def rsi_14(bars: pd.DataFrame) -> pd.Series[float]:
    """Wilder's index, 0 to 1: mean gain / (mean gain + mean loss); 0.5 if the price has never moved."""
    close = _values(bars, "close")
    change = close - _before(close)
    gain, loss = _wilder(np.maximum(change, 0.0), 14), _wilder(np.maximum(-change, 0.0), 14)
    moved = gain + loss
    return pd.Series(np.where(moved == 0, 0.5, _ratio(gain, moved)), bars.index)


@feature("macd_hist")
def macd_hist(bars: pd.DataFrame) -> pd.Series[float]:
    """(EMA₁₂ − EMA₂₆ of C, minus its own EMA₉) / C, each EMA started at its first value."""
    close = _values(bars, "close")
    macd = _ema(close, 12) - _ema(close, 26)
    return pd.Series(_ratio(macd - _ema(macd, 9), close), bars.index)


@feature("atr_14")
def atr_14(bars: pd.DataFrame) -> pd.Series[float]:
    """Wilder's average true range / C; the true range starts with the second bar."""
    close, high, low = (_values(bars, column) for column in ("close", "high", "low"))
    before = _before(close)
    true_range = np.where(before > high, before, high) - np.where(before < low, before, low)
    return pd.Series(_ratio(_wilder(true_range, 14), close), bars.index)


@feature("boll_z_20")
def boll_z_20(bars: pd.DataFrame) -> pd.Series[float]:
    """(C − mean₂₀) / std₂₀, the place within the Bollinger bands; 0 where the 20 prices are one."""
    return _z_score(_values(bars, "close"), 20, bars.index)


@feature("volume_z_20")
def volume_z_20(bars: pd.DataFrame) -> pd.Series[float]:
    """Z-score of ln V over 20 bars; 0 where the 20 volumes are one."""
    return _z_score(np.log(_values(bars, "volume")), 20, bars.index)


@feature("clv")
def clv(bars: pd.DataFrame) -> pd.Series[float]:
    """Close location value, −1 at the low to 1 at the high: (2C − H − L) / (H − L); 0 where H = L."""
    close, high, low = (_values(bars, column) for column in ("close", "high", "low"))
    span = high - low
    return pd.Series(np.where(span == 0, 0.0, _ratio(2 * close - high - low, span)), bars.index)


_OURS = dict(FEATURES)  # by identity: a function that wraps one of them has its name and module


def _ema(values: FloatArray, span: int) -> FloatArray:
    return pd.Series(values).ewm(span=span, adjust=False).mean().to_numpy()


def _z_score(values: FloatArray, window: int, index: pd.Index[Any]) -> pd.Series[float]:
    move, deviation = _last(values, window)
    return pd.Series(np.where(deviation == 0, 0.0, _ratio(move, deviation)), index)


def _last(values: FloatArray, window: int) -> tuple[FloatArray, FloatArray]:
    """Return each value less the mean of the last `window`, itself the last, and their standard deviation (ddof 1).

    Accuracy: each window is summed up by itself, as distances from its last value. A sum that is carried on from row to
    row, as pandas' is, leaves seven right digits of a price's deviation after half a million bars.
    """
    move, deviation = np.full(len(values), np.nan), np.full(len(values), np.nan)
    for start in range(window - 1, len(values), _ROWS):
        last = values[start : start + _ROWS]
        total, squares = np.zeros(len(last)), np.zeros(len(last))
        with np.errstate(invalid="ignore"):  # infinite or missing values have none
            for back in range(1, window):
                away = last - values[start - back : start - back + len(last)]
                total += away
                squares += np.square(away, out=away)
            mean = total / window
            move[start : start + _ROWS] = mean
            deviation[start : start + _ROWS] = np.sqrt((squares - total * mean) / (window - 1))
    return move, deviation


def _wilder(values: FloatArray, period: int) -> FloatArray:
    """Smooth by w[t] = ((period − 1) w[t−1] + x[t]) / period, started with the mean of x[1 … period].

    Row 0 of `values` has no bar before it and is not used; the result starts at row `period`, after NaN.
    """
    seeded = values.copy()
    seeded[:period] = np.nan
    if len(values) > period:
        seeded[period] = values[1 : period + 1].mean()
    return pd.Series(seeded).ewm(alpha=1 / period, adjust=False).mean().to_numpy()
