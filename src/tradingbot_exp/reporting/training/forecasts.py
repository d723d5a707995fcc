"""The forecasts of a run: what came of them, their correlation over time, and what followed low and high ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from tradingbot_exp.config.choices import is_in_returns
from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.metrics.target import target_unit
from tradingbot_exp.plots import style
from tradingbot_exp.plots.numbers import percent
from tradingbot_exp.plots.prediction_distribution import prediction_distribution
from tradingbot_exp.plots.prediction_vs_actual import prediction_vs_actual
from tradingbot_exp.plots.style import left_out
from tradingbot_exp.reporting.backtest import window_of
from tradingbot_exp.reporting.page.blocks import numbers_of
from tradingbot_exp.reporting.page.page import Block, Figure, Notice
from tradingbot_exp.reporting.tear_sheet.trained import Trained

GROUPS = 10
_Z = 1.96  # standard errors on either side of a 95 % interval of a normal distribution
_LEAST = 5
"""Bars that a group holds at least."""
_BASIS_POINTS = 1e4


def forecast_blocks(trained: Trained) -> list[Block]:
    """Draw forecasts against what came, over time and by how high they were; say so where there are none."""
    params, table, rules = trained.run.params, trained.forecasts, trained.rules
    if table is None:
        why = (
            "A study keeps those of its best trial."
            if trained.run.parent_id
            else "They are logged when a run finishes."
        )
        return [Notice(f"No forecasts are on record, so there is nothing more to draw. {why}", "muted")]
    source, target = params.get("data.source", "table"), params.get("data.target", "target")
    unit = target_unit(source, target, rules.horizon)
    dates = table["date"] if "date" in table else np.arange(len(table))
    actual, forecast = (numbers_of(table[name]) for name in ("actual", "forecast"))
    symbols, days = None, None
    if "symbol" in table:
        symbols, days = table["symbol"], pd.factorize(dates)[0]
    returns = is_in_returns(source, target)
    drawn = {
        "Forecast and actual over time, and against each other.": prediction_vs_actual(
            dates, actual, forecast, unit, symbols
        ),
        "How actual values and forecasts are spread, on one scale.": prediction_distribution(actual, forecast, unit),
    }
    for figure in drawn.values():
        figure.update_layout(height=440)
    if symbols is None:  # of a panel the IC is drawn by date
        drawn["The correlation over a rolling window, with the band that luck alone fills."] = rolling_ic_figure(
            rolling_ic(dates, actual, forecast, rules.horizon, rules.periods)
        )
    drawn["The mean actual value after the lowest to the highest tenth of forecasts."] = decile_figure(
        deciles(actual, forecast, rules.horizon, days),
        "basis points" if returns else unit,
        _BASIS_POINTS if returns else 1.0,
    )
    return [Figure(figure, text) for text, figure in drawn.items()]


def luck_of(bars: int, horizon: int) -> float:
    """How far from 0 luck alone takes the correlation of that many bars in 95 of 100 cases; NaN for no bars.

    1.96 standard errors, 1 / √n each, where of targets that overlap only one in `horizon` tells something new.
    """
    return _Z / math.sqrt(max(bars / horizon, 1.0)) if bars else math.nan


@dataclass(frozen=True, eq=False)
class RollingIC:
    """The correlation of forecast and actual over the last bars, at each bar."""

    times: list[Any]  # of the last bar of each window, whose targets are known `horizon` bars later
    values: Floats  # shape (n,); NaN in the first window, and where either is constant
    window: int  # bars; 0 if there are too few
    band: float  # how far from 0 luck alone takes it: see `luck_of`
    left_out: int  # bars that lack one of the two


@dataclass(frozen=True, eq=False)
class Deciles:
    """Bars in groups of equal size by their forecast, the lowest first; arrays have the shape (groups,)."""

    # Means, in the target's unit.
    forecast: Floats
    actual: Floats
    error: Floats  # of the mean actual: see `_standard_error`
    bars: NDArray[np.int64]
    left_out: int


def rolling_ic(
    dates: Any, actual: ArrayLike, forecast: ArrayLike, horizon: int = 1, periods: float | None = None
) -> RollingIC:
    """Correlate forecast and actual over a rolling window (see `window_of`).

    Parameters
    ----------
    dates : array_like of shape (n,)
    actual, forecast : array_like of shape (n,)
    horizon : int
        Bars ahead.
    periods : float, optional
        Bars a year.
    """
    a, f, keep = _pairs(actual, forecast)
    window = window_of(len(a), periods)
    lost = int((~keep).sum())
    if not window:
        return RollingIC([], np.empty(0), 0, math.nan, lost)
    # Of the same size, so that rolling sums lose no digits.
    first, second = (pd.Series(values / (np.max(np.abs(values)) or 1.0)) for values in (a, f))
    values = first.rolling(window).corr(second).to_numpy(copy=True)
    for each in (first, second):
        values[(each.rolling(window).max() == each.rolling(window).min()).to_numpy()] = np.nan
    values = np.where(np.isfinite(values), np.clip(values, -1, 1), np.nan)
    when = [time for time, there in zip(style.iso_times(dates), keep, strict=True) if there]
    return RollingIC(when, values, window, luck_of(window, horizon), lost)


def deciles(
    actual: ArrayLike, forecast: ArrayLike, horizon: int = 1, days: NDArray[np.intp] | None = None
) -> Deciles | None:
    """Group bars by forecast; fewer than ten groups where bars are few, None where forecasts cannot be told apart.

    Equal forecasts stay in one group, with which groups may differ in size. Of a panel `days` says of which date each
    bar is.
    """
    a, f, keep = _pairs(actual, forecast)
    days = np.arange(len(a)) if days is None else days[keep]
    groups = min(GROUPS, len(a) // _LEAST)
    if groups < 2:
        return None
    inner = np.quantile(f, np.arange(1, groups) / groups)
    place = np.searchsorted(np.unique(inner), f, side="left")
    parts = [place == group for group in np.unique(place)]
    if len(parts) < 2:
        return None
    error = [_standard_error(a[part], days[part], horizon) for part in parts]
    return Deciles(
        forecast=np.array([f[part].mean() for part in parts]),
        actual=np.array([a[part].mean() for part in parts]),
        error=np.array(error),
        bars=np.array([part.sum() for part in parts], dtype=np.int64),
        left_out=int((~keep).sum()),
    )


def _standard_error(values: Floats, days: NDArray[np.intp], horizon: int) -> float:
    """Return the standard error of a mean whose values of one date move together; NaN for a single date.

    Of one value a date it is std (ddof 1) / √(n / horizon), since targets of a longer horizon overlap.

    References
    ----------
    Petersen (2009), "Estimating standard errors in finance panel data sets", Review of Financial Studies 22(1): errors
    clustered by time.
    """
    moves = np.bincount(np.unique(days, return_inverse=True)[1], values - values.mean())
    n = len(moves)
    if n < 2:
        return math.nan
    return float(np.sqrt(n / (n - 1) * np.sum(moves**2) * min(horizon, n)) / len(values))


def rolling_ic_figure(found: RollingIC) -> go.Figure:
    """Draw the rolling correlation with the band in which luck alone keeps it."""
    title = "Rolling IC: does the forecast keep its skill?"
    there = found.values[np.isfinite(found.values)]
    if not there.size:
        return style.nothing_to_draw(
            title, "there are too few bars" if not found.window else "the forecast is constant"
        )
    share = float(np.mean(np.abs(there) <= found.band))
    subtitle = f"IC of the last {found.window:,} bars · {percent(share, 0)} within the ± {found.band:.2f} of luck alone"
    fig = style.new_figure(title, subtitle + left_out(found.left_out, "bars"))
    drawn = slice(found.window - 1, None, -(-len(found.values) // style.MAX_BARS))
    values, look = style.rounded(found.values[drawn], 4), {"color": style.FORECAST, "width": 2}
    style.add_line(fig, found.times[drawn], values, "rolling IC", look, "%{x}: %{y:.3f}<extra></extra>")
    style.add_luck(fig, found.band)
    fig.update_layout(height=360, showlegend=False)
    fig.update_xaxes(title_text="time" if isinstance(found.times[0], str) else "bar")
    fig.update_yaxes(title_text="IC (correlation)")
    return fig


def decile_figure(found: Deciles | None, unit: str, scale: float = 1.0) -> go.Figure:
    """Draw the mean actual value of each group as a bar with its standard error, and the mean forecast as a mark.

    Parameters
    ----------
    found : Deciles or None
    unit : str
        Of what is drawn, such as ``basis points``.
    scale : float
        What turns the target's unit into that.
    """
    title = "Forecast deciles: what came after low and high forecasts"
    if found is None:
        return style.nothing_to_draw(title, "too few bars, or the same forecast for all of them")
    rising = percent(float(np.mean(np.diff(found.actual) > 0)), 0)
    subtitle = f"bars: mean actual ± 1 standard error · marks: mean forecast · {rising} of steps rise"
    fig = style.new_figure(title, subtitle + left_out(found.left_out, "bars"))
    x = list(range(1, len(found.bars) + 1))
    fig.add_bar(
        x=x,
        y=style.rounded(scale * found.actual),
        name="actual",
        customdata=found.bars.tolist(),
        marker={"color": style.ACTUAL, "opacity": 0.75},
        error_y={"array": style.rounded(scale * found.error), "color": style.WHISKER, "thickness": 1.6, "width": 4},
        hovertemplate="actual %{y:.3g} over %{customdata} bars<extra></extra>",
    )
    look = {"color": style.VALIDATION, "size": 9, "symbol": "diamond"}
    style.add_dots(fig, x, style.rounded(scale * found.forecast), "forecast", look, "forecast %{y:.3g}<extra></extra>")
    fig.update_layout(height=380, bargap=0.3)
    ends = "lowest to highest tenth" if len(x) == GROUPS else "low to high"
    fig.update_xaxes(title_text=f"forecast, {ends}", tickvals=x, showgrid=False)
    fig.update_yaxes(title_text=f"mean ({style.plain(unit)})")
    return fig


def _pairs(actual: ArrayLike, forecast: ArrayLike) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Keep the bars that have both values."""
    a, f = np.asarray(actual, dtype=np.float64), np.asarray(forecast, dtype=np.float64)
    keep = np.isfinite(a) & np.isfinite(f)
    return a[keep], f[keep], keep
