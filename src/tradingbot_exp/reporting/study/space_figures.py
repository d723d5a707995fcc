"""The figures of a study's space: slices, the neighbourhood of the winner, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from tradingbot_exp.plots.style import ACTUAL, FORECAST, MARK, TOP_PX, new_figure, plain, rounded, short
from tradingbot_exp.reporting.study.axes import Axis
from tradingbot_exp.reporting.study.layout import EARLY, axis_text, marker_size, sized, value_axis
from tradingbot_exp.reporting.study.neighbours import Neighbours
from tradingbot_exp.reporting.study.numbers import Scale, Study, metric_label, scale_of
from tradingbot_exp.tracking.reading.records import TrialRecord

MAX_POINTS = 400
"""Trials drawn in a panel of the slices, and half of those in the neighbourhood."""


def slices(study: Study, axes: Sequence[Axis], objective: int = 0) -> go.Figure:
    """Draw a panel a parameter: the value of each complete trial against it, coloured from early to late."""
    name = study.objectives[objective].metric
    trials = _best_and_evenly(study, objective)
    scale = scale_of([trial.values[objective] for trial in study.complete])
    better = "higher" if study.objectives[objective].sign < 0 else "lower"
    without = len(study.trials) - len(study.complete)
    notes = [f"{better} is better", "from early trials in orange to late ones in blue"]
    if len(trials) < len(study.complete):
        notes.append(f"{len(trials):,} of {len(study.complete):,} drawn")
    if without:
        notes.append(f"{without:,} without a value left out")
    columns = min(4 if len(axes) in (4, 7, 8) else 3, len(axes))
    rows = -(-len(axes) // columns)
    narrow = _grid(len(axes), 1)
    figure = new_figure(f"{name} against each parameter", " · ".join(notes) + scale.note(), narrow=narrow)
    best = study.ranked(objective)[0] if study.complete else None
    for panel, axis in enumerate(axes):
        suffix = "" if panel == 0 else str(panel + 1)
        spread = [0.3 * ((trial.number * 0.618034) % 1 - 0.5) if axis.kind == "choice" else 0.0 for trial in trials]
        places = [axis.place(trial.params.get(axis.key)) + shift for trial, shift in zip(trials, spread, strict=True)]
        figure.add_scatter(
            x=rounded(places),
            y=rounded([trial.values[objective] for trial in trials]),
            xaxis=f"x{suffix}",
            yaxis=f"y{suffix}",
            mode="markers",
            name=plain(axis.name),
            marker={
                "color": [trial.number for trial in trials],
                "coloraxis": "coloraxis",
                "size": 8 if len(trials) <= 60 else 5,
                "opacity": 0.75,
            },
            customdata=[[trial.number, short(axis.text(trial.params.get(axis.key)), 40)] for trial in trials],
            hovertemplate=f"trial %{{customdata[0]}}: {short(axis.name)} %{{customdata[1]}}, %{{y:.5g}}<extra></extra>",
        )
        if best is not None:
            figure.add_scatter(
                x=rounded([axis.place(best.params.get(axis.key))]),
                y=rounded([best.values[objective]]),
                xaxis=f"x{suffix}",
                yaxis=f"y{suffix}",
                mode="markers",
                marker={"symbol": "star", "size": 15, "color": MARK, "line": {"width": 1, "color": "#ffffff"}},
                hovertemplate=f"trial {best.number}, the best<extra></extra>",
            )
        _slice_axes(figure, panel, axis, scale, labelled=panel % columns == 0)
        label = metric_label(name, study.run)
        figure.layout.meta["narrow"][f"yaxis{suffix}.title.text"] = short(label, 22)
        figure.layout.meta["narrow"][f"yaxis{suffix}.showticklabels"] = True
        if panel % columns == 0:
            figure.update_layout({f"yaxis{suffix}_title_text": short(label, 22) if rows > 1 else short(label, 30)})
    layout = _grid(len(axes), columns)
    figure.update_layout({path.replace(".", "_"): value for path, value in layout.items()})
    first, last = (bound([trial.number for trial in trials], default=0) for bound in (min, max))
    figure.update_layout(
        showlegend=False,
        margin={"l": 72, "r": 16, "b": 60, "t": TOP_PX - 22},
        coloraxis={
            "cmin": first,
            "cmax": max(last, first + 1),
            "showscale": False,
            "colorscale": [[0, EARLY], [1, FORECAST]],
        },
    )
    return figure


def neighbourhood(study: Study, found: Neighbours) -> go.Figure:
    """Draw each trial's value against how far it is from the winner."""
    winner, objective = study.best[0], study.objectives[0]
    by_number = {trial.number: trial for trial in study.distinct}
    keep = np.unique(
        np.append(np.arange(found.nearest), np.linspace(0, len(found.numbers) - 1, 2 * MAX_POINTS).astype(int))
    )
    values = np.array([by_number[int(number)].values[0] for number in found.numbers])
    scale = scale_of([*values, winner.values[0]], winner.values[0])
    figure = new_figure(
        "How flat it is around the winner",
        f"distance over all parameters: 0 at the winner, 1 in the opposite corner{scale.note()}",
    )
    for near, label, color in ((False, "all others", ACTUAL), (True, f"the nearest {found.nearest}", FORECAST)):
        chosen = [i for i in keep.tolist() if (i < found.nearest) is near]
        figure.add_scatter(
            x=rounded(found.distances[chosen], 4),
            y=rounded(values[chosen]),
            name=label,
            mode="markers",
            marker={"color": color, "size": 8 if len(values) <= 60 else 6, "opacity": 0.75},
            customdata=found.numbers[chosen].tolist(),
            hovertemplate="trial %{customdata}: distance %{x:.2f}, value %{y:.5g}",
        )
    figure.add_scatter(
        x=[0],
        y=rounded([winner.values[0]]),
        name=f"trial {winner.number}, the best",
        mode="markers",
        marker={"symbol": "star", "size": 15, "color": MARK},
        hovertemplate="%{y:.5g}",
    )
    figure.add_hline(y=winner.values[0], line={"color": MARK, "width": 1.2, "dash": "dash"})
    figure.update_xaxes(title_text="distance from the winner (share of the space)", rangemode="tozero", zeroline=False)
    value_axis(figure, scale, metric_label(objective.metric, study.run))
    return sized(figure, 320)


