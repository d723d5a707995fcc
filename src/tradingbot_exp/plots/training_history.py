"""The losses of a training run by epoch, and its learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import plotly.graph_objects as go

from tradingbot_exp.plots import style
from tradingbot_exp.runtime.text import plural

Points: TypeAlias = tuple[Sequence[int], Sequence[float]]
"""Epochs in ascending order, and a value of each."""


def training_history(train: Points, val: Points, best_epoch: int | None, loss_name: str) -> go.Figure:
    """Draw the loss of each epoch, train against validation, with the best epoch marked.

    Parameters
    ----------
    train, val : tuple of sequence of int and sequence of float
        Epochs, which need not start at 1 or be all there, and the loss after each; either may be empty.
    best_epoch : int or None
        Epoch of the lowest validation loss.
    loss_name : str
        What the vertical axis holds, such as ``mse``.
    """
    title = "Training history"
    series = {name: (list(at), style.rounded(losses)) for name, (at, losses) in (("train", train), ("validation", val))}
    drawn = [value for _, losses in series.values() for value in losses if value is not None]
    if not drawn:
        return style.nothing_to_draw(title, "no epoch has a finite loss")
    missing = len(train[0]) + len(val[0]) - len(drawn)
    steps = {*train[0], *val[0]}
    epochs = len(steps)
    notes = plural(epochs, "epoch")
    if best_epoch is not None:
        notes += f" · best {best_epoch:,}"
        if best_epoch in val[0]:
            notes += f", validation {val[1][val[0].index(best_epoch)]:.4g}"
    fig = style.new_figure(title, notes + style.left_out(missing, "losses"))
    for (name, (at, losses)), color in zip(series.items(), (style.TRAIN, style.VALIDATION), strict=True):
        fig.add_scatter(
            x=at,
            y=losses,
            name=name,
            mode="lines+markers" if epochs <= 60 else "lines",
            line={"color": color, "width": 2},
            marker={"size": 5},
            hovertemplate="%{y:.5g}",
        )
    if best_epoch is not None:
        late = best_epoch > (min(steps) + max(steps)) / 2
        fig.add_vline(
            x=best_epoch,
            line={"color": style.MARK, "width": 1.5, "dash": "dash"},
            annotation={
                "text": f"best epoch {best_epoch}",
                "font": {"color": style.MARK},
                "xanchor": "right" if late else "left",
                "xshift": -6 if late else 6,
                "yanchor": "top",
            },
        )
    fig.update_layout(hovermode="x unified")
    fig.update_xaxes(
        title_text="epoch",
        unifiedhovertitle_text="epoch %{x}",
        tickformat="d",
        dtick=1 if epochs <= 10 else None,
        range=[min(steps) - 0.5, max(steps) + 0.5],
        showgrid=False,
    )
    fig.update_yaxes(title_text=f"loss ({style.plain(loss_name)})", tickformat="~g")
    if min(drawn) > 0:
        fig.update_layout(updatemenus=[_scale_switch()])
    return fig


def learning_rate(rates: Points) -> go.Figure:
    """Draw the learning rate of each epoch, which steps where a scheduler changed it."""
    title = "Learning rate"
    epochs, values = list(rates[0]), style.rounded(rates[1])
    if not any(value is not None for value in values):
        return style.nothing_to_draw(title, "no epoch has a finite learning rate")
    fig = style.new_figure(title, f"from {rates[1][0]:.4g} to {rates[1][-1]:.4g}")
    line = {"color": style.TRAIN, "width": 2, "shape": "hv"}
    fig.add_scatter(x=epochs, y=values, name="learning rate", line=line, hovertemplate="%{x}: %{y:.4g}")
    fig.update_layout(height=320, showlegend=False)
    fig.update_xaxes(title_text="epoch", tickformat="d", showgrid=False)
    fig.update_yaxes(title_text="learning rate", rangemode="tozero")
    return fig


def _scale_switch() -> dict[str, Any]:
    """Make the two buttons that turn the vertical axis linear or logarithmic."""
    return {
        "type": "buttons",
        "direction": "right",
        "showactive": True,
        "x": 1,
        "xanchor": "right",
        "y": 1,
        "yanchor": "bottom",
        "pad": {"b": 3, "t": 0},  # level with the legend: the mode bar appears above
        "font": {"size": 10},
        "bgcolor": "rgba(128,140,155,0.15)",
        "bordercolor": style.RULE,
        "buttons": [
            {"label": kind, "method": "relayout", "args": [{"yaxis.type": kind, "yaxis.autorange": True}]}
            for kind in ("linear", "log")
        ],
    }
