"""The time of a study: when its trials ran, and how long they took."""

from __future__ import annotations

import math
from statistics import median

import numpy as np
import plotly.graph_objects as go

from tradingbot_exp.plots.numbers import count, duration, ratio
from tradingbot_exp.plots.style import WHISKER, new_figure, plain, rounded
from tradingbot_exp.reporting.page.page import Block, Figure, Notice, Paragraph
from tradingbot_exp.reporting.study.layout import COLORS, sized, whole
from tradingbot_exp.reporting.study.numbers import Study


def time_blocks(study: Study) -> list[Block]:
    """Say and draw when the trials ran and how long they took."""
    if not study.trials:
        return []
    words = _words(study)
    if not any(trial.seconds is not None for trial in study.trials):
        return [Notice(words, "muted")]
    blocks: list[Block] = [
        Paragraph(words),
        Figure(timeline(study), "Each trial from its start to its end, by how it ended."),
    ]
    if len(study.trials) > 2:
        blocks.append(Figure(durations(study), "How many trials took how long."))
    return blocks


def _words(study: Study) -> str:
    """Say how long trials took, how many ran at once, and what pruning saved."""
    taken = [trial.seconds for trial in study.trials if trial.seconds is not None]
    if not taken:
        return "No trial has ended, so there are no durations."
    words = f"A trial took {duration(taken[0])}"
    if len(taken) > 1:
        words = f"Half of the trials took at most {duration(median(taken))}, all of them {duration(min(taken))} to "
        words += duration(max(taken))
    words += f"; all together {duration(sum(taken))}." if len(taken) > 1 else "."
    start = min(trial.started for trial in study.trials)
    ends = [(trial.started - start).total_seconds() + (trial.seconds or 0) for trial in study.trials]
    if len(taken) > 1 and max(ends) > 0:
        words += f" From the first start to the last end {duration(max(ends))} passed: "
        words += f"{ratio(sum(taken) / max(ends), 1)} trials at work on average."
    pruned = [len(trial.curve) for trial in study.trials if trial.state == "pruned" and len(trial.curve)]
    epochs = study.run.params.get("training.epochs", "")
    if pruned and epochs.isdecimal():
        saved = sum(max(int(epochs) - done, 0) for done in pruned)
        words += f" Pruning saved {count(saved, 'epoch')} of {count(len(pruned), 'trial')}."
    return words


def timeline(study: Study) -> go.Figure:
    """Draw each trial from start to end, a line each, coloured by how it ended."""
    start = min(trial.started for trial in study.trials)
    spans = [(trial, (trial.started - start).total_seconds(), trial.seconds) for trial in study.trials]
    total = max(begun + (seconds or 0) for _, begun, seconds in spans)
    size, unit = next(
        (each for each in ((86_400, "days"), (3_600, "hours"), (60, "minutes")) if total > 3 * each[0]), (1, "seconds")
    )
    figure = new_figure("When the trials ran", f"from the first start to the last end: {duration(total)}")
    inner = float(min(max(14 * len(spans), 220), 420))
    width = max(min(0.7 * inner / len(spans), 9), 1.4)
    for state in study.counts:
        x: list[float | None] = []
        y: list[int | None] = []
        for trial, begun, seconds in spans:
            if trial.state == state:
                end = begun + (seconds if seconds is not None else 0)
                x += [begun / size, max(end, begun + 0.002 * total) / size, None]
                y += [trial.number, trial.number, None]
        figure.add_scatter(
            x=rounded([math.nan if each is None else each for each in x], 6),
            y=y,
            name=plain(state),
            mode="lines",
            line={"color": COLORS.get(state, WHISKER), "width": width},
            connectgaps=False,
            hovertemplate=f"trial %{{y}}: %{{x:.4g}} {unit}",
        )
    numbers = [trial.number for trial in study.trials]
    figure.update_xaxes(title_text=f"{unit} since the first start", rangemode="tozero", zeroline=False)
    figure.update_yaxes(title_text="trial", range=[max(numbers) + 0.7, min(numbers) - 0.7], **whole(max(numbers), 15))
    return sized(figure, inner)


def durations(study: Study) -> go.Figure:
    """Draw how long the trials took, by how they ended."""
    taken = {
        state: [trial.seconds for trial in study.trials if trial.state == state and trial.seconds is not None]
        for state in study.counts
    }
    all_of = np.array([seconds for each in taken.values() for seconds in each])
    longest = float(all_of.max())
    size, unit = next((each for each in ((3_600, "hours"), (60, "minutes")) if longest > 3 * each[0]), (1, "seconds"))
    figure = new_figure("How long the trials took", f"half of them at most {duration(float(np.median(all_of)))}")
    step = _round_step(longest / size / min(max(all_of.size // 3, 8), 40))
    bins = math.floor(longest / size / step) + 1
    if float(all_of.min()) / size >= step * (bins - 1):  # all in one bin: it stands in the middle
        bins = 2 * bins - 1
    edges = step * np.arange(bins + 1)
    for state, seconds in taken.items():
        if seconds:
            figure.add_bar(
                x=rounded((edges[:-1] + edges[1:]) / 2),
                y=np.histogram(np.array(seconds) / size, edges)[0].tolist(),
                width=float(f"{edges[1] * 0.94:.5g}"),
                name=plain(state),
                marker={"color": COLORS.get(state, WHISKER)},
                hovertemplate=f"around %{{x:.3g}} {unit}: %{{y}}",
            )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(
        title_text=f"duration ({unit})",
        showgrid=False,
        zeroline=False,
        range=[0, float(edges[-1])],
        tick0=0,
        dtick=step * max(len(edges) // 8, 1),
    )
    figure.layout.meta["narrow"]["xaxis.dtick"] = step * max(len(edges) // 4, 1)
    figure.update_yaxes(title_text="trials", rangemode="tozero", tickformat="d")
    return sized(figure, 220)


def _round_step(least: float) -> float:
    """Return 1, 2 or 5 times a power of ten, not below `least`."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(float(f"{factor * power:.6g}") for factor in (1, 2, 5, 10) if factor * power >= least * 0.9999)
