"""The cross-sectional IC of a panel, date by date: whether forecasts order the symbols, and whether they go on to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.metrics import across
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.plots import style
from tradingbot_exp.plots.numbers import count, percent, ratio
from tradingbot_exp.reporting.backtest import window_of
from tradingbot_exp.reporting.page.page import Block, Figure, Notice
from tradingbot_exp.reporting.tear_sheet.panel import PanelForecasts
from tradingbot_exp.reporting.tear_sheet.trained import Trained

TITLE = "IC by date: are the symbols in the right order?"


def ic_by_date_blocks(trained: Trained) -> list[Block]:
    """Draw the cross-sectional IC of each date; nothing of one instrument."""
    panel, rules = trained.panel, trained.rules
    if panel is None:
        return []
    found = ic_by_date(panel, rules)
    if not found.values.size:
        least = rules.sizing.min_symbols
        text = f"No date has a cross-sectional IC: that takes {least} symbols (evaluation.min_symbols) whose forecasts "
        return [Notice(f"{text}and actual values differ.", "muted")]
    words = (
        f"The cross-sectional IC has a mean of {ratio(found.mean, 3)}, an ICIR of {ratio(found.ratio)} and, by Newey "
        f"and West, a t-value of {ratio(found.t)} over {count(len(found.values), 'date')}; it is above 0 on "
        f"{percent(float(np.mean(found.values > 0)), 0)} of them."
    )
    return [Figure(ic_figure(found), words)]


@dataclass(frozen=True, eq=False)
class ICByDate:
    """The cross-sectional IC of the m dates that have one.

    Attributes
    ----------
    dates : list
    values, rolling : ndarray of shape (m,)
        The IC, and its mean over the last `window` dates, NaN before there are as many.
    window : int
        0 where dates are too few.
    mean, ratio, t : float
        See `tradingbot_exp.evaluation.metrics.across`.
    band : float
        How far from 0 luck alone takes the mean of a window in 95 of 100 cases; NaN if not known.
    left_out : int
        Dates without an IC.
    """

    dates: list[Any]
    values: Floats
    rolling: Floats
    window: int
    mean: float
    ratio: float
    t: float
    band: float
    left_out: int


def ic_by_date(panel: PanelForecasts, rules: Rules) -> ICByDate:
    """Correlate forecasts and actual values over the symbols of each date."""
    every = across.by_date(panel.actual, panel.forecast, panel.layout, rules.sizing.min_symbols)
    there = np.isfinite(every)
    values = every[there]
    window, band = window_of(len(values), rules.periods), math.nan
    if window:
        band = 1.96 * float(values.std(ddof=1)) / math.sqrt(max(window / rules.horizon, 1.0))
    rolling = pd.Series(values).rolling(window).mean().to_numpy() if window else np.full(len(values), np.nan)
    numbers = across.mean(values), across.ratio(values), across.t_value(values, rules.horizon)
    dates, lost = style.iso_times(panel.times[:-1][there]), int((~there).sum())
    return ICByDate(dates, values, rolling, window, *numbers, band, lost)


def ic_figure(found: ICByDate) -> go.Figure:
    """Draw the IC of each date, below it its rolling mean with the band of luck, and its sum so far."""
    notes = [f"mean {ratio(found.mean, 3)}", f"ICIR {ratio(found.ratio)}", f"t {ratio(found.t)}"]
    if found.left_out:
        notes.append(f"{count(found.left_out, 'date')} left out: too few symbols, or all alike")
    fig = style.new_figure(TITLE, " · ".join(notes), narrow={"height": 680})
    kept = style.thinned(len(found.values), style.MAX_BARS)
    dates, hover = [found.dates[i] for i in kept], "%{y:.3f}"
    dots = {"color": style.ACTUAL, "size": 4, "opacity": 0.6}
    style.add_dots(fig, dates, style.rounded(found.values[kept], 3), "of the date", dots, hover)
    if found.window:
        look = {"color": style.FORECAST, "width": 2}
        style.add_line(fig, dates, style.rounded(found.rolling[kept], 4), "rolling mean", look, hover, yaxis="y2")
        style.add_luck(fig, found.band, "y2")
    total = {"color": style.MARK, "width": 1.8}
    summed = style.rounded(np.cumsum(found.values)[kept], 4)
    style.add_line(fig, dates, summed, "sum so far", total, hover, yaxis="y3")
    fig.update_layout(
        height=600,
        hovermode="x unified",
        showlegend=False,
        xaxis={"title": {"text": "time" if isinstance(dates[0], str) else "bar"}, "anchor": "y3"},
        yaxis={"domain": [0.72, 1], "title": {"text": "IC of the date"}, "nticks": 5},
        yaxis2={"domain": [0.36, 0.64], "title": {"text": f"mean of {found.window} dates"}, "anchor": "x", "nticks": 5},
        yaxis3={"domain": [0, 0.28], "title": {"text": "sum so far"}, "anchor": "x", "nticks": 5},
    )
    return fig
