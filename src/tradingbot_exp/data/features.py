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

from tradingbot_exp.errors import ConfigError, near

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
        if known is not None and (known.__module__, known.__qualname__) != (
            function.__module__,
            function.__qualname__,
        ):
            raise ConfigError(f"data.features: {name!r} is {known.__module__}.{known.__qualname__} already.")
        FEATURES[name], _WARMUPS[name] = function, warmup
        return function

    return register


def warmup_of(names: Sequence[str]) -> int:
    """Count the rows at the start that the named features have no value for: `WARMUP`, or more if one needs it."""
    return max([WARMUP, *(_WARMUPS.get(name, 0) for name in names)])


def reads_volume(name: str) -> bool:
    """Tell whether a registered feature may read the volume: one of a user's own may read any column."""
    return name == "volume_z_20" or FEATURES[name].__module__ != __name__


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
    if function.__module__ == __name__:
        return function(frame)
    place = f"data.features: {name} ({function.__module__}.{function.__qualname__})"
    try:
        values = pd.Series(function(frame.copy())).astype(np.float64)
    except Exception as error:
        raise ConfigError(f"{place} raised {type(error).__name__}: {error}") from error
    if not values.index.equals(frame.index):
        raise ConfigError(f"{place} gave {len(values)} values; expected a series on the index of the bars.")
    return values


def _ln(values: pd.Series[float]) -> pd.Series[float]:
    return pd.Series(np.log(values.to_numpy()), index=values.index)


def _log_return(close: pd.Series[float], bars: int) -> pd.Series[float]:
    return _ln(close / close.shift(bars))


@feature("ret_1")
def ret_1(bars: pd.DataFrame) -> pd.Series[float]:
    """ln(C / C₋₁)."""
    return _log_return(bars["close"], 1)


@feature("ret_5")
def ret_5(bars: pd.DataFrame) -> pd.Series[float]:
    """ln(C / C₋₅)."""
    return _log_return(bars["close"], 5)


@feature("ret_20")
def ret_20(bars: pd.DataFrame) -> pd.Series[float]:
    """ln(C / C₋₂₀)."""
    return _log_return(bars["close"], 20)


@feature("vol_20")
def vol_20(bars: pd.DataFrame) -> pd.Series[float]:
    """Take the standard deviation of the last 20 one-bar log returns, unannualised."""
    return _log_return(bars["close"], 1).rolling(20).std()


@feature("rsi_14")
def rsi_14(bars: pd.DataFrame) -> pd.Series[float]:
    """Wilder's index, 0 to 1: mean gain / (mean gain + mean loss); 0.5 if the price has never moved."""
    change = bars["close"].diff()
    gain, loss = _wilder(change.clip(lower=0), 14), _wilder(-change.clip(upper=0), 14)
    moved = gain + loss
    return (gain / moved).mask(moved == 0, 0.5)


@feature("macd_hist")
def macd_hist(bars: pd.DataFrame) -> pd.Series[float]:
    """(EMA₁₂ − EMA₂₆ of C, minus its own EMA₉) / C, each EMA started at its first value."""
    macd = _ema(bars["close"], 12) - _ema(bars["close"], 26)
    return (macd - _ema(macd, 9)) / bars["close"]


@feature("atr_14")
def atr_14(bars: pd.DataFrame) -> pd.Series[float]:
    """Wilder's average true range / C; the true range starts with the second bar."""
    before = bars["close"].shift(1)
    true_range = bars["high"].clip(lower=before) - bars["low"].clip(upper=before)
    return _wilder(true_range, 14) / bars["close"]


@feature("boll_z_20")
def boll_z_20(bars: pd.DataFrame) -> pd.Series[float]:
    """(C − mean₂₀) / std₂₀, the place within the Bollinger bands; 0 where the 20 prices are one."""
    return _z_score(bars["close"], 20)


@feature("volume_z_20")
def volume_z_20(bars: pd.DataFrame) -> pd.Series[float]:
    """Z-score of ln V over 20 bars; 0 where the 20 volumes are one."""
    return _z_score(_ln(bars["volume"]), 20)


@feature("clv")
def clv(bars: pd.DataFrame) -> pd.Series[float]:
    """Close location value, −1 at the low to 1 at the high: (2C − H − L) / (H − L); 0 where H = L."""
    span = bars["high"] - bars["low"]
    return ((2 * bars["close"] - bars["high"] - bars["low"]) / span).mask(span == 0, 0.0)


def _ema(values: pd.Series[float], span: int) -> pd.Series[float]:
    return values.ewm(span=span, adjust=False).mean()


def _z_score(values: pd.Series[float], window: int) -> pd.Series[float]:
    rolling = values.rolling(window)
    deviation = rolling.std()
    return ((values - rolling.mean()) / deviation).mask(deviation == 0, 0.0)


def _wilder(values: pd.Series[float], period: int) -> pd.Series[float]:
    """Smooth by w[t] = ((period − 1) w[t−1] + x[t]) / period, started with the mean of x[1 … period].

    Row 0 of `values` has no bar before it and is not used; the result starts at row `period`, after NaN.
    """
    seeded = values.astype(np.float64).copy()
    seeded.iloc[:period] = np.nan
    seeded.iloc[period : period + 1] = values.iloc[1 : period + 1].mean()
    return seeded.ewm(alpha=1 / period, adjust=False).mean()
