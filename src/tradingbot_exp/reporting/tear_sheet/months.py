"""What the forecasts earned month by month."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.plots.numbers import MISSING, count, percent
from tradingbot_exp.plots.style import FORECAST, VALIDATION, new_figure, nothing_to_draw, rounded
from tradingbot_exp.reporting.backtest import Backtest
from tradingbot_exp.reporting.page.page import Block, Figure
from tradingbot_exp.reporting.tear_sheet.trained import Trained

MAX_YEARS = 40
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def month_blocks(trained: Trained) -> list[Block]:
    """Draw the net return of each month."""
    test = trained.backtest
    return [] if test is None else [Figure(months(test), "The net return of each month and year.")]


def monthly_returns(times: pd.Index[Any], returns: Floats) -> pd.DataFrame | None:
    """Compound returns by calendar month of the close that ends each.

    Returns
    -------
    DataFrame or None
        A row a year, columns 1 to 12 and ``year``; NaN where there are no bars. None for bars without dates.
    """
    if not isinstance(times, pd.DatetimeIndex):
        return None
    ends = times[1:]
    growth = pd.Series(np.maximum(1.0 + returns, 0.0))
    by_month = growth.groupby([ends.year, ends.month]).prod().unstack() - 1.0
    table = by_month.reindex(columns=range(1, 13))
    table["year"] = growth.groupby(ends.year).prod() - 1.0
    table.index.name = "year"
    return table


def months(test: Backtest) -> go.Figure:
    """Draw the net return of each calendar month, a row a year, and of the years."""
    title = "Net return by month"
    table = monthly_returns(test.times, test.net)
    if table is None:
        return nothing_to_draw(title, "the bars have no dates")
    years = len(table)
    table = table.tail(MAX_YEARS)
    values = 100 * table.to_numpy(dtype=np.float64)

    def signed(value: float) -> str:
        return percent(value / 100, signed=True) if np.isfinite(value) else MISSING

    there = values[:, :12][np.isfinite(values[:, :12])]
    subtitle = f"{int((there > 0).sum())} of {count(there.size, 'month')} gained · best {signed(there.max())}, worst "
    subtitle += signed(there.min()) + (f" · the last {MAX_YEARS} of {years} years" if years > MAX_YEARS else "")
    fig = new_figure(title, subtitle, narrow={"xaxis.tickangle": -90, "margin.l": 44, "margin.r": 8})
    reach = float(np.abs(there).max()) or 1.0
    cells = [["" if not np.isfinite(cell) else f"{cell:+.1f}".replace("-", "−") for cell in row] for row in values]
    fig.add_heatmap(
        x=[*_MONTHS, "year"],
        y=[str(year) for year in table.index],
        z=[rounded(row, 4) for row in values],
        text=cells,
        texttemplate="%{text}",
        zmin=-reach,
        zmax=reach,
        colorscale=[[0, VALIDATION], [0.5, "#ffffff"], [1, FORECAST]],
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate="%{y} %{x}: %{z:.2f} %<extra></extra>",
    )
    fig.update_layout(height=30 * len(table) + 190, showlegend=False)
    fig.update_xaxes(title_text="net return (%)", showgrid=False, ticks="", side="bottom", type="category")
    fig.update_yaxes(
        title_text="year", autorange="reversed", showgrid=False, ticks="", type="category", zeroline=False, nticks=40
    )
    return fig
