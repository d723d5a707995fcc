"""What each of the compared runs would have earned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.plots.numbers import count, percent
from tradingbot_exp.plots.style import ACTUAL, RULE, add_line, iso_times, new_figure, rounded, thinned
from tradingbot_exp.reporting.backtest import wealth
from tradingbot_exp.reporting.comparison.compared import LETTERS, Compared, run_name, run_style, with_legend
from tradingbot_exp.reporting.comparison.pairs import by_date, column, common
from tradingbot_exp.reporting.page.page import Block, Figure
from tradingbot_exp.tracking.reading.records import TrainingRecord

MAX_POINTS = 1_000
"""Points drawn of one run's equity; a longer series is thinned evenly."""


def equity_blocks(compared: Compared) -> list[Block]:
    """Show what the runs that traded the same market would have earned; nothing if there are not two."""
    found = equity(compared.records)
    if found is None:
        return []

    def gain(path: Floats) -> str:
        return percent(path[-1] - 1, signed=True)

    said = ", ".join(f"{LETTERS[run]} {gain(path)}" for run, path in found.wealth.items())
    text = f"At the end: {said}; buy and hold {gain(found.market)}."
    why = "for want of forecasts, or of A's market on bars that the others have"
    return [Figure(equity_curves(found, compared.names), text), *compared.left_out(found.wealth, why)]


@dataclass(frozen=True, eq=False)
class Equity:
    """What a wealth of 1 became over the n bars that all the runs have."""

    dates: pd.Index
    wealth: dict[
        int, Floats
    ]  # by the run's place, after the return that follows each bar, net of costs; 0 from ruin on
    market: Floats  # buy and hold


def equity(records: Sequence[TrainingRecord]) -> Equity | None:
    """Compound the returns of the runs that traded the reference's market; None if there are not two of them."""
    tables = {run: by_date(table) for run, table in common(records, "returns").items()}
    if not tables:
        return None
    earned = {run: wealth(column(table, "strategy_return"))[1:] for run, table in tables.items()}
    return Equity(tables[0].index, earned, wealth(column(tables[0], "market"))[1:])


def equity_curves(equity: Equity, names: Sequence[str]) -> go.Figure:
    """Overlay what wealth became, net of costs, in per cent of the start, with buy and hold once."""
    bars = len(equity.dates)
    step = -(-bars // MAX_POINTS)
    notes = f"net of costs, over the {count(bars, 'bar')} that all of them have"
    if step > 1:
        notes += f" · 1 in {step} drawn"
    figure = new_figure("What each run would have earned", notes)
    keep, times = thinned(bars, MAX_POINTS), iso_times(equity.dates)
    drawn = [times[i] for i in keep]
    lines = [(run_name(run, names), path, run_style(run)) for run, path in equity.wealth.items()]
    for name, path, look in [("buy and hold", equity.market, {"color": ACTUAL, "width": 2}), *lines]:
        add_line(figure, drawn, rounded(100 * (path[keep] - 1)), name, look, "%{x}: %{y:+.1f} %")
    figure.add_hline(y=0, line={"color": RULE, "width": 1})
    figure.update_xaxes(title_text="bar" if equity.dates.inferred_type == "integer" else "time", showgrid=False)
    figure.update_yaxes(title_text="gain since the start (%)", ticksuffix=" %")
    return with_legend(figure, len(lines) + 1)
