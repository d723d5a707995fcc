"""Parallel coordinates of a study: each trial as a line over its parameters and values.

Plain lines instead of Plotly's own, which need WebGL, do not print and keep their colours on a dark page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from tradingbot_exp.plots.style import ACTUAL, FORECAST, MARK, RULE, add_line, evenly, new_figure, rounded, short
from tradingbot_exp.reporting.study.axes import Axis, tick_text
from tradingbot_exp.reporting.study.layout import EARLY, sized
from tradingbot_exp.reporting.study.numbers import Scale, Study, scale_of, value_text
from tradingbot_exp.tracking.reading.records import TrialRecord

GROUP_LINES = 200
"""Trials drawn of one group."""
_DENSE, _BRIEF = 4, 5  # axes beyond which, on a narrow screen, only labels of so many letters have room
_SPREAD = 0.05  # what a choice's lines are spread over, so that they can be told apart


@dataclass(frozen=True)
class _Group:
    """Trials that are drawn alike."""

    label: str
    trials: list[TrialRecord]
    color: str
    width: float
    opacity: float


def parallel(study: Study, axes: Sequence[Axis]) -> go.Figure:
    """Draw each trial as a line over its parameters and values, the best above the others.

    A click on the legend hides a group.
    """
    groups = _groups(study)
    drawn = {group.label: [group.trials[i] for i in evenly(0, len(group.trials) - 1, GROUP_LINES)] for group in groups}
    total, shown = sum(len(group.trials) for group in groups), sum(map(len, drawn.values()))
    subtitle = "a line a trial, values with the better end up"
    if shown < total:
        subtitle += f" · {shown:,} of {total:,} drawn"
    scales = [scale_of([trial.values[i] for trial in study.complete]) for i in range(len(study.objectives))]
    figure = new_figure("Parameters and values of each trial", subtitle)
    last = len(axes) + len(scales) - 1
    for group in groups:
        x: list[float | None] = []
        y: list[float] = []
        numbers: list[int | None] = []
        for trial in drawn[group.label]:
            shift = _SPREAD * ((trial.number * 0.618034) % 1 - 0.5)
            shares = [axis.share(trial.params.get(axis.key)) + shift * (axis.kind == "choice") for axis in axes]
            ends = [_height(study, i, trial.values[i], scale) for i, scale in enumerate(scales)]
            x += [*range(last + 1), None]
            y += [*shares, *ends, math.nan]
            numbers += [trial.number] * (last + 1) + [None]
        look, more = (
            {"color": group.color, "width": group.width},
            {"opacity": group.opacity, "customdata": numbers[:-1]},
        )
        add_line(figure, x[:-1], rounded(y[:-1], 3), group.label, look, "trial %{customdata}", **more)
    ticks = [[(axis.share_of_place(place), text) for place, text in axis.ticks()] for axis in axes]
    ticks += [_value_ticks(study, i, scale) for i, scale in enumerate(scales)]
    _add_axes(figure, ticks)
    names = [axis.name for axis in axes] + [objective.metric for objective in study.objectives]
    slanted = last > _DENSE + 2
    figure.update_xaxes(
        tickvals=list(range(last + 1)),
        ticktext=[f"<b>{short(name, 20)}</b>" for name in names],
        range=[-0.12, last + 0.12],
        showgrid=False,
        zeroline=False,
        ticks="",
        tickangle=20 if slanted else 0,
    )
    figure.update_yaxes(visible=False, range=[-0.07, 1.07])
    figure.update_layout(margin={"l": 56, "r": 72 if slanted else 40})
    narrow = figure.layout.meta["narrow"]
    narrow |= {"xaxis.ticktext": [f"<b>{short(name, 14)}</b>" for name in names], "xaxis.tickfont.size": 10}
    narrow |= {"margin.l": 24, "margin.r": 16}
    if last > 2:  # slanted names reach over the right edge
        narrow |= {"xaxis.tickangle": 40, "margin.r": 64}
    return sized(figure, 360)


def _add_axes(figure: go.Figure, ticks: Sequence[Sequence[tuple[float, str]]]) -> None:
    """Add a vertical line a parameter or value, labelled at its ticks."""
    narrow, last = figure.layout.meta["narrow"], len(ticks) - 1
    for place, marks in enumerate(ticks):
        figure.add_shape(type="line", x0=place, x1=place, y0=-0.04, y1=1.04, line={"color": RULE, "width": 1.5})
        for share, text in marks:
            if last > _DENSE and len(text) > _BRIEF:  # no room on a narrow screen
                narrow[f"annotations.{len(figure.layout.annotations)}.visible"] = False
            figure.add_annotation(
                x=place,
                y=share,
                text=short(text, 16),
                showarrow=False,
                # On the inner side of the last axis, where there is room.
                xanchor="right" if place == last else "left",
                xshift=-5 if place == last else 5,
                font={"size": 11},
                bgcolor="#ffffff",  # the paper's colour, on a dark page too
                borderpad=1,
                opacity=0.85,
            )


def _groups(study: Study) -> list[_Group]:
    """Group the complete trials by how good they are, the best last."""
    trials = list(study.complete)
    crowded = len(trials) > 60
    if study.several:
        front = {id(trial) for trial in study.best}
        others = [trial for trial in trials if id(trial) not in front]
        groups = [
            _Group("dominated", others, ACTUAL, 1, 0.35 if crowded else 0.6),
            _Group("Pareto front", list(study.best), MARK, 1.8, 0.9),
        ]
    else:
        winner, *rest = study.best
        top = len(study.best) // 10 if len(study.best) >= 20 else 0
        half = max(len(rest) // 2, top)
        groups = [
            _Group("worse half", rest[half:], ACTUAL, 1, 0.3 if crowded else 0.6),
            _Group("better half", rest[top:half], EARLY, 1, 0.45 if crowded else 0.7),
            _Group("best tenth", rest[:top], FORECAST, 1.3, 0.75),
            _Group(f"trial {winner.number}, the best", [winner], MARK, 3, 1),
        ]
    return [group for group in groups if group.trials]


def _height(study: Study, objective: int, value: float, scale: Scale) -> float:
    """Return a value's height from 0 to 1, with the better end up."""
    low, high = scale.low, scale.high
    place = min(max(value, low), high)
    if scale.log:
        place, low, high = math.log10(place), math.log10(low), math.log10(high)
    share = (place - low) / (high - low) if high > low else 0.5
    return share if study.objectives[objective].sign < 0 else 1 - share


def _value_ticks(study: Study, objective: int, scale: Scale) -> list[tuple[float, str]]:
    middle = math.sqrt(scale.low * scale.high) if scale.log else (scale.low + scale.high) / 2
    name = study.objectives[objective].metric
    values = [scale.low, middle, scale.high] if scale.high > scale.low else [scale.low]

    def text(value: float) -> str:
        known = value_text(name, value)
        return known if len(known) < 8 else tick_text(value)

    return [(_height(study, objective, value, scale), text(value)) for value in values]
