"""What costs do to a strategy: its Sharpe ratio by what each change of position costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.plots import style
from tradingbot_exp.plots.numbers import ratio, significant
from tradingbot_exp.reporting.backtest import Backtest
from tradingbot_exp.reporting.page.page import Block, Figure
from tradingbot_exp.reporting.tear_sheet.trained import Trained

COST_POINTS, LEAST_COST_REACH, MOST_COST_REACH = 61, 10.0, 200.0


def cost_blocks(trained: Trained) -> list[Block]:
    """Draw how much cost the strategy can bear."""
    test = trained.backtest
    if test is None:
        return []
    curve = cost_curve(test)
    return [Figure(costs(curve, test.rules.per), f"Sharpe ratio against cost; {_sentence(curve)}.")]


@dataclass(frozen=True, eq=False)
class CostCurve:
    """The net Sharpe ratio if a change of position had cost something else."""

    # Costs in basis points and the ratios there, shape (m,).
    bps: Floats
    sharpe: Floats
    # The run's own cost, and the ratio there.
    charged: float
    at_charged: float
    hold: float  # buy and hold's ratio, at no cost
    break_even: float  # see `Backtest.break_even`


def cost_curve(test: Backtest) -> CostCurve:
    """Vary the cost of a change of position from 0 to well beyond what is charged and where nothing is left."""
    charged, break_even = test.rules.cost_bps, test.break_even
    beyond = 1.3 * break_even if math.isfinite(break_even) else 0.0
    reach = max(2.0 * charged, min(beyond, MOST_COST_REACH), LEAST_COST_REACH)
    bps = np.linspace(0.0, reach, COST_POINTS)
    paid = test.changes * 1e-4
    sharpe = np.array([test.sharpe(test.gross - test.borrowed - cost * paid) for cost in bps])
    return CostCurve(bps, sharpe, charged, test.sharpe(test.net), test.sharpe(test.market), break_even)


def costs(curve: CostCurve, per: str) -> go.Figure:
    """Draw the net Sharpe ratio against the cost of a change of position, with the cost that leaves nothing."""
    title = "Transaction costs: how much can it bear?"
    if not np.isfinite(curve.sharpe).any():
        return style.nothing_to_draw(title, "the strategy never takes a position")
    fig = style.new_figure(title, _sentence(curve))
    hover, half = "%{x:.3g} bps: %{y:.2f}", curve.bps[-1] / 2
    style.add_line(
        fig, style.rounded(curve.bps), style.rounded(curve.sharpe), "net", {"color": style.FORECAST, "width": 2}, hover
    )
    side = "top right" if curve.charged < half else "top left"
    text = {"mode": "markers+text", "text": ["as charged"], "textposition": side, "showlegend": False}
    at = [curve.charged], style.rounded([curve.at_charged])
    style.add_dots(fig, *at, "as charged", {"color": style.FORECAST, "size": 10}, hover, **text)
    if np.isfinite(curve.hold):
        ends, look = style.rounded(curve.bps[[0, -1]]), {"color": style.ACTUAL, "width": 1.4}
        style.add_line(fig, ends, style.rounded([curve.hold] * 2), "buy and hold", look, "%{y:.2f}")
    if 0 < curve.break_even < curve.bps[-1]:
        fig.add_vline(x=curve.break_even, line={"color": style.MARK, "width": 1.5, "dash": "dash"})
        late = curve.break_even > half
        fig.add_annotation(
            text=f"nothing left at {curve.break_even:.1f} bps",
            x=curve.break_even,
            y=0,
            yref="paper",
            yanchor="bottom",
            xanchor="right" if late else "left",
            xshift=-6 if late else 6,
            showarrow=False,
            font={"color": style.MARK},
        )
    fig.update_layout(height=380)
    fig.update_xaxes(title_text="cost of changing the position by 1 (basis points)", rangemode="tozero")
    fig.update_yaxes(title_text=f"Sharpe ratio ({per})", zeroline=True, zerolinecolor=style.RULE)
    return fig


def _sentence(curve: CostCurve) -> str:
    """Say where the strategy breaks even."""
    charged = f"charged: {significant(curve.charged)} bps, Sharpe ratio {ratio(curve.at_charged)}"
    if not np.isfinite(curve.break_even):
        return f"{charged} · it never changes its position"
    if curve.break_even <= 0:
        return f"{charged} · it loses even at no cost"
    return f"{charged} · breaks even at {ratio(curve.break_even, 1)} bps"
