"""What the figures of a study share: the axis of values, sizes of markers, and room for the legend."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from tradingbot_exp.plots.style import FORECAST, TOP_PX, VALIDATION, WHISKER, short
from tradingbot_exp.reporting.study.numbers import Scale

MOST_OBJECTIVES = 4
"""Objectives that are drawn; all are in the tables."""
EARLY = "#b07700"
"""Of what came early, or was left early."""
COLORS = {
    "complete": FORECAST,
    "pruned": EARLY,
    "failed": VALIDATION,
    "interrupted": WHISKER,
    "running": "#cc79a7",
}
"""By the state of a trial."""
BELOW_PX = 64
_HALF_LETTERS, _ROW_PX = 16, 20  # of a legend's entry on half a narrow screen


def value_axis(figure: go.Figure, scale: Scale, label: str, axis: str = "yaxis") -> None:
    """Make an axis one of values."""
    figure.update_layout(
        {
            axis: {
                "title": {"text": f"{short(label, 44)}{', log scale' if scale.log else ''}"},
                "type": "log" if scale.log else "linear",
                "range": scale.range,
                "tickformat": "~g",
                "zeroline": False,
            }
        }
    )


def whole(last: int, few: int) -> dict[str, Any]:
    """Return what an axis of numbered trials or epochs looks like: up to `few`, each has a tick."""
    return {"tickformat": "d", "dtick": 1 if last <= few else None, "showgrid": False, "zeroline": False}


def marker_size(trials: int) -> float:
    """Return a marker's size that leaves so many apart."""
    return 9 if trials <= 60 else 6 if trials <= 300 else 4.5


def sized(figure: go.Figure, inner: float) -> go.Figure:
    """Set a figure's height; on a narrow screen the legend's rows get room above the plot."""
    names = [str(trace.name) for trace in figure.data if trace.name and trace.showlegend is not False]
    columns = 2 if max(map(len, names), default=0) <= _HALF_LETTERS else 1
    figure.update_layout(height=TOP_PX + inner + BELOW_PX, margin={"b": BELOW_PX}, showlegend=True)
    narrow = figure.layout.meta["narrow"]
    extra = _ROW_PX * max(-(-len(names) // columns) - 1, 0)
    narrow |= {"margin.t": narrow["margin.t"] + extra, "height": figure.layout.height + extra}
    narrow.setdefault("xaxis.nticks", 6)
    return figure
