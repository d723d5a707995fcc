"""How the winner stands among luck: noise trials, halves of the bars, other seeds, and searches on permuted targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from scipy.special import log_ndtr

from tradingbot_exp.evaluation.significance.repetition import Repetition
from tradingbot_exp.evaluation.significance.selection_bias import expected_maximum
from tradingbot_exp.evaluation.significance.verdict import REPETITIONS, repetitions_of
from tradingbot_exp.plots import style
from tradingbot_exp.plots.numbers import count, percent, ratio, significant
from tradingbot_exp.reporting.page.page import Block, Figure, Notice, Paragraph
from tradingbot_exp.reporting.study.layout import sized
from tradingbot_exp.reporting.study.numbers import Study
from tradingbot_exp.reporting.study.verdict import numbers_in, true_minus

_POINTS = 240


def robustness_blocks(study: Study) -> list[Block]:
    """Say and draw how the winner stands among luck; nothing of a study without a verdict."""
    verdict = study.record.verdict
    if study.run.kind == "null_study" or not study.trials or not verdict:
        return []
    blocks: list[Block] = []
    made: dict[str, Mapping[str, Any]] = {}
    for name, part in repetitions_of(verdict).items():
        if isinstance(part, Repetition):
            made[name] = verdict[name]
            blocks.append(Paragraph(true_minus(part.sentence)))
        else:
            blocks.append(Notice(f"The winner could not be {REPETITIONS[name].DEED}: {part}"))
    return [
        *blocks,
        *_noise(verdict),
        *_halves(verdict),
        *_seeds(made.get("seeds", {})),
        *_replays(made.get("null_replays", {})),
    ]


def _noise(verdict: Mapping[str, Any]) -> list[Block]:
    forecasts = verdict.get("family") == "forecast"
    value = numbers_in(verdict).get("ic" if forecasts else "alpha_sharpe")
    free = verdict.get("bars", 0) / verdict.get("horizon", 1) - 1 if forecasts else verdict.get("bars", 0) - 1
    if value is None or free <= 1:
        return []
    year = 1.0 if forecasts else math.sqrt(verdict["periods_per_year"])
    name, digits = ("Information coefficient", 3) if forecasts else ("Sharpe ratio of alpha (a year)", 2)
    text = f"{name.partition(' (')[0]} of the winner, {ratio(value, digits)}, among those of the best "
    text += f"of {count(verdict['count'], 'noise trial')}."
    needed = numbers_in(verdict).get("needed_ic" if forecasts else "needed_sharpe")
    return [Figure(noise(value, year / math.sqrt(free), verdict["count"], needed, name=name), text)]


def _halves(verdict: Mapping[str, Any]) -> list[Block]:
    if not verdict.get("pbo_logits"):
        return []
    probability = numbers_in(verdict).get("pbo")
    text = "How the best on one half of the bars ranks on the other half: left of 0 it is in the lower half, in "
    return [Figure(logits(verdict["pbo_logits"], probability), f"{text}{percent(probability, 0)} of the splits.")]


def _seeds(found: Mapping[str, Any]) -> list[Block]:
    if not found.get("values"):
        return []
    text = f"The winner's {found['metric']} with each of {count(len(found['values']), 'other seed')}, and the "
    return [Figure(spread(found), f"{text}{significant(found['chosen'])} that it has in the study.")]


def _replays(found: Mapping[str, Any]) -> list[Block]:
    if len(found.get("values", ())) < 2:
        return []
    searches = count(len(found["values"]), "search", "searches")
    text = f"What {searches} on permuted targets found, and the winner's {significant(found['chosen'])}."
    return [Figure(replays(found), text)]


def noise(value: float, unit: float, trials: int, needed: float | None, *, name: str) -> go.Figure:
    """Draw how the best of as many noise trials is distributed, and where the winner stands.

    The best of N has the density N·φ(x)·Φ(x)^(N−1), on the scale of the standard error.

    Parameters
    ----------
    value : float
        The winner's.
    unit : float
        Standard error of what noise shows.
    trials : int
    needed : float or None
        What would be needed, if that is known.
    name : str
        What is drawn: ``Sharpe ratio of alpha (a year)``.
    """
    z = np.linspace(-4.0, 6.0, 4 * _POINTS)
    density = np.exp(math.log(trials) - z**2 / 2 + (trials - 1) * log_ndtr(z)) / math.sqrt(2 * math.pi) / unit
    shown = density > 1e-3 * density.max()
    x, expected = z[shown] * unit, expected_maximum(trials) * unit
    digits = 2 if unit > 0.1 else 3
    figure = style.new_figure(
        f"The winner among the best of {trials:,} noise trials",
        f"{name} · winner {ratio(value, digits)}, noise {ratio(expected, digits)} on average",
    )
    figure.add_scatter(
        x=style.rounded(x),
        y=style.rounded(density[shown]),
        name=f"best of {trials:,} without skill",
        mode="lines",
        fill="tozeroy",
        line={"color": style.ACTUAL, "width": 2},
        hoverinfo="skip",
    )
    ends = (0.0, float(density.max()))
    _mark(figure, expected, ends, "its mean", {"color": style.WHISKER, "width": 1.8, "dash": "dot"})
    if needed is not None:
        look = {"color": style.VALIDATION, "width": 1.8, "dash": "dash"}
        _mark(figure, needed, ends, "what would be needed", look)
    _mark(figure, value, ends, "the winner", _WINNER)
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
    figure = style.new_figure(
        "How the best of one half does on the other half",
        f"{counts.sum():,.0f} ways to halve the bars · in the lower half in {percent(probability, 0)}",
    )
    for low, label, color in ((True, "lower half", style.VALIDATION), (False, "upper half", style.FORECAST)):
        chosen = middles < 0 if low else middles > 0
        figure.add_bar(
            x=style.rounded(middles[chosen]),
            y=style.rounded(shares[chosen]),
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
    figure = style.new_figure(
        "The winner with other seeds",
        f"{name} · in the study {significant(seeds['chosen'])}, with others {significant(seeds['mean'])} on average",
    )
    look = {"color": style.FORECAST, "size": 12, "opacity": 0.65}
    style.add_dots(figure, style.rounded(values), [0] * len(values), "other seeds", look, "%{x:.5g}")
    ends = (-0.5, 0.5)
    _mark(figure, seeds["mean"], ends, "their mean", {"color": style.WHISKER, "width": 1.8, "dash": "dot"})
    _mark(figure, seeds["chosen"], ends, "in the study", _WINNER)
    _room(figure, [*values, seeds["chosen"]])
    figure.update_xaxes(title_text=name, tickformat="~g", zeroline=False)
    figure.update_yaxes(range=[-0.6, 0.6], showticklabels=False, ticks="", showgrid=False, zeroline=False)
    return sized(figure, 110)


def replays(found: Mapping[str, Any]) -> go.Figure:
    """Draw the best values of the searches on permuted targets, and the winner's."""
    values, name = np.array(found["values"], dtype=np.float64), str(found["metric"])
    figure = style.new_figure(
        "The winner among searches where there is nothing to find",
        f"the best {name} of {len(values):,} searches on permuted targets · p {significant(found['p'], 2)}",
    )
    counts, edges = np.histogram(values, bins=min(max(math.ceil(2 * len(values) ** 0.5), 6), 40))
    figure.add_bar(
        x=style.rounded((edges[:-1] + edges[1:]) / 2, 6),
        y=counts.tolist(),
        width=float(0.94 * (edges[1] - edges[0])),
        name="permuted targets",
        marker={"color": style.ACTUAL},
        hovertemplate="around %{x:.4g}: %{y}",
    )
    _mark(figure, found["chosen"], (0.0, float(counts.max())), "the winner", _WINNER)
    _room(figure, [*edges[[0, -1]], found["chosen"]])
    figure.update_xaxes(title_text=name, tickformat="~g", showgrid=False, zeroline=False)
    whole = 1 if counts.max() <= 8 else None
    figure.update_yaxes(title_text="searches", rangemode="tozero", tickformat="d", dtick=whole)
    return sized(figure, 200)


def _room(figure: go.Figure, values: Sequence[float]) -> None:
    """Let the horizontal axis begin and end a little beyond all values, so that no line lies on the frame."""
    low, high = float(np.min(values)), float(np.max(values))
    beyond = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    figure.update_xaxes(range=style.rounded([low - beyond, high + beyond], 6))


_WINNER = {"color": style.MARK, "width": 2.4, "dash": "solid"}


def _mark(figure: go.Figure, x: float, ends: tuple[float, float], label: str, look: Mapping[str, Any]) -> None:
    """Draw a vertical line as a trace, so that the legend names it and the axis makes room for it."""
    style.add_line(figure, style.rounded([x, x], 6), style.rounded(ends), label, look, f"{label}: %{{x:.4g}}")
