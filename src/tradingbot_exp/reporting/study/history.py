"""How the search went: the value of each trial, and the best so far."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from tradingbot_exp.plots.numbers import count, significant
from tradingbot_exp.plots.style import FORECAST, MARK, WHISKER, add_dots, add_line, new_figure, plain, rounded, short
from tradingbot_exp.reporting.page.page import Block, Figure, Notice
from tradingbot_exp.reporting.study.layout import COLORS, MOST_OBJECTIVES, marker_size, sized, value_axis, whole
from tradingbot_exp.reporting.study.numbers import Study, best_so_far, metric_label, scale_of, value_text
from tradingbot_exp.tracking.reading.records import TrialRecord

_SYMBOLS = {"pruned": "triangle-down", "failed": "x", "interrupted": "square-open", "running": "circle-open"}
_PLOT_PX, _ROW_PX = 340, 30  # of the values, and of a state below them


def history_blocks(study: Study) -> list[Block]:
    """Draw the values of the trials, a figure an objective."""
    if not study.complete:
        return [Notice("No trial has a value, so there is no history to draw.", "muted")] if study.trials else []
    blocks: list[Block] = []
    for place, objective in enumerate(study.objectives[:MOST_OBJECTIVES]):
        best = study.ranked(place)[0]
        text = f"The best {objective.metric}, {value_text(objective.metric, best.values[place])}, came with trial "
        text += f"{best.number}, the last trial being {study.trials[-1].number}. "
        text += f"Of all attempts: {study.by_state}{study.of_planned}."
        blocks.append(Figure(history(study, place), text))
    return blocks


def history(study: Study, objective: int = 0) -> go.Figure:
    """Draw the value of each trial by number, the best so far, and below them the trials without a value."""
    name, sign = study.objectives[objective].metric, study.objectives[objective].sign
    values = np.array([trial.values[objective] for trial in study.complete])
    numbers = [trial.number for trial in study.complete]
    so_far = sign * best_so_far(sign * values)
    scale = scale_of(values, float(so_far[-1]) if so_far.size else None)
    others = [state for state in study.counts if state != "complete"]
    figure = new_figure(f"{name} of each trial", f"{study.better(objective)} is better{scale.note()}")
    copies = [trial.duplicate_of is not None for trial in study.complete]
    for drawn, label, symbol in ((False, "complete", "circle"), (True, "complete, a known point again", "circle-open")):
        chosen = [i for i, copy in enumerate(copies) if copy is drawn]
        if chosen:
            look = {"color": FORECAST, "size": marker_size(len(numbers)), "opacity": 0.65, "symbol": symbol}
            add_dots(figure, [numbers[i] for i in chosen], rounded(values[chosen]), label, look, "trial %{x}: %{y:.5g}")
    if numbers:
        steps = np.flatnonzero(np.append(True, np.diff(so_far) != 0))
        ends = [*steps.tolist(), len(numbers) - 1]
        look, hover = {"color": MARK, "width": 2.2, "shape": "hv"}, "best so far, from trial %{x} on: %{y:.5g}"
        add_line(figure, [numbers[i] for i in ends], rounded(so_far[ends]), "best so far", look, hover)
    for row, state in enumerate(others):
        found = [trial for trial in study.trials if trial.state == state]
        look = {"color": COLORS.get(state, WHISKER), "size": 8, "symbol": _SYMBOLS.get(state, "diamond-open")}
        ended, at = [_ended(trial) for trial in found], [trial.number for trial in found]
        hover = "trial %{x}: %{customdata}"
        add_dots(figure, at, [row] * len(found), plain(state), look, hover, yaxis="y2", customdata=ended)
    strip, gap = _ROW_PX * len(others), 12 if others else 0
    inner = _PLOT_PX + strip + gap
    value_axis(figure, scale, metric_label(name, study.run))
    figure.update_yaxes(domain=[(strip + gap) / inner, 1])
    if others:
        figure.update_layout(
            yaxis2={
                "domain": [0, strip / inner],
                "tickvals": list(range(len(others))),
                "ticktext": [plain(state) for state in others],
                "range": [len(others) - 0.5, -0.5],
                "zeroline": False,
            }
        )
    last = max((trial.number for trial in study.trials), default=0)
    figure.update_xaxes(
        title_text="trial",
        range=[-0.02 * last - 0.5, 1.02 * last + 0.5],
        anchor="y2" if others else "y",
        **whole(last, 15),
    )
    return sized(figure, inner)


def _ended(trial: TrialRecord) -> str:
    """Say in a few words how a trial without a value ended."""
    parts = [f"{trial.state} after {count(trial.curve.steps[-1], 'epoch')}" if len(trial.curve) else trial.state]
    if len(trial.curve):
        parts.append(f"validation loss {significant(trial.curve.values[-1])}")
    if trial.error:
        parts.append(trial.error)
    return short(", ".join(parts), 90)
