"""How alike the forecasts of the compared runs are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.metrics.forecast import ic
from tradingbot_exp.plots.numbers import count, ratio
from tradingbot_exp.plots.style import FORECAST, TOP_PX, VALIDATION, new_figure, rounded
from tradingbot_exp.reporting.comparison.compared import LETTERS, Compared, run_name
from tradingbot_exp.reporting.comparison.pairs import column, common
from tradingbot_exp.reporting.page.page import Block, Figure, Paragraph
from tradingbot_exp.runtime.text import listed
from tradingbot_exp.tracking.reading.records import TrainingRecord

_ROW_PX = 26
_WRITTEN = 7  # runs up to which a correlation is also written into its cell


def forecast_blocks(compared: Compared) -> list[Block]:
    """Show how alike the forecasts are; nothing if there are not two of the same target."""
    found = correlations(compared.records)
    if found is None:
        return []
    why = "for want of forecasts, or of A's target on bars that the others have"
    missing, text = compared.left_out(found.runs, why), _words(found)
    if len(found.runs) == 2:
        return [Paragraph(text), *missing]
    return [Figure(forecast_correlations(found, compared.names), text), *missing]


@dataclass(frozen=True, eq=False)
class Correlations:
    """How alike the forecasts of the k runs are that forecast the reference's target, on the bars that all have."""

    runs: tuple[int, ...]  # their places
    bars: int
    values: Floats  # Pearson's, shape (k, k); NaN for a constant forecast


def correlations(records: Sequence[TrainingRecord]) -> Correlations | None:
    """Correlate the forecasts of the same target; None if there are not two of them."""
    tables = common(records, "errors")
    if not tables:
        return None
    forecasts = [column(table, "forecast") for table in tables.values()]
    values = np.array([[ic(one, other) for other in forecasts] for one in forecasts])
    return Correlations(tuple(tables), len(forecasts[0]), values)


def _words(found: Correlations) -> str:
    """Say how alike the forecasts are: of two runs the correlation, of more the most and the least alike."""
    pairs = {
        (LETTERS[a], LETTERS[b]): float(found.values[i, j])
        for i, a in enumerate(found.runs)
        for j, b in enumerate(found.runs)
        if i < j and math.isfinite(found.values[i, j])
    }
    if not pairs:
        return "The forecasts have no correlation: all but one at most are constant."
    most, least = max(pairs, key=pairs.__getitem__), min(pairs, key=pairs.__getitem__)
    bars = count(found.bars, "bar")
    if most == least:
        return f"Over {bars}, the forecasts of {listed(most)} have a correlation of {ratio(pairs[most])}."
    return (
        f"Over {bars}, the forecasts of {listed(most)} are most alike (correlation {ratio(pairs[most])}), those of "
        f"{listed(least)} least ({ratio(pairs[least])})."
    )


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
        customdata=[[f"{run_name(a, names)} and {run_name(b, names)}" for b in found.runs] for a in found.runs],
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
