"""Portfolios of a panel by how high its forecasts are: whether the high ones earn more than the low ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tradingbot_exp.data.panel import Integers
from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.metrics.risk import volatility
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.plots import style
from tradingbot_exp.plots.numbers import count, percent, ratio
from tradingbot_exp.reporting.backtest import Backtest, time_title, wealth
from tradingbot_exp.reporting.page.blocks import number_cell
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Figure, Notice, Table
from tradingbot_exp.reporting.tear_sheet.panel import PanelForecasts
from tradingbot_exp.reporting.tear_sheet.trained import Trained

GROUPS, LEAST = 5, 2
"""Groups at most, and symbols of a date that each holds at least."""
TITLE = "Returns by forecast quantile: do high ones earn more?"
SPREAD = "high minus low"
_MOST = 800  # points of a line: there are up to six
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_NAMES = {2: "half", 3: "third", 4: "quarter", 5: "fifth"}


def quantile_blocks(trained: Trained) -> list[Block]:
    """Draw what each group of symbols earned; nothing of one instrument, or without returns."""
    panel, test = trained.panel, trained.backtest
    if panel is None or panel.next_return is None or test is None:
        return []
    found = by_quantile(panel, trained.rules)
    if found is None:
        text = f"Returns by forecast quantile take {2 * LEAST} symbols a date, and most dates have fewer."
        return [Notice(text, "muted")]
    rising = percent(found.rising, 0)
    words = f"Equal-weighted portfolios by forecast, before costs; from group to group, {rising} of the steps rise."
    return [Figure(quantile_figure(found, panel.times), words), _table(found, test)]


@dataclass(frozen=True, eq=False)
class ByQuantile:
    """Equal-weighted portfolios of the symbols of each date in groups by their forecast, the lowest first.

    Attributes
    ----------
    returns : dict of str to ndarray of shape (D,)
        Simple return of each date before costs, by the name of the group; the last is the highest group less the
        lowest.
    left_out : int
        Dates with too few symbols, on which nothing is bought.
    """

    returns: dict[str, Floats]
    left_out: int

    @property
    def rising(self) -> float:
        """Share of the groups whose mean return is above that of the next lower one."""
        return float(np.mean(np.diff([each.mean() for each in list(self.returns.values())[:-1]]) > 0))


def groups_of(panel: PanelForecasts, groups: int) -> Integers:
    """Return the group of each row, shape (n,): 0 for the lowest forecasts of its date, −1 where symbols are too few.

    Groups differ by one symbol at most in size; equal forecasts are in order of symbol, as in ``long_short``.
    """
    layout = panel.layout
    place = np.empty(len(layout), np.intp)
    order = np.lexsort((layout.symbol, panel.forecast, layout.days))
    place[order] = np.arange(len(layout)) - layout.starts[layout.days]
    size = layout.counts[layout.days]
    return np.where(size >= groups * LEAST, place * groups // size, -1)


def by_quantile(panel: PanelForecasts, rules: Rules) -> ByQuantile | None:
    """Hold each group as the run's positions are held, `lag` bars later and over the horizon, at no cost.

    There are as many groups, `GROUPS` at most, as leave each of them `LEAST` symbols on the median date; None where
    those are not two.
    """
    layout = panel.layout
    groups = min(GROUPS, int(np.median(layout.counts)) // LEAST)
    if groups < 2 or panel.next_return is None:
        return None
    group = groups_of(panel, groups)
    returns = {}
    for each in range(groups):
        member = (group == each).astype(np.float64)
        size = layout.sums(member)[layout.days]
        weight = rules.held(member / np.maximum(size, 1.0), layout)
        part = {0: "lowest", groups - 1: "highest"}.get(each, _ORDINALS[each])
        returns[f"{part} {_NAMES[groups]}"] = rules.earned(weight, panel.next_return, layout).gross
    low, *_, high = returns.values()
    few = layout.counts < groups * LEAST
    return ByQuantile({**returns, SPREAD: high - low}, int(few.sum()))


def quantile_figure(found: ByQuantile, times: pd.Index[Any]) -> go.Figure:
    """Draw what 1 became in each group, and of the highest less the lowest."""
    paths = {name: wealth(returns) for name, returns in found.returns.items()}
    notes = "equal weights, before costs, held as the run holds its positions"
    if found.left_out:
        notes += f" · nothing bought on {count(found.left_out, 'date')} with too few symbols"
    fig = style.new_figure(TITLE, notes, narrow={"height": 540, "margin.t": style.TOP_PX + 74})
    kept, closes = style.thinned(len(times), _MOST), style.iso_times(times)
    dates = [closes[i] for i in kept]
    for name, look in zip(paths, _looks(len(paths) - 1), strict=True):
        style.add_line(fig, dates, style.rounded(paths[name][kept]), name, look, "%{y:.4f}")
    fig.update_layout(height=440, hovermode="x unified")
    fig.update_xaxes(title_text=time_title(times))
    fig.update_yaxes(title_text="wealth, from 1", tickformat="~g")
    return fig


def _looks(groups: int) -> list[dict[str, Any]]:
    """Return a line each, from the lowest group's colour to the highest's, and that of their difference."""
    pale, middle = ("#e0a06a", "#6aa9d6"), (style.ACTUAL,) * (groups % 2)
    colors = [style.VALIDATION, *pale[: groups > 3], *middle, *pale[2 - (groups > 3) :], style.FORECAST]
    lines = [{"color": color, "width": 2 if color in (colors[0], colors[-1]) else 1.2} for color in colors]
    return [*lines, {"color": style.MARK, "width": 2, "dash": "dash"}]


def _table(found: ByQuantile, test: Backtest) -> Table:
    annual, per = test.rules.annual, test.rules.per
    rows = [
        [
            Cell(name),
            number_cell(float(returns.mean()) * annual, percent),
            number_cell(volatility(returns, annual), percent),
            number_cell(test.sharpe(returns), ratio),
        ]
        for name, returns in found.returns.items()
    ]
    columns = [Column("group"), Column(f"return {per}", numeric=True, hint="mean, not compounded")]
    columns += [Column(f"volatility {per}", numeric=True), Column(f"Sharpe ratio {per}", numeric=True)]
    return Table("Returns by forecast quantile, before costs", columns, rows)
