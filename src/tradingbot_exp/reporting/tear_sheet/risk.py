"""Tear sheet of risk: how returns are spread, their tail, and the deepest falls of wealth with their dates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.metrics import risk
from tradingbot_exp.plots.numbers import percent, ratio
from tradingbot_exp.plots.style import iso_times
from tradingbot_exp.reporting.backtest import Backtest
from tradingbot_exp.reporting.page.blocks import count_cell, number_cell, text_cell
from tradingbot_exp.reporting.page.page import Block, Cell, Column, Table
from tradingbot_exp.reporting.tear_sheet.trained import Trained

_two = partial(percent, digits=2)


def risk_blocks(trained: Trained) -> list[Block]:
    """Lay out volatility, skewness, VaR and CVaR beside buy and hold's, and the five deepest drawdowns."""
    test = trained.backtest
    return [] if test is None else [_spread(test), *_drawdowns(test)]


def _spread(test: Backtest) -> Table:
    annual, per = test.rules.annual, test.rules.per
    measures: list[tuple[str, Callable[[Floats], float], Callable[[float | None], str]]] = [
        (f"volatility {per}", lambda returns: risk.volatility(returns, annual), percent),
        ("skewness", risk.skewness, ratio),
        (f"VaR at {100 * risk.TAIL:g}\u00a0%, a bar", risk.value_at_risk, _two),
        (f"CVaR at {100 * risk.TAIL:g}\u00a0%, a bar", risk.expected_shortfall, _two),
        ("worst bar", lambda returns: float(returns.min()), _two),
        ("best bar", lambda returns: float(returns.max()), _two),
    ]
    series = (test.net, test.gross, test.market)
    rows = [[Cell(name), *(number_cell(of(each), form) for each in series)] for name, of, form in measures]
    columns = [Column("measure"), *(Column(name, numeric=True) for name in ("net", "before costs", "buy and hold"))]
    return Table("Risk: how much can a bar, or a year, lose?", columns, rows)


def _drawdowns(test: Backtest) -> list[Block]:
    """Lay out the deepest drawdowns; nothing where wealth never fell."""
    times = [str(time) for time in iso_times(test.times)]
    rows = []
    for fall in risk.drawdowns(test.net):
        end = len(test.net) if fall.recovery is None else fall.recovery
        rows.append(
            [
                number_cell(fall.depth, percent),
                Cell(times[fall.peak]),
                Cell(times[fall.trough]),
                text_cell(None if fall.recovery is None else times[fall.recovery], "not yet"),
                count_cell(fall.trough - fall.peak),
                count_cell(end - fall.peak),
            ]
        )
    if not rows:
        return []
    columns = [Column("depth", numeric=True), Column("peak"), Column("trough"), Column("recovery")]
    columns += [Column("bars to trough", numeric=True), Column("bars in all", numeric=True, hint="so far, if open")]
    return [Table("Drawdowns: the deepest after costs, and how long they took", columns, rows, sortable=True)]
