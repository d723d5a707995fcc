"""The Pareto front of several objectives: drawn in pairs, and as a table."""

from __future__ import annotations

import itertools

import plotly.graph_objects as go

from tradingbot_exp.plots.numbers import count
from tradingbot_exp.plots.style import ACTUAL, MARK, new_figure, plain, rounded
from tradingbot_exp.reporting.page.blocks import count_cell
from tradingbot_exp.reporting.page.page import Block, Column, Figure, Table
from tradingbot_exp.reporting.study.layout import marker_size, sized, value_axis
from tradingbot_exp.reporting.study.numbers import Study, metric_label, scale_of
from tradingbot_exp.reporting.study.trials import run_cell, trial_cells

MOST_FRONTS = 3
"""Pairs of objectives that are drawn; all are in the table."""


def front_blocks(study: Study) -> list[Block]:
    """Draw the objectives against each other, and list the trials that no other dominates."""
    if not study.several or not study.best:
        return []
    blocks: list[Block] = []
    pairs = list(itertools.combinations(range(len(study.objectives)), 2))
    for first, second in pairs[:MOST_FRONTS] if len(study.complete) > 1 else ():
        names = " and ".join(study.objectives[i].metric for i in (first, second))
        text = f"{names} of each complete trial; {count(len(study.best), 'trial')} on the front."
        blocks.append(Figure(front(study, first, second), text))
    return [*blocks, _table(study)]


def front(study: Study, first: int, second: int) -> go.Figure:
    """Draw two objectives against each other, the Pareto front drawn out."""
    names = [study.objectives[i].metric for i in (first, second)]
    best = {id(trial) for trial in study.best}
    scales = [scale_of([trial.values[i] for trial in study.complete]) for i in (first, second)]
    better = " and ".join(f"{study.better(i)} {plain(study.objectives[i].metric)}" for i in (first, second))
    figure = new_figure(f"{names[0]} against {names[1]}", f"better: {better}")
    for part, label in ((False, "dominated"), (True, "Pareto front")):
        found = [trial for trial in study.complete if (id(trial) in best) is part]
        found.sort(key=lambda trial: trial.values[first])
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
    value_axis(figure, scales[0], metric_label(names[0], study.run), "xaxis")
    figure.update_xaxes(nticks=8)
    return sized(figure, 400)


def _table(study: Study) -> Table:
    """List the trials of the Pareto front, in the order of the first objective."""
    rows = [[count_cell(trial.number), *trial_cells(study, trial), run_cell(study, trial)] for trial in study.best]
    columns = [Column("trial", numeric=True)]
    columns += [Column(objective.metric, numeric=True, hint=objective.direction) for objective in study.objectives]
    columns += [Column(axis.name, numeric=axis.ordered, hint=axis.key) for axis in study.axes]
    return Table("The trials on the Pareto front", [*columns, Column("run")], rows, sortable=len(rows) > 1)
