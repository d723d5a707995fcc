"""Bars with another future, or of another time: what a feature of the past alone does not see."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tradingbot_exp.data.columns import OHLCV


def dated_later(bars: pd.DataFrame) -> pd.DataFrame:
    """Date bars 52 weeks later, which moves neither weekday nor time of day."""
    index = pd.DatetimeIndex(bars.index)
    later = index.tz_localize(None) + pd.Timedelta(days=364)
    if index.tz is not None:  # the clock may go forward or back on another day
        later = later.tz_localize(index.tz, nonexistent="shift_forward", ambiguous=np.ones(len(index), bool))
    return bars.set_axis(later)


def with_another_future(bars: pd.DataFrame, t: int) -> pd.DataFrame:
    """Change every bar after `t`: prices by one factor a bar, up and down, so that high stays above low."""
    rng = np.random.default_rng(0)
    future = bars.iloc[t + 1 :]
    factor = np.exp(0.5 * rng.standard_normal(len(future)))
    values = future.to_numpy(copy=True)
    for column, name in enumerate(bars.columns):
        own = name not in OHLCV or name == "volume"
        values[:, column] *= np.exp(rng.standard_normal(len(future))) if own else factor
    changed = bars.to_numpy(copy=True)
    changed[t + 1 :] = values
    return pd.DataFrame(changed, bars.index, bars.columns, copy=False)
