"""Where in the space the good trials are: every trial over all parameters, and against each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from tradingbot_exp.plots import style
from tradingbot_exp.reporting.page.page import Block, Figure, Notice, Paragraph
from tradingbot_exp.reporting.study.axes import Axis
from tradingbot_exp.reporting.study.importance import importance_of
from tradingbot_exp.reporting.study.layout import EARLY, MOST_OBJECTIVES
from tradingbot_exp.reporting.study.neighbours import neighbour_blocks
from tradingbot_exp.reporting.study.numbers import Scale, Study, metric_label, scale_of
from tradingbot_exp.reporting.study.parallel import parallel
from tradingbot_exp.runtime.text import listed
from tradingbot_exp.tracking.reading.records import TrialRecord

MAX_POINTS, MAX_AXES = 400, 12
"""Trials drawn in a panel, and parameters drawn."""


def space_blocks(study: Study) -> list[Block]:
    """Draw the complete trials over the parameters that have several values."""
    axes = _drawn_axes(study)
    if not axes:
        return [Notice("The trials do not differ in any parameter on record.", "muted")] if study.trials else []
    if len(study.complete) < 2:
        return [Notice("It takes two complete trials to compare settings.", "muted")] if study.trials else []
    blocks: list[Block] = []
    if len(axes) == MAX_AXES < len(study.axes):
        text = f"The {len(axes)} most important of {len(study.axes)} parameters are drawn; the table below has all."
        blocks.append(Paragraph(text))
    what = "the Pareto front is" if study.several else f"trial {study.best[0].number}, the best, is"
    names = listed([axis.name for axis in axes])
    text = f"Each complete trial as a line over {names} and its value; {what} drawn out."
    blocks.append(Figure(parallel(study, axes), text))
    for place, objective in enumerate(study.objectives[:MOST_OBJECTIVES]):
        text = f"{objective.metric} of the complete trials against each parameter; the best is the star."
        blocks.append(Figure(slices(study, axes, place), text))
    return [*blocks, *neighbour_blocks(study)]


def _drawn_axes(study: Study) -> list[Axis]:
    """Choose the parameters to draw: those with several values, in their order; of very many the most important."""
    several = [axis for axis in study.axes if not axis.single]
    if len(several) <= MAX_AXES:
        return several
    chosen = list(dict.fromkeys([*importance_of(study).axes, *several]))[:MAX_AXES]
    return [axis for axis in several if axis in chosen]


def slices(study: Study, axes: Sequence[Axis], objective: int = 0) -> go.Figure:
    """Draw a panel a parameter: the value of each complete trial against it, coloured from early to late."""
    name = study.objectives[objective].metric
    trials = _best_and_evenly(study, objective)
    scale = scale_of([trial.values[objective] for trial in study.complete])
    notes = [f"{study.better(objective)} is better", "from early trials in orange to late ones in blue"]
    if len(trials) < len(study.complete):
        notes.append(f"{len(trials):,} of {len(study.complete):,} drawn")
    if without := len(study.trials) - len(study.complete):
        notes.append(f"{without:,} without a value left out")
    columns = min(4 if len(axes) in (4, 7, 8) else 3, len(axes))
    figure = style.new_figure(
        f"{name} against each parameter", " · ".join(notes) + scale.note(), narrow=_grid(len(axes), 1)
    )
    best = study.ranked(objective)[0]
    label = metric_label(name, study.run)
    for panel, axis in enumerate(axes):
        on = {"xaxis": f"x{style.suffix(panel)}", "yaxis": f"y{style.suffix(panel)}"}
        spread = [0.3 * ((trial.number * 0.618034) % 1 - 0.5) if axis.kind == "choice" else 0.0 for trial in trials]
        places = [axis.place(trial.params.get(axis.key)) + shift for trial, shift in zip(trials, spread, strict=True)]
        look = {
            "color": [trial.number for trial in trials],
            "coloraxis": "coloraxis",
            "size": 8 if len(trials) <= 60 else 5,
            "opacity": 0.75,
        }
        told = [[trial.number, style.short(axis.text(trial.params.get(axis.key)), 40)] for trial in trials]
        values = style.rounded([trial.values[objective] for trial in trials])
        hover = f"trial %{{customdata[0]}}: {style.short(axis.name)} %{{customdata[1]}}, %{{y:.5g}}<extra></extra>"
        style.add_dots(
            figure, style.rounded(places), values, style.plain(axis.name), look, hover, customdata=told, **on
        )
        figure.add_scatter(
            x=style.rounded([axis.place(best.params.get(axis.key))]),
            y=style.rounded([best.values[objective]]),
            mode="markers",
            marker={"symbol": "star", "size": 15, "color": style.MARK, "line": {"width": 1, "color": "#ffffff"}},
            hovertemplate=f"trial {best.number}, the best<extra></extra>",
            **on,
        )
        _slice_axes(figure, panel, axis, scale)
        narrow, y = figure.layout.meta["narrow"], f"yaxis{style.suffix(panel)}"
        narrow |= {f"{y}.title.text": style.short(label, 22), f"{y}.showticklabels": True}
        first = panel % columns == 0
        if first:
            figure.update_layout({f"{y}_title_text": style.short(label, 22 if len(axes) > columns else 30)})
        figure.update_layout({f"{y}_showticklabels": first})
    style.set_layout(figure, _grid(len(axes), columns))
    numbers = [trial.number for trial in trials]
    figure.update_layout(
        showlegend=False,
        margin={"l": 72, "r": 16, "b": 60, "t": style.TOP_PX - 22},
        coloraxis={
            "cmin": min(numbers),
            "cmax": max(*numbers, min(numbers) + 1),
            "showscale": False,
            "colorscale": [[0, EARLY], [1, style.FORECAST]],
        },
    )
    return figure


def _best_and_evenly(study: Study, objective: int) -> list[TrialRecord]:
    """Choose the points of a slice: the best tenth, and of the others an even choice by rank; by number."""
    ranked = study.ranked(objective)
    if len(ranked) <= MAX_POINTS:
        return list(study.complete)
    top = min(len(ranked) // 10, MAX_POINTS // 4)
    rest = style.evenly(top, len(ranked) - 1, MAX_POINTS - top)
    return sorted([*ranked[:top], *(ranked[i] for i in rest)], key=lambda trial: trial.number)


def _slice_axes(figure: go.Figure, panel: int, axis: Axis, scale: Scale) -> None:
    ticks = axis.ticks()
    low, high = axis.ends
    margin = 0.5 if axis.kind == "choice" else 0.06 * (high - low) or 0.5
    figure.update_layout(
        {
            f"xaxis{style.suffix(panel)}": {
                "anchor": f"y{style.suffix(panel)}",
                "title": {"text": style.short(axis.name, 30) + (", log scale" if axis.log else ""), "standoff": 6},
                "tickvals": [float(f"{place:.6g}") for place, _ in ticks],
                "ticktext": [style.short(text, 14) for _, text in ticks],
                "range": [low - margin, high + margin],
                "showgrid": False,
                "zeroline": False,
            },
            f"yaxis{style.suffix(panel)}": {
                "anchor": f"x{style.suffix(panel)}",
                "type": "log" if scale.log else "linear",
                "range": scale.range,
                "tickformat": "~g",
                "nticks": 6,
                "zeroline": False,
            },
        }
    )


def _grid(panels: int, columns: int) -> dict[str, Any]:
    plot = 260 if panels <= columns else 230
    return style.panel_grid(panels, columns, plot=plot, title=0, below=84, around=style.TOP_PX - 22 + 60, gap=0.05)
