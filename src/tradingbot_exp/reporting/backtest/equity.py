"""The equity curve of a backtest: wealth and drawdown, and the Sharpe ratio over a rolling window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from tradingbot_exp.evaluation.metrics.backtest import max_drawdown
from tradingbot_exp.plots.numbers import percent, significant
from tradingbot_exp.plots.predictions import MAX_BARS, iso_times
from tradingbot_exp.plots.style import (
    ACTUAL,
    FORECAST,
    left_out,
    new_figure,
    nothing_to_draw,
    rounded,
)
from tradingbot_exp.reporting.backtest.numbers import (
    Backtest,
    drawdown,
    rolling_sharpe,
    wealth,
    window_of,
)


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


def _thinned(points: int, *keep: int) -> NDArray[np.intp]:
    """Choose at most about `MAX_BARS` points, evenly, with the last one and those that must be seen."""
    return np.unique([*range(0, points, -(-points // MAX_BARS)), *keep, points - 1]).astype(np.intp)


def _time_title(test: Backtest) -> str:
    return "time" if isinstance(test.times, pd.DatetimeIndex) else "bar"
