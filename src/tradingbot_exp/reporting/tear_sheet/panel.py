"""A run's forecasts of several symbols: their rows in order of date and symbol, and what is drawn a date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tradingbot_exp.data.panel import Layout, layout_of
from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.reporting.backtest import closes_of
from tradingbot_exp.reporting.page.blocks import numbers_of


@dataclass(frozen=True, eq=False)
class PanelForecasts:
    """The n rows of D dates that lack no number, the first of each symbol and date.

    Attributes
    ----------
    layout : Layout
    times : DatetimeIndex or RangeIndex of shape (D + 1,)
        The dates, and one more: see `Backtest`.
    actual, forecast : ndarray of shape (n,)
        In the target's unit.
    next_return : ndarray of shape (n,), or None
        One-bar log returns, where there are any.
    """

    layout: Layout
    times: pd.Index[Any]
    actual: Floats
    forecast: Floats
    next_return: Floats | None = None


def panel_forecasts(table: pd.DataFrame) -> PanelForecasts | None:
    """Bring the rows of ``evaluation/validation_returns.csv`` into order; None of one instrument, or without a row."""
    if not {"date", "symbol", "actual", "forecast"} <= set(table):
        return None
    named = [name for name in ("actual", "forecast", "next_log_return") if name in table]
    keep = np.asarray(np.isfinite(np.stack([numbers_of(table[name]) for name in named])).all(axis=0))
    keep &= ~table.duplicated(["date", "symbol"]).to_numpy()
    if not keep.any():
        return None
    kept = table.loc[keep]
    layout, order = layout_of(kept["date"], kept["symbol"], kept.get("dates_ahead"))
    kept = kept.iloc[order]
    numbers = [numbers_of(kept[name]) for name in named]
    return PanelForecasts(layout, closes_of(kept.iloc[layout.starts]), *numbers)
