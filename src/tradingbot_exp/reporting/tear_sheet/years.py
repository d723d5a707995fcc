"""What forecasts were worth year by year: whether skill is spread, or of one lucky year."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from tradingbot_exp.evaluation.metrics import backtest
from tradingbot_exp.evaluation.metrics.forecast import ic
from tradingbot_exp.plots.numbers import percent, ratio
from tradingbot_exp.reporting.page.blocks import count_cell, number_cell, numbers_of
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Table
from tradingbot_exp.reporting.tear_sheet.months import monthly_returns
from tradingbot_exp.reporting.tear_sheet.trained import Trained

_FEWEST = 20  # bars below which a ratio of a year says nothing


def year_blocks(trained: Trained) -> list[Block]:
    """Lay out bars (of a panel dates), IC, and of the net returns Sharpe ratio, alpha, beta and growth, a row a year.

    There is nothing without dates, or for bars of a single year; ratios are given from 20 bars on.
    """
    table, test = trained.forecasts, trained.backtest
    if table is None or test is None or "date" not in table:
        return []
    net, hold = monthly_returns(test.times, test.net), monthly_returns(test.times, test.market)
    if net is None or hold is None or len(net) < 2:
        return []
    ends = pd.DatetimeIndex(test.times[1:]).year.to_numpy()
    dated = pd.to_datetime(table["date"], errors="coerce", utc=True).dt.year.to_numpy()
    actual, forecast = (numbers_of(table[name]) for name in ("actual", "forecast"))
    rows = []
    for year in net.index:
        mine, theirs = ends == year, dated == year
        bars, annual = int(mine.sum()), test.rules.annual
        pair = actual[theirs], forecast[theirs]
        enough = bars >= _FEWEST
        seen = enough and all(np.isfinite(each).all() and np.ptp(each) > 0 for each in pair)
        earned, market = test.net[mine], test.market[mine]
        row = [
            number_cell(ic(*pair) if seen else math.nan, lambda value: ratio(value, 3)),
            number_cell(backtest.sharpe(earned, annual) if enough else math.nan, ratio),
            number_cell(backtest.alpha(earned, market, annual) if enough else math.nan, percent),
            number_cell(backtest.beta(earned, market) if enough else math.nan, ratio),
            number_cell(float(net.loc[year, "year"]), percent),
            number_cell(float(hold.loc[year, "year"]), percent),
        ]
        rows.append([Cell(str(year), sort=float(year)), count_cell(bars), *row])
    per = test.rules.per
    names = (
        "bars" if trained.panel is None else "dates",
        "IC",
        f"Sharpe ratio {per}",
        f"alpha {per}",
        "beta",
        "return",
        "buy and hold",
    )
    columns = [Column("year"), *(Column(name, numeric=True) for name in names)]
    return [Table("Year by year, after costs", columns, rows)]
