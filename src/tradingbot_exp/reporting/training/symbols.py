"""A panel symbol by symbol: how well each was forecast, what was held of it, and what it earned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.metrics.forecast import hit_rate, ic, rank_ic
from tradingbot_exp.evaluation.rules import Rules
from tradingbot_exp.plots.numbers import count, percent, ratio
from tradingbot_exp.plots.style import iso_times
from tradingbot_exp.reporting.backtest import Backtest
from tradingbot_exp.reporting.page.blocks import count_cell, number_cell
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Details, Paragraph, Table
from tradingbot_exp.reporting.tear_sheet.panel import PanelForecasts
from tradingbot_exp.reporting.tear_sheet.trained import Trained
from tradingbot_exp.reporting.training.forecasts import luck_of

MOST_SHOWN = 50
"""Symbols beyond which the table is folded away."""


def symbol_blocks(trained: Trained) -> list[Block]:
    """Lay out the symbols of a panel, a row each; nothing of one instrument."""
    panel, test = trained.panel, trained.backtest
    if panel is None:
        return []
    found = by_symbol(panel, test, trained.rules)
    table = _table(found, trained.rules)
    known = [each for each in found if math.isfinite(each.ic)]
    above = sum(each.ic > 0 for each in known)
    beyond = sum(abs(each.ic) > luck_of(each.rows, trained.rules.horizon) for each in known)
    text = f"By symbol: the IC is above 0 for {above} of {count(len(known), 'symbol')}, and further from 0 than luck "
    text += f"takes it in 95 of 100 cases for {beyond}."
    if len(found) > MOST_SHOWN:
        return [Paragraph(text), Details(f"All {count(len(found), 'symbol')}", [table])]
    return [Paragraph(text), table]


@dataclass(frozen=True)
class OfSymbol:
    """One symbol of a panel.

    Attributes
    ----------
    name : str
    rows : int
    ic, rank_ic, hit_rate : float
        Over its rows; NaN where not defined.
    weight : float
        Mean share of wealth in it over all dates, short ones below 0; NaN without returns.
    contribution : float
        What it adds to the mean net return a year, or a bar where the bars in one are not known: those of all symbols
        sum to that. NaN without returns.
    first, last : str
        Its first and last date.
    """

    name: str
    rows: int
    ic: float
    rank_ic: float
    hit_rate: float
    weight: float
    contribution: float
    first: str
    last: str


def by_symbol(panel: PanelForecasts, test: Backtest | None, rules: Rules) -> list[OfSymbol]:
    """Judge each symbol by itself, in order of name."""
    layout, dates = panel.layout, [str(date) for date in iso_times(panel.times)]
    held = {} if test is None else dict(zip(test.layout.names, zip(*_held(test), strict=True), strict=True))
    found = []
    for code, name in enumerate(layout.names):
        rows = layout.rows_of(code)
        a, f = panel.actual[rows], panel.forecast[rows]
        weight, contribution = held.get(name, (math.nan, math.nan))
        ends = (dates[layout.days[rows[end]]] for end in (0, -1))
        judged = ic(a, f), rank_ic(a, f), hit_rate(a, f, rules.neutral)
        found.append(OfSymbol(name, len(rows), *judged, float(weight), float(contribution), *ends))
    return found


def _held(test: Backtest) -> tuple[Floats, Floats]:
    """Return mean weight and contribution of each symbol, shape (S,) each."""
    rules, weights = test.rules, test.weights
    paid = rules.cost_bps * 1e-4 * np.abs(np.diff(weights, axis=0, prepend=0.0))
    paid += rules.borrow_bps * 1e-4 / rules.annual * np.maximum(-weights, 0.0)
    return weights.mean(axis=0), (test.earned - paid).mean(axis=0) * rules.annual


def _table(found: list[OfSymbol], rules: Rules) -> Table:
    rows = [
        [
            Cell(each.name),
            count_cell(each.rows),
            number_cell(each.ic, lambda value: ratio(value, 3)),
            number_cell(each.rank_ic, lambda value: ratio(value, 3)),
            number_cell(each.hit_rate, percent),
            number_cell(each.weight, lambda value: percent(value, 2)),
            number_cell(each.contribution, lambda value: percent(value, 2)),
            Cell(each.first),
            Cell(each.last),
        ]
        for each in found
    ]
    columns = [Column("symbol"), *(Column(name, numeric=True) for name in ("rows", "IC", "rank IC", "hit rate"))]
    columns += [
        Column("mean weight", numeric=True),
        Column("contribution", numeric=True, hint=f"net return {rules.per}"),
        Column("first"),
        Column("last"),
    ]
    caption = "By symbol: where skill and return come from"
    return Table(caption, columns, rows, sortable=True, filterable=len(rows) > MOST_SHOWN)
