"""The figures of a study's course: values by trial, learning curves, and importances.

A study may have 1,000 trials: lines of one kind are one trace with gaps, and where there are too many to be told
apart some are left out, which the subtitle says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from tradingbot_exp.plots.numbers import count, significant
from tradingbot_exp.plots.style import ACTUAL, FORECAST, MARK, TOP_PX, WHISKER, new_figure, plain, rounded, short
from tradingbot_exp.reporting.study.importance import SHUFFLES, Importance
from tradingbot_exp.reporting.study.layout import BELOW_PX, COLORS, marker_size, sized, value_axis
from tradingbot_exp.reporting.study.numbers import Study, best_so_far, metric_label, scale_of
from tradingbot_exp.tracking.reading.records import TrialRecord

_SYMBOLS = {"pruned": "triangle-down", "failed": "x", "interrupted": "square-open", "running": "circle-open"}
MAX_LINES, MAX_POINTS = 250, 80
"""Learning curves drawn, and points of one; the best, the first and the last are always among them."""
_PLOT_PX, _ROW_PX = 340, 30  # of the values, and of a state below them


def history(study: Study, objective: int = 0) -> go.Figure:
    """Draw the value of each trial by number, the best so far, and below them the trials without a value."""
    name = study.objectives[objective].metric
    sign = study.objectives[objective].sign
    values = np.array([trial.values[objective] for trial in study.complete])
    numbers = [trial.number for trial in study.complete]
    so_far = sign * best_so_far(sign * values)
    scale = scale_of(values, float(so_far[-1]) if so_far.size else None)
    others = [state for state in study.counts if state != "complete"]
    better = "higher" if sign < 0 else "lower"
    figure = new_figure(f"{name} of each trial", f"{better} is better{scale.note()}")
    copies = [trial.duplicate_of is not None for trial in study.complete]
    for drawn, label, symbol in ((False, "complete", "circle"), (True, "complete, a known point again", "circle-open")):
        chosen = [i for i, copy in enumerate(copies) if copy is drawn]
        if chosen:
            figure.add_scatter(
                x=[numbers[i] for i in chosen],
                y=rounded(values[chosen]),
                name=label,
                mode="markers",
                marker={"color": FORECAST, "size": marker_size(len(numbers)), "opacity": 0.65, "symbol": symbol},
                hovertemplate="trial %{x}: %{y:.5g}",
            )
    if numbers:
        steps = np.flatnonzero(np.append(True, np.diff(so_far) != 0))
        ends = [*steps.tolist(), len(numbers) - 1]
        figure.add_scatter(
            x=[numbers[i] for i in ends],
            y=rounded(so_far[ends]),
            name="best so far",
            mode="lines",
            line={"color": MARK, "width": 2.2, "shape": "hv"},
            hovertemplate="best so far, from trial %{x} on: %{y:.5g}",
        )
    for row, state in enumerate(others):
        found = [trial for trial in study.trials if trial.state == state]
        figure.add_scatter(
            x=[trial.number for trial in found],
            y=[row] * len(found),
            yaxis="y2",
            name=plain(state),
            mode="markers",
            marker={"color": COLORS.get(state, WHISKER), "size": 8, "symbol": _SYMBOLS.get(state, "diamond-open")},
            customdata=[_ended(trial) for trial in found],
            hovertemplate="trial %{x}: %{customdata}",
        )
    strip = _ROW_PX * len(others)
    gap = 12 if others else 0
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
        tickformat="d",
        dtick=1 if last <= 15 else None,
        range=[-0.02 * last - 0.5, 1.02 * last + 0.5],
        showgrid=False,
        zeroline=False,
        anchor="y2" if others else "y",
    )
    return sized(figure, inner)


def curves(study: Study) -> go.Figure:
    """Draw the validation loss of each epoch of all trials, the best drawn out, pruned ones ending early."""
    front = study.best if study.several else study.best[:1]
    lines = [trial for trial in study.trials if len(trial.curve) and trial not in front and trial.duplicate_of is None]
    drawn = _thinned(study, lines)
    subtitle = f"{count(len(lines) + len(front), 'curve')}"
    if len(drawn) < len(lines):
        subtitle += f" · {len(drawn) + len(front):,} of them drawn, from good to bad evenly"
    shown = [value for trial in (*drawn, *front) for value in trial.curve.values]
    lowest = min((value for trial in front for value in trial.curve.values if math.isfinite(value)), default=None)
    scale = scale_of(shown, lowest)
    broken = sum(not all(map(math.isfinite, trial.curve.values)) for trial in (*lines, *front))
    if broken:
        subtitle += f" · {count(broken, 'curve')} with losses that are not finite"
    figure = new_figure("Learning curves of all trials", subtitle + scale.note("loss", "losses"))
    faint = 1.2 if len(drawn) <= 30 else 0.8
    for state in ("complete", *(state for state in study.counts if state != "complete")):
        found = [trial for trial in drawn if trial.state == state]
        if found:
            color = ACTUAL if state == "complete" else COLORS.get(state, WHISKER)
            _add_curves(figure, found, plain(state), color, faint, opacity=0.55 if len(drawn) > 30 else 0.8)
    label = "Pareto front" if study.several else f"trial {front[0].number}, the best" if front else ""
    if any(len(trial.curve) for trial in front):
        _add_curves(figure, [trial for trial in front if len(trial.curve)], label, MARK, 2.6, opacity=1)
    value_axis(figure, scale, f"validation loss ({study.run.params.get('training.loss') or _loss(study)})")
    longest = max(trial.curve.steps[-1] for trial in (*drawn, *front) if len(trial.curve))
    figure.update_xaxes(
        title_text="epoch",
        tickformat="d",
        dtick=1 if longest <= 10 else None,
        range=[1 - 0.02 * longest, 1.01 * longest],
        showgrid=False,
        zeroline=False,
    )
    return sized(figure, 380)


def importances(found: Importance, objective: str = "") -> go.Figure:
    """Draw each parameter's importance as a bar, with what luck alone would give as a mark."""
    names = [short(name, 30) for name in found.names]
    colors = [FORECAST if share > luck else ACTUAL for share, luck in zip(found.shares, found.luck, strict=True)]
    title = f"Importance for {objective}" if objective else "Which parameters matter"
    figure = new_figure(title, f"PED-ANOVA · grey bars are within luck, by {SHUFFLES} shuffles of the values")
    places = list(range(len(names)))
    figure.add_bar(
        x=rounded(100 * np.array(found.shares), 4),
        y=places,
        orientation="h",
        width=0.62,
        marker={"color": colors},
        name="importance",
        customdata=names,
        hovertemplate="%{customdata}: %{x:.1f} %<extra></extra>",
        showlegend=False,
    )
    figure.add_scatter(
        x=rounded(100 * np.array(found.luck), 4),
        y=places,
        mode="markers",
        name=f"largest of {SHUFFLES} shuffles",
        marker={"symbol": "line-ns-open", "size": 20, "color": WHISKER, "line": {"width": 2.5}},
        customdata=names,
        hovertemplate="%{customdata}, shuffled: up to %{x:.1f} %<extra></extra>",
    )
    end = max(*found.shares, min(max(found.luck), 1.0))
    figure.update_xaxes(title_text="share of all importance (%)", range=[0, 104 * end], ticksuffix=" %")
    shares = [f"{100 * share:.0f} %" for share in found.shares]
    labels, brief = (
        [f"{short(name, width)}  <b>{share}</b>" for name, share in zip(found.names, shares, strict=True)]
        for width in (30, 14)
    )
    figure.update_yaxes(
        tickvals=places, ticktext=labels, range=[len(names) - 0.4, -0.6], showgrid=False, ticks="", zeroline=False
    )
    figure.layout.meta["narrow"] |= {"yaxis.ticktext": brief, "xaxis.nticks": 4}
    figure.update_layout(height=TOP_PX + BELOW_PX + 34 * max(len(names), 3))
    return figure


