"""Forecasts against what came: over time, and against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from tradingbot_exp.evaluation.metrics.forecast import ic
from tradingbot_exp.plots import style
from tradingbot_exp.plots.numbers import count, ratio

_NONE = 1e-9  # share of the largest value that is left of rounding


def prediction_vs_actual(
    dates: Any, actual: ArrayLike, forecast: ArrayLike, unit: str, symbols: ArrayLike | None = None
) -> go.Figure:
    """Draw forecast and actual over time, and against each other with the line of a perfect forecast.

    Of a panel what is drawn over time is the mean over the symbols of each date, or their standard deviation where all
    means of the target are 0, as of its excess over them.

    Parameters
    ----------
    dates : array_like, shape (n,)
        Time of each bar: datetimes, strings, or row numbers.
    actual, forecast : array_like, shape (n,)
        In `unit`.
    unit : str
        Unit of both, such as ``log return, 1 bar``.
    symbols : array_like, shape (n,), optional
        Of a panel, which symbol each bar is of.
    """
    title = "Forecast against actual"
    a, f = np.asarray(actual, dtype=np.float64), np.asarray(forecast, dtype=np.float64)
    keep = np.isfinite(a) & np.isfinite(f)
    if not keep.any():
        return style.nothing_to_draw(title, "no bar has both a forecast and an actual value")
    when, a, f = np.asarray(style.iso_times(dates))[keep], a[keep], f[keep]
    correlation = ic(a, f)
    notes = [
        count(len(a), "bar"),
        f"correlation {ratio(correlation, 3)}" if np.isfinite(correlation) else "no correlation",
    ]
    step = -(-len(a) // style.MAX_BARS)
    if step > 1:
        notes.append(f"1 in {step} drawn")
    points = np.arange(0, len(a), step)
    over_time, bars = pd.DataFrame({"date": when, "actual": a, "forecast": f}), when
    if symbols is not None:
        names = np.asarray(symbols).astype(str)[keep]
        by_date = over_time.groupby("date")
        over_time, drawn = by_date.mean(), "mean"
        if over_time["actual"].abs().max() < _NONE * np.abs(a).max():
            over_time, drawn = by_date.std(ddof=0), "standard deviation"
        over_time = over_time.reset_index()
        notes.insert(1, f"over time: {drawn} of {count(len(np.unique(names)), 'symbol')}")
        bars = np.char.add(np.char.add(when.astype(str), " "), names)
        # Every second row of four symbols would be two symbols' alone.
        points = np.sort(np.random.default_rng(0).permutation(len(a))[: len(points)])
    subtitle = " · ".join(notes) + style.left_out(int((~keep).sum()), "bars")
    narrow = {
        "height": 860,
        "xaxis.domain": [0, 1],
        "yaxis.domain": [0.58, 1],
        "xaxis2.domain": [0, 1],
        "yaxis2.domain": [0, 0.42],
    }
    fig = style.new_figure(title, subtitle, narrow=narrow)
    over_time = over_time.iloc[:: -(-len(over_time) // style.MAX_BARS)]
    times = over_time["date"].tolist()
    for name, look in (
        ("actual", {"color": style.ACTUAL, "width": 1}),
        ("forecast", {"color": style.FORECAST, "width": 1.6}),
    ):
        style.add_line(fig, times, style.rounded(over_time[name]), name, look, "%{y:.4g}")
    fig.add_scatter(
        x=style.rounded(f[points]),
        y=style.rounded(a[points]),
        customdata=bars[points].tolist(),
        mode="markers",
        name="bars",
        showlegend=False,
        marker={"color": style.FORECAST, "size": 5, "opacity": 0.45},
        xaxis="x2",
        yaxis="y2",
        hovertemplate="%{customdata}<br>forecast %{x:.4g}<br>actual %{y:.4g}<extra></extra>",
    )
    low, high = f.min(), f.max()
    if low == high:  # a constant forecast has no range of its own to draw the line over
        low, high = a.min(), a.max()
    fig.add_scatter(
        x=style.rounded([low, high]),
        y=style.rounded([low, high]),
        mode="lines",
        name="actual = forecast",
        showlegend=False,
        line={"color": style.VALIDATION, "width": 2, "dash": "dash"},
        xaxis="x2",
        yaxis="y2",
        hoverinfo="skip",
    )
    fig.add_annotation(
        text="<b>– –</b> actual = forecast",
        xref="x2 domain",
        yref="y2 domain",
        x=0,
        y=1,
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        font={"color": style.VALIDATION},
    )
    fig.update_layout(
        xaxis={"domain": [0, 0.58], "title": {"text": "time" if isinstance(times[0], str) else "bar"}},
        yaxis={"title": {"text": style.plain(unit)}},
        xaxis2={
            "domain": [0.68, 1],
            "anchor": "y2",
            "title": {"text": f"forecast ({style.plain(unit)})"},
            "nticks": 6,
        },
        yaxis2={"anchor": "x2", "title": {"text": f"actual ({style.plain(unit)})"}},
    )
    return fig
