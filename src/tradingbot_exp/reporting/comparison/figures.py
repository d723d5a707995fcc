"""The figures of a comparison: learning curves, differences with their intervals, equity, and forecasts' correlation.

Each run keeps its colour and dash in every figure: five colours that colour-blind readers can tell apart, in four
dashes, for up to 20 runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from tradingbot_exp.plots.numbers import count
from tradingbot_exp.plots.predictions import iso_times
from tradingbot_exp.plots.style import (
    ACTUAL,
    FORECAST,
    MARK,
    RULE,
    TOP_PX,
    VALIDATION,
    WHISKER,
    new_figure,
    plain,
    rounded,
    short,
)
from tradingbot_exp.reporting.comparison.context import LETTERS
from tradingbot_exp.reporting.comparison.numbers import MEASURES, Correlations, Difference, Equity, Measure, in_unit
from tradingbot_exp.tracking.reading.run_record import Curve

COLORS = (FORECAST, VALIDATION, MARK, "#cc79a7", "#b07700")
DASHES = ("solid", "dash", "dot", "dashdot")
MAX_POINTS = 1_000
"""Points drawn of one run's equity; a longer series is thinned evenly."""
_LEGEND_PX, _PLOT_PX, _ROW_PX = 20, 340, 26
_WRITTEN = 7  # runs up to which a correlation is also written into its cell
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