def front(study: Study, first: int, second: int) -> go.Figure:
    """Draw two objectives against each other, the Pareto front drawn out."""
    names = [study.objectives[i].metric for i in (first, second)]
    best = {id(trial) for trial in study.best}
    points = {part: [trial for trial in study.complete if (id(trial) in best) is part] for part in (False, True)}
    scales = [scale_of([trial.values[i] for trial in study.complete]) for i in (first, second)]
    better = " and ".join(
        f"{'higher' if study.objectives[i].sign < 0 else 'lower'} {plain(study.objectives[i].metric)}"
        for i in (first, second)
    )
    figure = new_figure(f"{names[0]} against {names[1]}", f"better: {better}")
    for part, label in ((False, "dominated"), (True, "Pareto front")):
        found = sorted(points[part], key=lambda trial: trial.values[first])
        if not found:
            continue
        figure.add_scatter(
            x=rounded([trial.values[first] for trial in found]),
            y=rounded([trial.values[second] for trial in found]),
            name=label,
            mode="lines+markers" if part and not len(study.objectives) > 2 else "markers",
            line={"color": MARK, "width": 1.5, "dash": "dot"},
            marker={
                "color": MARK if part else ACTUAL,
                "size": 11 if part else marker_size(len(found)),
                "opacity": 1 if part else 0.6,
                "symbol": "diamond" if part else "circle",
            },
            customdata=[trial.number for trial in found],
            hovertemplate="trial %{customdata}: %{x:.4g}, %{y:.4g}",
        )
    value_axis(figure, scales[1], metric_label(names[1], study.run))
    figure.update_xaxes(
        title_text=axis_text(metric_label(names[0], study.run), scales[0]),
        type="log" if scales[0].log else "linear",
        range=scales[0].range,
        tickformat="~g",
        nticks=8,
        zeroline=False,
    )
    return sized(figure, 400)


def _best_and_evenly(study: Study, objective: int) -> list[TrialRecord]:
    """Choose the points of a slice: the best tenth, and of the others an even choice by rank; by number."""
    ranked = study.ranked(objective)
    if len(ranked) <= MAX_POINTS:
        return list(study.complete)
    top = min(len(ranked) // 10, MAX_POINTS // 4)
    rest = np.unique(np.linspace(top, len(ranked) - 1, MAX_POINTS - top).astype(int)).tolist()
    return sorted([*ranked[:top], *(ranked[i] for i in rest)], key=lambda trial: trial.number)


def _slice_axes(figure: go.Figure, panel: int, axis: Axis, scale: Scale, *, labelled: bool) -> None:
    suffix = "" if panel == 0 else str(panel + 1)
    ticks = axis.ticks()
    low, high = axis.ends
    margin = 0.5 if axis.kind == "choice" else 0.06 * (high - low) or 0.5
    figure.update_layout(
        {
            f"xaxis{suffix}": {
                "anchor": f"y{suffix}",
                "title": {"text": short(axis.name, 30) + (", log scale" if axis.log else ""), "standoff": 6},
                "tickvals": [float(f"{place:.6g}") for place, _ in ticks],
                "ticktext": [short(text, 14) for _, text in ticks],
                "range": [low - margin, high + margin],
                "showgrid": False,
                "zeroline": False,
            },
            f"yaxis{suffix}": {
                "anchor": f"x{suffix}",
                "type": "log" if scale.log else "linear",
                "range": scale.range,
                "tickformat": "~g",
                "nticks": 6,
                "showticklabels": labelled,
                "zeroline": False,
            },
        }
    )


def _grid(panels: int, columns: int) -> dict[str, Any]:
    """Place panels in columns: the axes' domains and the height, by dotted path."""
    rows = -(-panels // columns)
    plot, between = 260 if rows == 1 else 230, 84
    inner = rows * plot + (rows - 1) * between
    layout: dict[str, Any] = {"height": inner + TOP_PX - 22 + 60}
    gap = 0.05
    width = (1 - gap * (columns - 1)) / columns
    for panel in range(panels):
        row, column = divmod(panel, columns)
        suffix = "" if panel == 0 else str(panel + 1)
        left, top = column * (width + gap), 1 - row * (plot + between) / inner
        layout[f"xaxis{suffix}.domain"] = [round(left, 4), round(min(left + width, 1), 4)]
        layout[f"yaxis{suffix}.domain"] = [round(max(top - plot / inner, 0), 4), round(top, 4)]
    return layout