def _add_curves(
    figure: go.Figure, trials: Sequence[TrialRecord], name: str, color: str, width: float, *, opacity: float
) -> None:
    """Add the curves of several trials as one trace, with a gap after each."""
    x: list[int | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for trial in trials:
        steps, values = trial.curve.steps, rounded(trial.curve.values, 4)
        keep = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), MAX_POINTS)).astype(int)).tolist()
        x += [*(steps[i] for i in keep), None]
        y += [*(values[i] for i in keep), None]
        numbers += [trial.number] * len(keep) + [None]
    single = all(len(trial.curve) == 1 for trial in trials)
    figure.add_scatter(
        x=x[:-1],
        y=y[:-1],
        customdata=numbers[:-1],
        name=name,
        mode="markers" if single else "lines",
        line={"color": color, "width": width},
        marker={"color": color},
        opacity=opacity,
        hovertemplate="trial %{customdata}, epoch %{x}: %{y:.4g}",
    )


def _thinned(study: Study, lines: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Choose the curves to draw: evenly from the best to the worst last loss, in the order of trials."""
    if len(lines) <= MAX_LINES:
        return list(lines)
    last = np.array([next((v for v in reversed(trial.curve.values) if math.isfinite(v)), math.inf) for trial in lines])
    order = np.argsort(last, kind="stable")
    keep = order[np.unique(np.linspace(0, len(lines) - 1, MAX_LINES).astype(int))]
    return [lines[i] for i in sorted(keep.tolist())]


def _ended(trial: TrialRecord) -> str:
    """Say in a few words how a trial without a value ended."""
    parts = [f"{trial.state} after {count(trial.curve.steps[-1], 'epoch')}" if len(trial.curve) else trial.state]
    if len(trial.curve):
        parts.append(f"validation loss {significant(trial.curve.values[-1])}")
    if trial.error:
        parts.append(trial.error)
    return short(", ".join(parts), 90)


def _loss(study: Study) -> str:
    return "each trial's own" if any(axis.key == "training.loss" for axis in study.axes) else "loss"
