"""The figures of a verdict: the winner among noise, the ranks of the best of one half, other seeds, and replays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from scipy.special import log_ndtr

from tradingbot_exp.evaluation.significance.selection_bias import critical_score, expected_maximum
from tradingbot_exp.plots.numbers import percent, ratio, significant
from tradingbot_exp.plots.style import ACTUAL, FORECAST, MARK, VALIDATION, WHISKER, new_figure, rounded
from tradingbot_exp.reporting.study.layout import sized

_POINTS = 240


def noise(value: float, unit: float, trials: int, *, name: str) -> go.Figure:
    """Draw how the best of as many noise trials is distributed, and where the winner stands.

    The best of N has the density N·φ(x)·Φ(x)^(N−1), on the scale of the standard error.

    Parameters
    ----------
    value : float
        The winner's.
    unit : float
        Standard error of what noise shows.
    trials : int
    name : str
        What is drawn: ``Sharpe ratio of alpha (a year)``.
    """
    z = np.linspace(-4.0, 6.0, 4 * _POINTS)
    density = np.exp(math.log(trials) - z**2 / 2 + (trials - 1) * log_ndtr(z)) / math.sqrt(2 * math.pi) / unit
    shown = density > 1e-3 * density.max()
    x, expected = z[shown] * unit, expected_maximum(trials) * unit
    digits = 2 if unit > 0.1 else 3
    figure = new_figure(
        f"The winner among the best of {trials:,} noise trials",
        f"{name} · winner {ratio(value, digits)}, noise {ratio(expected, digits)} on average",
    )
    figure.add_scatter(
        x=rounded(x),
        y=rounded(density[shown]),
        name=f"best of {trials:,} without skill",
        mode="lines",
        fill="tozeroy",
        line={"color": ACTUAL, "width": 2},
        hoverinfo="skip",
    )
    top = float(density.max())
    for place, label, color, dash in (
        (expected, "its mean", WHISKER, "dot"),
        (critical_score(trials) * unit, "what would be needed", VALIDATION, "dash"),
        (value, "the winner", MARK, "solid"),
    ):
        _line(figure, place, top, label, color, dash)
    _room(figure, [*x[[0, -1]], value])
    figure.update_xaxes(title_text=name, zeroline=True)
    figure.update_yaxes(title_text="density", rangemode="tozero", showticklabels=False, ticks="", showgrid=False)
    return sized(figure, 240)


def logits(found: Sequence[Sequence[float]], probability: float | None) -> go.Figure:
    """Draw the logits of the ranks that the best of one half has on the other, as the share of splits."""
    values, counts = np.array([each[0] for each in found]), np.array([each[1] for each in found], dtype=np.float64)
    reach = max(float(np.abs(values).max()), 0.5)
    half = 12
    edges = np.linspace(-reach, reach, 2 * half + 1)
    # A logit of 0 counts for the lower half.
    placed = np.maximum(values - 1e-9, -reach)
    shares = 100 * np.histogram(placed, edges, weights=counts)[0] / counts.sum()
    middles = (edges[:-1] + edges[1:]) / 2
    figure = new_figure(
        "How the best of one half does on the other half",
        f"{counts.sum():,.0f} ways to halve the bars · in the lower half in {percent(probability, 0)}",
    )
    for low, label, color in ((True, "lower half", VALIDATION), (False, "upper half", FORECAST)):
        chosen = middles < 0 if low else middles > 0
        figure.add_bar(
            x=rounded(middles[chosen]),
            y=rounded(shares[chosen]),
            width=0.94 * reach / half,
            name=label,
            marker={"color": color},
            hovertemplate="logit around %{x:.2f}: %{y:.1f} %",
        )
    figure.update_xaxes(title_text="logit of its rank on the other half", showgrid=False)
    figure.update_yaxes(title_text="share of splits (%)", rangemode="tozero", ticksuffix=" %")
    return sized(figure, 220)


def spread(seeds: Mapping[str, Any]) -> go.Figure:
    """Draw the winner's value with the study's seed beside those with other seeds."""
    values, name = np.array(seeds["values"], dtype=np.float64), str(seeds["metric"])
    figure = new_figure(
        "The winner with other seeds",
        f"{name} · in the study {significant(seeds['chosen'])}, with others {significant(seeds['mean'])} on average",
    )
    figure.add_scatter(
        x=rounded(values),
        y=[0] * len(values),
        name="other seeds",
        mode="markers",
        marker={"color": FORECAST, "size": 12, "opacity": 0.65},
        hovertemplate="%{x:.5g}",
    )
    _line(figure, seeds["mean"], 0.5, "their mean", WHISKER, "dot", low=-0.5)
    _line(figure, seeds["chosen"], 0.5, "in the study", MARK, "solid", low=-0.5)
    _room(figure, [*values, seeds["chosen"]])
    figure.update_xaxes(title_text=name, tickformat="~g", zeroline=False)
    figure.update_yaxes(range=[-0.6, 0.6], showticklabels=False, ticks="", showgrid=False, zeroline=False)
    return sized(figure, 110)


def replays(found: Mapping[str, Any]) -> go.Figure:
    """Draw the best values of the searches on permuted targets, and the winner's."""
    values, name = np.array(found["values"], dtype=np.float64), str(found["metric"])
    figure = new_figure(
        "The winner among searches where there is nothing to find",
        f"the best {name} of {len(values):,} searches on permuted targets · p {significant(found['p'], 2)}",
    )
    counts, edges = np.histogram(values, bins=min(max(math.ceil(2 * len(values) ** 0.5), 6), 40))
    figure.add_bar(
        x=rounded((edges[:-1] + edges[1:]) / 2, 6),
        y=counts.tolist(),
        width=float(0.94 * (edges[1] - edges[0])),
        name="permuted targets",
        marker={"color": ACTUAL},
        hovertemplate="around %{x:.4g}: %{y}",
    )
    _line(figure, found["chosen"], float(counts.max()), "the winner", MARK, "solid")
    _room(figure, [*edges[[0, -1]], found["chosen"]])
    figure.update_xaxes(title_text=name, tickformat="~g", showgrid=False, zeroline=False)
    whole = 1 if counts.max() <= 8 else None
    figure.update_yaxes(title_text="searches", rangemode="tozero", tickformat="d", dtick=whole)
    return sized(figure, 200)


def _room(figure: go.Figure, values: Sequence[float]) -> None:
    """Let the horizontal axis begin and end a little beyond all values, so that no line lies on the frame."""
    low, high = float(np.min(values)), float(np.max(values))
    beyond = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    figure.update_xaxes(range=rounded([low - beyond, high + beyond], 6))


def _line(  # noqa: PLR0917 - a place, and how it looks
    figure: go.Figure, x: float, top: float, label: str, color: str, dash: str, *, low: float = 0.0
) -> None:
    """Draw a vertical line as a trace, so that the legend names it and the axis makes room for it."""
    figure.add_scatter(
        x=rounded([x, x], 6),
        y=rounded([low, top]),
        name=label,
        mode="lines",
        line={"color": color, "width": 2.4 if dash == "solid" else 1.8, "dash": dash},
        hovertemplate=f"{label}: %{{x:.4g}}",
    )
