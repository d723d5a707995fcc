"""How sure the differences are: each with its interval in a table, in a figure and in a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go

from tradingbot_exp.plots import style
from tradingbot_exp.plots.numbers import MISSING, count, ratio
from tradingbot_exp.reporting.backtest import rules_of
from tradingbot_exp.reporting.comparison.compared import LETTERS, Compared
from tradingbot_exp.reporting.comparison.numbers import MEASURES, Difference, Measure, in_unit
from tradingbot_exp.reporting.page.blocks import count_cell, number_cell
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Figure, Notice, Paragraph, Table, Tone

NAMES: dict[Measure, str] = {
    "return": "mean net return a bar",
    "sharpe": "net Sharpe ratio",
    "mse": "mean squared error",
}
UNITS: dict[Measure, str] = {
    "return": "basis points a bar",
    "sharpe": "Sharpe ratio",
    "mse": "% of A's MSE",
}
_PANELS: dict[Measure, str] = {
    "return": "Mean net return",
    "sharpe": "Sharpe ratio, net",
    "mse": "Mean squared error",
}
_ROW_PX, _TITLE_PX, _AXIS_PX = 26, 28, 64  # of a run, above a panel, and below it


def difference_blocks(compared: Compared) -> list[Block]:
    """Show each difference from A with its interval: how it was found, a figure, a table."""
    found, reference = compared.differences, compared.records[0]
    tested = [each for each in found if not each.problem]
    if not tested:
        reasons = dict.fromkeys(f"{LETTERS[each.run]}: {each.problem}" for each in found)
        return [Notice(f"No run can be compared with A bar by bar. {'; '.join(reasons)}.")]
    periods = rules_of(reference.run, reference.artifacts.predictions).periods
    year = "a bar's, as nobody knows the bars in a year" if periods is None else f"a year's, of {periods:g} bars"
    how = (
        "Each run is compared with A on the validation bars that both have, by a paired stationary bootstrap "
        "(Politis and Romano 1994): the same blocks of bars are drawn from both, so what moves both cancels out. "
        f"The p-values are corrected by Holm's method for the {count(len(tested), 'comparison')} made here; the "
        f"intervals are not. Sharpe ratios are {year}. None of this makes up for runs that were chosen because they "
        "looked best."
    )
    if reference.artifacts.predictions is not None and "symbol" in reference.artifacts.predictions:
        how += " A bar is a date: its error is the mean over the symbols that both have, its return the portfolio's."
    columns = [
        Column("run"),
        Column("measure"),
        Column("difference from A", numeric=True, hint="of errors: in % of A's"),
        Column("95\u00a0% interval", numeric=True),
        Column("p", numeric=True, hint="two-sided"),
        Column("p, corrected", numeric=True, hint="by Holm's method"),
        Column("bars", numeric=True, hint="that both have"),
        Column("block", numeric=True, hint="mean length, in bars"),
        Column("verdict"),
    ]
    table = Table(
        "Differences from A with their uncertainty", columns, [_cells(each) for each in found], len(found) > 6
    )
    real = sum(each.holds for each in tested)
    words = f"More than luck would do: {real} of {count(len(tested), 'difference')} from A."
    told = [sentence(each) for each in tested if each.holds or len(tested) <= len(NAMES)]
    figure = difference_intervals(tested, compared.names, periods)
    return [Paragraph(how), Figure(figure, " ".join([words, *told])), table]


def _cells(each: Difference) -> list[Cell]:
    numbers = [Cell(MISSING, tone="muted")] * 4
    if not each.problem:
        numbers = [
            Cell(amount(each, each.estimate), each.estimate),
            Cell(f"{amount(each, each.low)} to {amount(each, each.high)}", each.low),
            Cell(p_value(each.p), each.p),
            Cell(p_value(each.corrected), each.corrected),
        ]
    tone: Tone = "plain" if not each.holds else "good" if each.better else "bad"
    block = number_cell(each.block, partial(ratio, digits=1))
    said = Cell(verdict(each), tone=tone)
    return [Cell(LETTERS[each.run]), Cell(NAMES[each.measure]), *numbers, count_cell(each.bars), block, said]


def amount(difference: Difference, value: float, *, signed: bool = True) -> str:
    """Write a difference, or an end of its interval: in basis points, as a ratio, or in % of A's error.

    All three get as many digits as the width of the interval makes sensible.
    """
    width = abs(in_unit(difference, difference.high - difference.low))
    digits = min(max(2 - math.floor(math.log10(width)), 0), 6) if width > 0 and math.isfinite(width) else 1
    text = ratio(in_unit(difference, value), digits, signed=signed)
    return text + {"return": "\u00a0bp", "sharpe": "", "mse": "\u00a0%"}[difference.measure]


def p_value(value: float) -> str:
    """Write a p-value with the digits that a bootstrap can know."""
    return "< 0.001" if value < 0.001 else ratio(value, 3)


def sentence(difference: Difference) -> str:
    """Say what one difference means."""
    who, what = LETTERS[difference.run], NAMES[difference.measure]
    if difference.problem:
        return f"{who} and A cannot be compared in {what}: {difference.problem}."
    if difference.is_nothing:
        return f"{who} and A have the same {what} on every one of the {count(difference.bars, 'bar')}."
    better, worse = (who, "A") if difference.better else ("A", who)
    by = amount(difference, abs(difference.estimate), signed=False)
    claim = f"{better} is better than {worse} by {by} in {what}"
    if difference.holds:
        return (
            f"{claim}; the 95\u00a0% interval leaves 0 out and the corrected p is {p_value(difference.corrected)}: "
            "more than luck would do."
        )
    if difference.low <= 0 <= difference.high:
        return f"{claim}, but the 95\u00a0% interval includes 0: this could be luck."
    return (
        f"{claim}, and its own 95\u00a0% interval leaves 0 out, but corrected for all comparisons here "
        f"p is {p_value(difference.corrected)}: this could be luck."
    )


def verdict(difference: Difference) -> str:
    """Say in a few words whether a difference is more than luck, as `sentence` does at length."""
    if difference.problem:
        return difference.problem
    if difference.is_nothing:
        return "the same on every bar"
    if difference.holds:
        return f"{LETTERS[difference.run] if difference.better else 'A'} is better, by more than luck"
    return "could be luck"


def difference_intervals(found: Sequence[Difference], names: Sequence[str], periods: float | None) -> go.Figure:
    """Draw each run's difference from the reference with its 95 % interval, a panel a measure.

    Parameters
    ----------
    found : sequence of Difference
        Those without a number are left out.
    names : sequence of str
        Of all runs.
    periods : float or None
        Bars in a year; None if unknown, and Sharpe ratios are a bar's.
    """
    drawn = [each for each in found if not each.problem and math.isfinite(each.estimate)]
    measures = [measure for measure in MEASURES if any(each.measure == measure for each in drawn)]
    runs = sorted({each.run for each in drawn})
    wide, narrow = _grid(len(measures), len(measures), len(runs)), _grid(len(measures), 1, len(runs))
    subtitle = (
        f"A is {names[0]} · whiskers: 95 % interval · filled dot: more than luck would do · open dot: could be luck"
    )
    figure = style.new_figure("How far the others are from A", subtitle, narrow=narrow)
    for panel, measure in enumerate(measures):
        _add_intervals(figure, panel, [each for each in drawn if each.measure == measure], runs)
        x, y = f"x{style.suffix(panel)}", f"y{style.suffix(panel)}"
        unit = UNITS[measure] + (f", a {'year' if periods else 'bar'}" if measure == "sharpe" else "")
        left, right = ("better", "worse") if measure == "mse" else ("worse", "better")
        horizontal = {
            "title": {"text": f"← {left} · {style.plain(unit)} · {right} →"},
            "nticks": 6,
            "rangemode": "tozero",
        }
        vertical = {"tickvals": list(range(len(runs))), "ticktext": [LETTERS[run] for run in runs]}
        figure.update_layout(
            {
                f"xaxis{style.suffix(panel)}": horizontal | {"anchor": y, "zeroline": True, "zerolinewidth": 2},
                f"yaxis{style.suffix(panel)}": vertical
                | {
                    "anchor": x,
                    "range": [len(runs) - 0.4, -0.6],
                    "title": {"text": "run" if panel == 0 else ""},
                    "zeroline": False,
                },
            }
        )
        figure.add_annotation(
            text=f"<b>{_PANELS[measure]}</b>",
            xref=f"{x} domain",
            yref=f"{y} domain",
            x=0,
            y=1,
            xanchor="left",
            yanchor="bottom",
            showarrow=False,
            font={"size": 13},
        )
    style.set_layout(figure, wide | {"showlegend": False})
    return figure


def _add_intervals(figure: go.Figure, panel: int, found: Sequence[Difference], runs: Sequence[int]) -> None:
    """Add a panel's dots and whiskers, a line a run."""
    middle, low, high = (
        np.array([in_unit(each, getattr(each, end)) for each in found]) for end in ("estimate", "low", "high")
    )
    colors = [style.FORECAST if each.holds else style.WHISKER for each in found]
    symbols = ["circle" if each.holds else "circle-open" for each in found]
    ends = {"array": style.rounded(high - middle), "arrayminus": style.rounded(middle - low)}
    style.add_dots(
        figure,
        style.rounded(middle),
        [runs.index(each.run) for each in found],
        _PANELS[found[0].measure],
        {"color": colors, "size": 10, "symbol": symbols, "line": {"width": 2, "color": colors}},
        "%{customdata[0]}: %{x:.3g} (%{customdata[1]:.3g} to %{customdata[2]:.3g})<extra></extra>",
        error_x=ends | {"color": style.WHISKER, "thickness": 1.8, "width": 5},
        customdata=[
            [LETTERS[each.run], *style.rounded([one, other])] for each, one, other in zip(found, low, high, strict=True)
        ],
        xaxis=f"x{style.suffix(panel)}",
        yaxis=f"y{style.suffix(panel)}",
    )


def _grid(panels: int, columns: int, runs: int) -> dict[str, Any]:
    plot = max(runs, 2) * _ROW_PX + 30
    around = style.TOP_PX + _AXIS_PX
    return style.panel_grid(panels, columns, plot=plot, title=_TITLE_PX, below=_AXIS_PX, around=around, gap=0.06)
