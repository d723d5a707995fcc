"""The figures of a backtest: wealth and drawdown, rolling Sharpe ratio, months, and what costs do to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from tradingbot_exp.evaluation.metrics.backtest import max_drawdown
from tradingbot_exp.plots.numbers import MISSING, count, percent, ratio, significant
from tradingbot_exp.plots.predictions import MAX_BARS, iso_times
from tradingbot_exp.plots.style import (
    ACTUAL,
    FORECAST,
    MARK,
    RULE,
    VALIDATION,
    left_out,
    new_figure,
    nothing_to_draw,
    rounded,
)
from tradingbot_exp.reporting.backtest.numbers import (
    Backtest,
    CostCurve,
    drawdown,
    monthly_returns,
    rolling_sharpe,
    wealth,
    window_of,
)

MAX_YEARS = 40
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def equity(test: Backtest) -> go.Figure:
    """Draw what 1 became, after and before costs and by buy and hold, and below it how far each fell."""
    paths = {"net": wealth(test.net), "before costs": wealth(test.gross), "buy and hold": wealth(test.market)}
    falls = {"net": drawdown(test.net), "buy and hold": drawdown(test.market)}
    notes = [f"{name} {significant(float(path[-1]))}" for name, path in paths.items()]
    notes.append(f"deepest fall {percent(max_drawdown(test.net))}")
    narrow = {"height": 620, "yaxis.nticks": 5}
    fig = new_figure("What 1 became", " · ".join(notes) + left_out(test.left_out, "bars"), narrow=narrow)
    kept = _thinned(len(test.net) + 1, *(int(np.argmin(fall)) for fall in falls.values()))
    closes = iso_times(test.times)
    times = [closes[i] for i in kept]
    looks: dict[str, dict[str, Any]] = {
        "net": {"color": FORECAST, "width": 2},
        "before costs": {"color": FORECAST, "width": 1.2, "dash": "dot"},
        "buy and hold": {"color": ACTUAL, "width": 1.6},
    }
    for name, path in paths.items():
        fig.add_scatter(
            x=times, y=rounded(path[kept]), name=name, mode="lines", line=looks[name], hovertemplate="%{y:.4f}"
        )
    for name, fall in falls.items():
        fig.add_scatter(
            x=times,
            y=rounded(100 * fall[kept], 4),
            name=f"{name}, fall",
            showlegend=False,
            mode="lines",
            line=looks[name] | {"width": 1.2},
            fill="tozeroy" if name == "net" else "none",
            fillcolor="rgba(0,114,178,0.15)",
            yaxis="y2",
            hovertemplate="%{y:.1f} %",
        )
    fig.update_layout(
        height=560,
        hovermode="x unified",
        xaxis={"title": {"text": _time_title(test)}, "anchor": "y2"},
        yaxis={"domain": [0.38, 1], "title": {"text": "wealth, from 1"}, "tickformat": "~g"},
        yaxis2={"domain": [0, 0.3], "title": {"text": "fall from peak (%)"}, "anchor": "x", "nticks": 4},
    )
    return fig


def rolling(test: Backtest) -> go.Figure:
    """Draw the Sharpe ratio of the last half year, or less, at each bar."""
    title = "Did it earn all along?"
    window = window_of(len(test.net), test.rules.periods)
    if not window:
        return nothing_to_draw(title, f"{len(test.net)} bars are too few for a rolling window")
    paths = {
        name: rolling_sharpe(returns, window, test.rules.annual)
        for name, returns in (("net", test.net), ("buy and hold", test.market))
    }
    luck = test.luck(window)
    subtitle = f"Sharpe ratio {test.rules.per} of the last {window:,} bars"
    if np.isfinite(luck):
        subtitle += f" · luck alone gives up to ± {luck:.1f}"
    fig = new_figure(title, subtitle)
    kept = window - 1 + _thinned(len(test.net) - window + 1)
    ends = iso_times(test.times[1:])
    times = [ends[i] for i in kept]
    for name, color, width in (("net", FORECAST, 2), ("buy and hold", ACTUAL, 1.4)):
        line = {"color": color, "width": width}
        y = rounded(paths[name][kept], 4)
        fig.add_scatter(x=times, y=y, name=name, mode="lines", line=line, hovertemplate="%{y:.2f}")
    if np.isfinite(luck):
        fig.add_hrect(y0=-luck, y1=luck, fillcolor="rgba(128,140,155,0.12)", line={"width": 0}, layer="below")
    fig.update_layout(
        height=360,
        hovermode="x unified",
        xaxis={"title": {"text": _time_title(test)}},
        yaxis={"title": {"text": f"Sharpe ratio ({test.rules.per})"}},
    )
    return fig


def months(test: Backtest) -> go.Figure:
    """Draw the net return of each calendar month, a row a year, and of the years."""
    title = "Net return by month"
    table = monthly_returns(test.times, test.net)
    if table is None:
        return nothing_to_draw(title, "the bars have no dates")
    years = len(table)
    table = table.tail(MAX_YEARS)
    values = 100 * table.to_numpy(dtype=np.float64)
    there = values[:, :12][np.isfinite(values[:, :12])]
    subtitle = f"{int((there > 0).sum())} of {count(there.size, 'month')} gained · best {_signed(there.max())}, worst "
    subtitle += _signed(there.min()) + (f" · the last {MAX_YEARS} of {years} years" if years > MAX_YEARS else "")
    fig = new_figure(title, subtitle, narrow={"xaxis.tickangle": -90, "margin.l": 44, "margin.r": 8})
    reach = float(np.abs(there).max()) or 1.0
    cells = [["" if not np.isfinite(cell) else f"{cell:+.1f}".replace("-", "−") for cell in row] for row in values]
    fig.add_heatmap(
        x=[*_MONTHS, "year"],
        y=[str(year) for year in table.index],
        z=[rounded(row, 4) for row in values],
        text=cells,
        texttemplate="%{text}",
        zmin=-reach,
        zmax=reach,
        colorscale=[[0, VALIDATION], [0.5, "#ffffff"], [1, FORECAST]],
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate="%{y} %{x}: %{z:.2f} %<extra></extra>",
    )
    fig.update_layout(height=30 * len(table) + 190, showlegend=False)
    fig.update_xaxes(title_text="net return (%)", showgrid=False, ticks="", side="bottom", type="category")
    fig.update_yaxes(
        title_text="year", autorange="reversed", showgrid=False, ticks="", type="category", zeroline=False, nticks=40
    )
    return fig


def costs(curve: CostCurve, per: str) -> go.Figure:
    """Draw the net Sharpe ratio against the cost of a change of position, with the cost that leaves nothing."""
    title = "How much cost can it bear?"
    if not np.isfinite(curve.sharpe).any():
        return nothing_to_draw(title, "the strategy never takes a position")
    fig = new_figure(title, cost_sentence(curve))
    fig.add_scatter(
        x=rounded(curve.bps),
        y=rounded(curve.sharpe),
        name="net",
        mode="lines",
        line={"color": FORECAST, "width": 2},
        hovertemplate="%{x:.3g} bps: %{y:.2f}",
    )
    fig.add_scatter(
        x=[curve.charged],
        y=rounded([curve.at_charged]),
        name="as charged",
        showlegend=False,
        mode="markers+text",
        text=["as charged"],
        textposition="top right" if curve.charged < curve.bps[-1] / 2 else "top left",
        marker={"color": FORECAST, "size": 10},
        hovertemplate="%{x:.3g} bps: %{y:.2f}",
    )
    if np.isfinite(curve.hold):
        line = {"color": ACTUAL, "width": 1.4}
        y = rounded([curve.hold] * 2)
        x = rounded(curve.bps[[0, -1]])
        fig.add_scatter(x=x, y=y, name="buy and hold", mode="lines", line=line, hovertemplate="%{y:.2f}")
    if 0 < curve.break_even < curve.bps[-1]:
        fig.add_vline(x=curve.break_even, line={"color": MARK, "width": 1.5, "dash": "dash"})
        fig.add_annotation(
            text=f"nothing left at {curve.break_even:.1f} bps",
            x=curve.break_even,
            y=0,
            yref="paper",
            yanchor="bottom",
            xanchor="right" if curve.break_even > curve.bps[-1] / 2 else "left",
            xshift=-6 if curve.break_even > curve.bps[-1] / 2 else 6,
            showarrow=False,
            font={"color": MARK},
        )
    fig.update_layout(height=380)
    fig.update_xaxes(title_text="cost of changing the position by 1 (basis points)", rangemode="tozero")
    fig.update_yaxes(title_text=f"Sharpe ratio ({per})", zeroline=True, zerolinecolor=RULE)
    return fig


def cost_sentence(curve: CostCurve) -> str:
    """Say where the strategy breaks even."""
    charged = f"charged: {significant(curve.charged)} bps, Sharpe ratio {ratio(curve.at_charged)}"
    if not np.isfinite(curve.break_even):
        return f"{charged} · it never changes its position"
    if curve.break_even <= 0:
        return f"{charged} · it loses even at no cost"
    return f"{charged} · breaks even at {ratio(curve.break_even, 1)} bps"


def _thinned(points: int, *keep: int) -> NDArray[np.intp]:
    """Choose at most about `MAX_BARS` points, evenly, with the last one and those that must be seen."""
    return np.unique([*range(0, points, -(-points // MAX_BARS)), *keep, points - 1]).astype(np.intp)


def _time_title(test: Backtest) -> str:
    return "time" if isinstance(test.times, pd.DatetimeIndex) else "bar"


def _signed(value: float) -> str:
    return MISSING if not np.isfinite(value) else percent(value / 100, signed=True)
