"""What a strategy holds: long and short apart, how long, and what filling its orders later would leave of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tradingbot_exp.config.metrics import LAGS as RECORDED
from tradingbot_exp.evaluation.metrics import backtest
from tradingbot_exp.evaluation.metrics.risk import trades
from tradingbot_exp.plots.numbers import percent, ratio
from tradingbot_exp.reporting.backtest import Backtest, backtest_of
from tradingbot_exp.reporting.page.blocks import count_cell, number_cell
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Table
from tradingbot_exp.reporting.tear_sheet.trained import Trained

LAGS = (*RECORDED, 2)
"""Execution lags at which the Sharpe ratio is shown, beside the run's own."""


def holding_blocks(trained: Trained) -> list[Block]:
    """Lay out exposure, trades and returns of long and short positions, and the Sharpe ratio by execution lag."""
    test = trained.backtest
    return [] if test is None else [_sides_table(test), _lag_table(trained)]


@dataclass(frozen=True)
class Side:
    """What the long positions, the short ones, or both were.

    Attributes
    ----------
    time : float
        Share of the bars with such a position.
    exposure : float
        Mean over all bars of their weights' size.
    returned : float
        What they earned before costs, a year if the bars in one are known, not compounded.
    trades : int
    bars : float
        Mean length of a trade; NaN without one.
    """

    time: float
    exposure: float
    returned: float
    trades: int
    bars: float


def sides(test: Backtest) -> dict[str, Side]:
    """Take a strategy's positions apart by side."""
    found = {}
    kinds = {"long": test.weights > 0, "short": test.weights < 0, "both": test.weights != 0}
    for name, held in kinds.items():
        weights = np.where(held, test.weights, 0.0)
        spans = trades(weights)
        found[name] = Side(
            time=float(held.any(axis=1).mean()),
            exposure=float(np.abs(weights).sum(axis=1).mean()),
            returned=float(test.earned[held].sum() / len(test.earned) * test.rules.annual),
            trades=spans.number,
            bars=spans.bars,
        )
    return found


def _sides_table(test: Backtest) -> Table:
    rows = [
        [
            Cell(name),
            number_cell(side.time, percent),
            number_cell(side.exposure, percent),
            number_cell(side.returned, percent),
            count_cell(side.trades),
            number_cell(side.bars, lambda bars: ratio(bars, 1)),
        ]
        for name, side in sides(test).items()
    ]
    net = percent(float(test.weights.sum(axis=1).mean()), signed=True)
    columns = [
        Column("side"),
        Column("share of bars", numeric=True, hint="with such a position"),
        Column("mean exposure", numeric=True, hint="share of wealth"),
        Column(f"return {test.rules.per}", numeric=True, hint="before costs, not compounded"),
        Column("trades", numeric=True, hint="spans on one side"),
        Column("holding time", numeric=True, hint="mean, in bars"),
    ]
    return Table(f"Exposure and trades: what it holds, and which side earns; net exposure {net}", columns, rows)


def lagged(trained: Trained) -> dict[int, tuple[float, float]]:
    """Return the net Sharpe ratio and growth a year by execution lag: of `LAGS`, and the run's own; NaN if not known.

    From the run's own lag on they are those of its positions, taken later; below it, the metrics on record.
    """
    rules, table, metrics = trained.rules, trained.forecasts, trained.run.metrics
    found = {}
    for lag in sorted({*LAGS, rules.lag}):
        test = None
        if table is not None and lag >= rules.lag:
            test = trained.backtest if lag == rules.lag else backtest_of(table, rules, lag - rules.lag)
        if test is None:
            found[lag] = metrics.get(f"val_sharpe_lag{lag}", math.nan), metrics.get(f"val_cagr_lag{lag}", math.nan)
        else:
            found[lag] = test.sharpe(test.net), backtest.cagr(test.net, rules.annual)
    return found


def _lag_table(trained: Trained) -> Table:
    own = trained.rules.lag
    words = {0: "at the close that made the signal", 1: "a bar later"}
    rows = []
    for lag, (sharpe, growth) in lagged(trained).items():
        filled = words.get(lag, f"{lag} bars later") + (", as configured" if lag == own else "")
        rows.append([Cell(str(lag), sort=lag), Cell(filled), number_cell(sharpe, ratio), number_cell(growth, percent)])
    per = trained.rules.per
    columns = [Column("lag", numeric=True), Column("filled")]
    columns += [Column(f"Sharpe ratio {per}", numeric=True), Column(f"growth {per}", numeric=True)]
    return Table("Execution lag: what is left if orders are filled later, after costs", columns, rows)
