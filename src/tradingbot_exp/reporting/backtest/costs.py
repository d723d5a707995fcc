"""What costs do to a strategy: its Sharpe ratio by what each change of position costs."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from tradingbot_exp.plots.numbers import ratio, significant
from tradingbot_exp.plots.style import (
    ACTUAL,
    FORECAST,
    MARK,
    RULE,
    new_figure,
    nothing_to_draw,
    rounded,
)
from tradingbot_exp.reporting.backtest.numbers import (
    CostCurve,
)


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