def run_style(run: int) -> dict[str, Any]:
    """Give the line of the run at that place: its colour, and the dash that tells it from others of that colour."""
    return {"color": COLORS[run % len(COLORS)], "dash": DASHES[run // len(COLORS) % len(DASHES)], "width": 2}


def learning_curves(curves: Mapping[int, Curve], names: Sequence[str], loss_name: str, caution: str = "") -> go.Figure:
    """Overlay the validation loss of each epoch.

    Parameters
    ----------
    curves : mapping of int to Curve
        By the run's place.
    names : sequence of str
        Of all runs.
    loss_name : str
        What the vertical axis holds, such as ``mse``.
    caution : str
        What the reader has to bear in mind, as a part of the subtitle.
    """
    subtitle = " · ".join(part for part in ("validation loss after each epoch", caution) if part)
    figure = new_figure("How fast the runs learned", subtitle)
    for run, curve in curves.items():
        figure.add_scatter(
            x=list(curve.steps),
            y=rounded(curve.values),
            name=_name(run, names),
            mode="lines" if len(curve) > 1 else "markers",
            line=run_style(run),
            marker={"color": run_style(run)["color"]},
            hovertemplate="epoch %{x}: %{y:.5g}",
        )
    figure.update_xaxes(title_text="epoch", tickformat="d", showgrid=False)
    drawn = [value for curve in curves.values() for value in curve.values if math.isfinite(value)]
    wide = bool(drawn) and min(drawn) > 0 and max(drawn) > 20 * min(drawn)
    figure.update_yaxes(
        title_text=f"validation loss ({plain(loss_name)}{', log scale' if wide else ''})",
        type="log" if wide else "linear",
        tickformat="~g",
    )
    return _with_legend(figure, len(curves))


def equity_curves(equity: Equity, names: Sequence[str]) -> go.Figure:
    """Overlay what wealth became, net of costs, in per cent of the start, with buy and hold once."""
    step = -(-len(equity.dates) // MAX_POINTS)
    notes = f"net of costs, over the {count(len(equity.dates), 'bar')} that all of them have"
    if step > 1:
        notes += f" · 1 in {step} drawn"
    figure = new_figure("What each run would have earned", notes)
    keep = np.unique(np.append(np.arange(0, len(equity.dates), step), len(equity.dates) - 1))
    dated = equity.dates.inferred_type != "integer"
    times = iso_times(equity.dates)
    times = [times[i] for i in keep]
    lines = [(_name(run, names), wealth, run_style(run)) for run, wealth in equity.wealth.items()]
    for name, wealth, line in [("buy and hold", equity.market, {"color": ACTUAL, "width": 2}), *lines]:
        figure.add_scatter(
            x=times,
            y=rounded(100 * (wealth[keep] - 1)),
            name=name,
            mode="lines",
            line=line,
            hovertemplate="%{x}: %{y:+.1f} %",
        )
    figure.add_hline(y=0, line={"color": RULE, "width": 1})
    figure.update_xaxes(title_text="time" if dated else "bar", showgrid=False)
    figure.update_yaxes(title_text="gain since the start (%)", ticksuffix=" %")
    return _with_legend(figure, len(lines) + 1)


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
    wide, narrow = _panels(len(measures), len(runs), side_by_side=True), _panels(len(measures), len(runs))
    subtitle = (
        f"A is {names[0]} · whiskers: 95 % interval · filled dot: more than luck would do · open dot: could be luck"
    )
    figure = new_figure("How far the others are from A", subtitle, narrow=narrow)
    for panel, measure in enumerate(measures):
        _add_intervals(figure, panel, [each for each in drawn if each.measure == measure], runs)
        suffix = _suffix(panel)
        unit = UNITS[measure] + (f", a {'year' if periods else 'bar'}" if measure == "sharpe" else "")
        sides = ("better", "worse") if measure == "mse" else ("worse", "better")
        figure.update_layout(
            {
                f"xaxis{suffix}": {
                    "anchor": f"y{suffix}",
                    "title": {"text": f"← {sides[0]} · {plain(unit)} · {sides[1]} →"},
                    "nticks": 6,
                    "rangemode": "tozero",
                    "zeroline": True,
                    "zerolinewidth": 2,
                },
                f"yaxis{suffix}": {
                    "anchor": f"x{suffix}",
                    "tickvals": list(range(len(runs))),
                    "ticktext": [LETTERS[run] for run in runs],
                    "range": [len(runs) - 0.4, -0.6],
                    "title": {"text": "run" if panel == 0 else ""},
                    "zeroline": False,
                },
            }
        )
        figure.add_annotation(
            text=f"<b>{_PANELS[measure]}</b>",
            xref=f"x{suffix} domain",
            yref=f"y{suffix} domain",
            x=0,
            y=1,
            xanchor="left",
            yanchor="bottom",
            showarrow=False,
            font={"size": 13},
        )
    figure.update_layout({path.replace(".", "_"): value for path, value in wide.items()}, showlegend=False)
    return figure


def forecast_correlations(found: Correlations, names: Sequence[str]) -> go.Figure:
    """Draw how alike the runs' forecasts are: 1 the same up to scale, 0 nothing in common, −1 opposite."""
    labels = [LETTERS[run] for run in found.runs]
    values = [rounded(row, 3) for row in found.values]
    brief = len(labels) <= _WRITTEN
    figure = new_figure(
        "How alike the forecasts are",
        f"correlation over the {count(found.bars, 'bar')} that all of them have",
        narrow={"coloraxis.showscale": False} if brief else {"coloraxis.colorbar.title.text": "", "margin.r": 8},
    )
    figure.add_heatmap(
        x=labels,
        y=labels,
        z=values,
        customdata=[[f"{_name(a, names)} and {_name(b, names)}" for b in found.runs] for a in found.runs],
        coloraxis="coloraxis",
        text=[["–" if value is None else f"{value:.2f}".replace("-", "−") for value in row] for row in values],
        texttemplate="%{text}" if brief else None,
        hovertemplate="%{customdata}: %{text}<extra></extra>",
        xgap=2,
        ygap=2,
    )
    figure.update_layout(
        height=TOP_PX + 120 + _ROW_PX * max(len(labels), 7),
        coloraxis={
            "cmin": -1,
            "cmax": 1,
            # White becomes the paper's colour on a dark page.
            "colorscale": [[0, VALIDATION], [0.5, "#ffffff"], [1, FORECAST]],
            "colorbar": {"title": {"text": "correlation"}, "thickness": 12, "len": 1, "tickvals": [-1, 0, 1]},
        },
    )
    figure.update_xaxes(title_text="run", showgrid=False, type="category", dtick=1, tickangle=0)
    figure.update_yaxes(title_text="run", autorange="reversed", showgrid=False, type="category", dtick=1)
    return figure


def _add_intervals(figure: go.Figure, panel: int, found: Sequence[Difference], runs: Sequence[int]) -> None:
    """Add a panel's dots and whiskers, a line a run."""
    middle, low, high = (
        np.array([in_unit(each, getattr(each, end)) for each in found]) for end in ("estimate", "low", "high")
    )
    colors = [FORECAST if each.holds else WHISKER for each in found]
    figure.add_scatter(
        x=rounded(middle),
        y=[runs.index(each.run) for each in found],
        mode="markers",
        name=_PANELS[found[0].measure],
        marker={
            "color": colors,
            "size": 10,
            "symbol": ["circle" if each.holds else "circle-open" for each in found],
            "line": {"width": 2, "color": colors},
        },
        error_x={
            "array": rounded(high - middle),
            "arrayminus": rounded(middle - low),
            "color": WHISKER,
            "thickness": 1.8,
            "width": 5,
        },
        customdata=[
            [LETTERS[each.run], *rounded([one, other])] for each, one, other in zip(found, low, high, strict=True)
        ],
        hovertemplate="%{customdata[0]}: %{x:.3g} (%{customdata[1]:.3g} to %{customdata[2]:.3g})<extra></extra>",
        xaxis=f"x{_suffix(panel)}",
        yaxis=f"y{_suffix(panel)}",
    )


def _panels(panels: int, rows: int, *, side_by_side: bool = False) -> dict[str, Any]:
    """Place panels beside each other, or one below the other: the axes' domains and the height, by dotted path."""
    inner, title, axis = max(rows, 2) * _ROW_PX + 30, 28, 64
    if side_by_side:
        layout: dict[str, Any] = {"height": TOP_PX + title + inner + axis}
        gap = 0.06
        width = (1 - gap * (panels - 1)) / panels
        for panel in range(panels):
            left = panel * (width + gap)
            layout[f"xaxis{_suffix(panel)}.domain"] = [round(left, 4), round(min(left + width, 1), 4)]
            layout[f"yaxis{_suffix(panel)}.domain"] = [0, round(inner / (inner + title), 4)]
        return layout
    cell = title + inner + axis
    plot = panels * cell - axis
    layout = {"height": TOP_PX + plot + axis}
    for panel in range(panels):
        top = 1 - (panel * cell + title) / plot
        layout[f"xaxis{_suffix(panel)}.domain"] = [0, 1]
        layout[f"yaxis{_suffix(panel)}.domain"] = [round(max(top - inner / plot, 0), 4), round(top, 4)]
    return layout


def _with_legend(figure: go.Figure, lines: int) -> go.Figure:
    """Put the legend where it has room: above up to three lines, else to the right; below on a narrow screen."""
    if lines > 3:
        figure.update_layout(legend={"orientation": "v", "x": 1.02, "y": 1, "xanchor": "left", "yanchor": "top"})
        figure.update_layout(margin={"t": TOP_PX - _LEGEND_PX})
    figure.update_layout(height=max(TOP_PX + _PLOT_PX + 56, TOP_PX + lines * _LEGEND_PX + 60), hovermode="closest")
    below = lines * _LEGEND_PX + 80
    narrow = figure.layout.meta["narrow"]
    narrow |= {
        "xaxis.nticks": 4,
        "xaxis.tickangle": 0,
        "margin.t": narrow["margin.t"] - _LEGEND_PX,
        "legend": {"orientation": "v", "x": 0, "xanchor": "left", "y": -80 / _PLOT_PX, "yanchor": "top"},
        "margin.b": below,
        "height": TOP_PX + _PLOT_PX + below,
    }
    return figure


def _suffix(panel: int) -> str:
    return "" if panel == 0 else str(panel + 1)


def _name(run: int, names: Sequence[str]) -> str:
    """Letter and name of a run, short enough for a legend, escaped for Plotly."""
    return f"{LETTERS[run]} {short(names[run])}"
