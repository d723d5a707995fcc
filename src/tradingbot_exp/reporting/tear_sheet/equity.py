"""What the forecasts would have earned: wealth, its falls from a peak, and the Sharpe ratio over a rolling window."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.metrics.backtest import max_drawdown
from tradingbot_exp.plots import style
from tradingbot_exp.plots.numbers import percent, significant
from tradingbot_exp.reporting.backtest import Backtest, time_title, wealth, window_of
from tradingbot_exp.reporting.page.page import Block, Figure, Notice
from tradingbot_exp.reporting.tear_sheet.trained import Trained


def equity_blocks(trained: Trained) -> list[Block]:
    """Draw what 1 became, and whether it was earned all along."""
    test = trained.backtest
    if test is None:
        text = "The forecasts come without one-bar returns, so there is no backtest."
        return [] if trained.forecasts is None else [Notice(text, "muted")]
    return [
        Figure(equity(test), "Wealth after and before costs and by buy and hold; below, the fall from peak."),
        Figure(rolling(test), "The Sharpe ratio over a rolling window, with the band that luck alone fills."),
    ]


def drawdown(returns: Floats) -> Floats:
    """Fall of wealth from its highest point so far, the start included, shape (n + 1,), from −1 to 0."""
    path = wealth(returns)
    return np.asarray(path / np.maximum.accumulate(path) - 1.0)


def rolling_sharpe(returns: Floats, window: int, periods: float) -> Floats:
    """Sharpe ratio of the last `window` returns at each bar, shape (n,); NaN before, and where they are all equal."""
    rolling = pd.Series(returns).rolling(window)
    std = rolling.std(ddof=1).to_numpy()
    flat = (rolling.max() == rolling.min()).to_numpy() | ~(std > 0)
    return np.where(flat, np.nan, rolling.mean().to_numpy() / np.where(flat, 1.0, std) * math.sqrt(periods))


def equity(test: Backtest) -> go.Figure:
    """Draw what 1 became, after and before costs and by buy and hold, and below it how far each fell."""
    paths = {"net": wealth(test.net), "before costs": wealth(test.gross), "buy and hold": wealth(test.market)}
    falls = {"net": drawdown(test.net), "buy and hold": drawdown(test.market)}
    notes = [f"{name} {significant(float(path[-1]))}" for name, path in paths.items()]
    notes.append(f"deepest fall {percent(max_drawdown(test.net))}")
    narrow = {"height": 620, "yaxis.nticks": 5}
    lost = style.left_out(test.left_out, "rows" if test.layout.is_panel else "bars")
    fig = style.new_figure("Equity curve: what 1 became", " · ".join(notes) + lost, narrow=narrow)
    kept = style.thinned(len(test.net) + 1, style.MAX_BARS, *(int(np.argmin(fall)) for fall in falls.values()))
    closes = style.iso_times(test.times)
    times = [closes[i] for i in kept]
    looks: dict[str, dict[str, Any]] = {
        "net": {"color": style.FORECAST, "width": 2},
        "before costs": {"color": style.FORECAST, "width": 1.2, "dash": "dot"},
        "buy and hold": {"color": style.ACTUAL, "width": 1.6},
    }
    for name, path in paths.items():
        style.add_line(fig, times, style.rounded(path[kept]), name, looks[name], "%{y:.4f}")
    for name, fall in falls.items():
        look, filled = looks[name] | {"width": 1.2}, "tozeroy" if name == "net" else "none"
        area = {"showlegend": False, "fill": filled, "fillcolor": "rgba(0,114,178,0.15)", "yaxis": "y2"}
        style.add_line(fig, times, style.rounded(100 * fall[kept], 4), f"{name}, fall", look, "%{y:.1f} %", **area)
    fig.update_layout(
        height=560,
        hovermode="x unified",
        xaxis={"title": {"text": time_title(test.times)}, "anchor": "y2"},
        yaxis={"domain": [0.38, 1], "title": {"text": "wealth, from 1"}, "tickformat": "~g"},
        yaxis2={"domain": [0, 0.3], "title": {"text": "fall from peak (%)"}, "anchor": "x", "nticks": 4},
    )
    return fig


def rolling(test: Backtest) -> go.Figure:
    """Draw the Sharpe ratio of the last half year, or less, at each bar."""
    title = "Rolling Sharpe ratio: did it earn all along?"
    window = window_of(len(test.net), test.rules.periods)
    if not window:
        return style.nothing_to_draw(title, f"{len(test.net)} bars are too few for a rolling window")
    luck = test.luck(window)
    subtitle = f"Sharpe ratio {test.rules.per} of the last {window:,} bars"
    if np.isfinite(luck):
        subtitle += f" · luck alone gives up to ± {luck:.1f}"
    fig = style.new_figure(title, subtitle)
    kept = window - 1 + style.thinned(len(test.net) - window + 1, style.MAX_BARS)
    ends = style.iso_times(test.times[1:])
    times = [ends[i] for i in kept]
    drawn = (
        ("net", test.net, {"color": style.FORECAST, "width": 2}),
        ("buy and hold", test.market, {"color": style.ACTUAL, "width": 1.4}),
    )
    for name, returns, look in drawn:
        values = rolling_sharpe(returns, window, test.rules.annual)
        style.add_line(fig, times, style.rounded(values[kept], 4), name, look, "%{y:.2f}")
    if np.isfinite(luck):
        style.add_luck(fig, luck)
    fig.update_layout(height=360, hovermode="x unified")
    fig.update_xaxes(title_text=time_title(test.times))
    fig.update_yaxes(title_text=f"Sharpe ratio ({test.rules.per})")
    return fig
