"""The learning curves of all trials.

A study may have 1,000 trials: lines of one kind are one trace with gaps, and where there are too many to be told
apart some are left out, which the subtitle says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from tradingbot_exp.config.losses import LOSS_KEYS, loss_title
from tradingbot_exp.plots.numbers import count
from tradingbot_exp.plots.style import ACTUAL, MARK, WHISKER, evenly, new_figure, plain, rounded
from tradingbot_exp.reporting.page.page import Block, Figure, Notice
from tradingbot_exp.reporting.study.layout import COLORS, sized, value_axis, whole
from tradingbot_exp.reporting.study.numbers import Study, scale_of
from tradingbot_exp.tracking.reading.records import TrialRecord

MAX_LINES, MAX_POINTS = 250, 80
"""Learning curves drawn, and points of one; the best, the first and the last are always among them."""


def curve_blocks(study: Study) -> list[Block]:
    """Draw the validation loss of each epoch of all trials."""
    drawn = _drawn(study)
    if not any(math.isfinite(value) for trial in drawn for value in trial.curve.values):
        return [Notice("No trial has a validation loss by epoch on record.", "muted")] if study.trials else []
    longest = max(trial.curve.steps[-1] for trial in drawn)
    text = f"The validation loss of {count(len(drawn), 'trial')} over at most {count(longest, 'epoch')}."
    short = [trial.curve.steps[-1] for trial in study.trials if trial.state == "pruned" and len(trial.curve)]
    if short:
        text += f" {count(len(short), 'trial')} pruned, after {count(min(short), 'epoch')} at the earliest."
    warning = "The loss itself was searched: each curve has its own unit, and none compares."
    return [*([Notice(warning)] if _is_loss_searched(study) else []), Figure(curves(study), text)]


def curves(study: Study) -> go.Figure:
    """Draw the validation loss of each epoch of all trials, the best drawn out, pruned ones ending early."""
    front = [trial for trial in study.front if len(trial.curve)]
    lines = [trial for trial in _drawn(study) if trial not in study.front]
    drawn = _thinned(lines)
    subtitle = f"{count(len(lines) + len(study.front), 'curve')}"
    if len(drawn) < len(lines):
        subtitle += f" · {len(drawn) + len(study.front):,} of them drawn, from good to bad evenly"
    shown = [value for trial in (*drawn, *front) for value in trial.curve.values]
    lowest = min((value for trial in front for value in trial.curve.values if math.isfinite(value)), default=None)
    scale = scale_of(shown, lowest)
    broken = sum(not all(map(math.isfinite, trial.curve.values)) for trial in (*lines, *front))
    if broken:
        subtitle += f" · {count(broken, 'curve')} with losses that are not finite"
    figure = new_figure("Learning curves of all trials", subtitle + scale.note("loss", "losses"))
    crowded = len(drawn) > 30
    for state in ("complete", *(state for state in study.counts if state != "complete")):
        found = [trial for trial in drawn if trial.state == state]
        if found:
            color = ACTUAL if state == "complete" else COLORS.get(state, WHISKER)
            _add_curves(figure, found, plain(state), color, 0.8 if crowded else 1.2, opacity=0.55 if crowded else 0.8)
    if front:
        label = "Pareto front" if study.several else f"trial {front[0].number}, the best"
        _add_curves(figure, front, label, MARK, 2.6, opacity=1)
    loss = "each trial's own" if _is_loss_searched(study) else loss_title(study.run.params)
    value_axis(figure, scale, f"validation loss ({loss})")
    longest = max(trial.curve.steps[-1] for trial in (*drawn, *front))
    figure.update_xaxes(title_text="epoch", range=[1 - 0.02 * longest, 1.01 * longest], **whole(longest, 10))
    return sized(figure, 380)


def _drawn(study: Study) -> list[TrialRecord]:
    return [trial for trial in study.trials if len(trial.curve) and trial.duplicate_of is None]


def _add_curves(
    figure: go.Figure, trials: Sequence[TrialRecord], name: str, color: str, width: float, *, opacity: float
) -> None:
    """Add the curves of several trials as one trace, with a gap after each."""
    x: list[int | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for trial in trials:
        steps, values = trial.curve.steps, rounded(trial.curve.values, 4)
        keep = evenly(0, len(steps) - 1, MAX_POINTS)
        x += [*(steps[i] for i in keep), None]
        y += [*(values[i] for i in keep), None]
        numbers += [trial.number] * len(keep) + [None]
    mode = "markers" if all(len(trial.curve) == 1 for trial in trials) else "lines"
    figure.add_scatter(
        x=x[:-1],
        y=y[:-1],
        customdata=numbers[:-1],
        name=name,
        mode=mode,
        line={"color": color, "width": width},
        marker={"color": color},
        opacity=opacity,
        hovertemplate="trial %{customdata}, epoch %{x}: %{y:.4g}",
    )


def _thinned(lines: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Choose the curves to draw: evenly from the best to the worst last loss, in the order of trials."""
    last = np.array([next((v for v in reversed(trial.curve.values) if math.isfinite(v)), math.inf) for trial in lines])
    order = np.argsort(last, kind="stable")
    return [lines[i] for i in sorted(order[evenly(0, len(lines) - 1, MAX_LINES)].tolist())] if lines else []


def _is_loss_searched(study: Study) -> bool:
    return any(axis.key in LOSS_KEYS for axis in study.axes)
