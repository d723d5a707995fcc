"""All numbers of one evaluation, and why those are missing that are not defined."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.config.metrics import LAGS, METRICS, TABLE, Metric
from tradingbot_exp.config.plugins import own_metrics
from tradingbot_exp.config.positions import POSITIONS
from tradingbot_exp.evaluation._arrays import Floats, is_constant, vectors
from tradingbot_exp.evaluation.metrics.functions import FUNCTIONS, Sample
from tradingbot_exp.evaluation.portfolio import changes_of, weights_by_date
from tradingbot_exp.evaluation.positions import realised_volatility
from tradingbot_exp.evaluation.rules import Rules, buy_and_hold_returns

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData
    from tradingbot_exp.data.panel import Layout
    from tradingbot_exp.data.splits import Block


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a forecast is worth on one set of bars.

    Attributes
    ----------
    metrics : dict of str to float
        The finite ones of `METRICS` and of the user's own, without a prefix such as ``val_``.
    undefined : dict of str to str
        The rest of them, each with its ``not defined, because …``.
    returns : ndarray, shape (D,), or None
        Net simple return of the strategy a date; None without one-bar returns.
    position, weight : ndarray, shape (n,)
        What is held over each bar, as a share of a symbol's part of wealth, and as a share of all of it: the same of
        one instrument.
    own : Sample
        What the model's own metrics were computed from.
    samples : dict of str to Sample
        What each metric was computed from, by its name.
    """

    metrics: dict[str, float]
    undefined: dict[str, str]
    returns: Floats | None
    position: Floats
    weight: Floats
    own: Sample
    samples: dict[str, Sample]


def judge_rows(  # noqa: PLR0917 - which rows, by what they are judged, and what is wanted of it
    data: PreparedData,
    block: Block,
    forecast: ArrayLike,
    rules: Rules,
    spread: ArrayLike = math.nan,
    names: Collection[str] = METRICS,
) -> Evaluation:
    """Judge a forecast of the rows of `block`, shape (len(block),), whose `spread` on the train rows is known.

    See `validation_metrics`.
    """
    level = float(data.targets(data.train).mean())
    layout = data.layout.take(block.rows)
    actual, returns, known = data.targets(block), data.returns(block), volatility_of(data, rules)
    volatility = None if known is None else known[block.rows]
    return validation_metrics(
        actual, forecast, returns, level, rules, layout=layout, spread=spread, volatility=volatility, names=names
    )


def volatility_of(data: PreparedData, rules: Rules) -> Floats | None:
    """Return the realised volatility of all rows, shape (n,); None without returns, or where the rule reads none."""
    if data.next_return is None or "vol_window" not in POSITIONS[rules.sizing.rule].reads:
        return None
    return realised_volatility(data.next_return, rules.sizing.vol_window, rules.annual, data.layout)


def validation_metrics(
    actual: ArrayLike,
    forecast: ArrayLike,
    next_return: ArrayLike | None,
    train_mean: float,
    rules: Rules,
    *,
    layout: Layout,
    spread: ArrayLike = math.nan,
    volatility: ArrayLike | None = None,
    names: Collection[str] = METRICS,
) -> Evaluation:
    """Judge a forecast by its errors and by the positions that it leads to.

    Parameters
    ----------
    actual, forecast : array_like, shape (n,)
        Target and forecast in the target's unit, a value a bar in time order.
    next_return : array_like, shape (n,), or None
        One-bar log return that follows each bar. None leaves `BACKTEST_METRICS` undefined.
    train_mean : float
        Mean of the target over the train rows, the reference of R².
    rules : Rules
        Metrics with ``_lag0`` and ``_lag1`` in their names have a lag of their own. ``zero_mse`` is the squared error
        of staying at the neutral forecast on every bar: 0.25 for directions.
    layout : Layout
        The date and symbol of each row: what concerns returns has a value a date.
    spread : float, or array_like of shape (n,)
    volatility : array_like, shape (n,), optional
        See `tradingbot_exp.evaluation.positions.Signals`.
    names : collection of str
        Of `METRICS`, those that are wanted.

    Returns
    -------
    Evaluation
        Each of `names` (of one instrument without those of a panel), and of the user's own, either in
        ``metrics`` or in ``undefined``.

    Raises
    ------
    ValueError
        An array holds NaN or an infinity, or the lengths differ.
    """
    a, f = vectors(actual=actual, forecast=forecast)
    r = None if next_return is None else vectors(actual=a, next_return=next_return)[1]
    wanted = rules.wanted(f, layout, spread, volatility)
    asked = rules.weights(wanted, layout)
    held = {f"lag{each}": rules.held(asked, layout, each) for each in {rules.lag, *LAGS}}
    position = rules.held(wanted, layout)
    weight, market = held[f"lag{rules.lag}"], np.empty(0) if r is None else buy_and_hold_returns(r, layout)

    def sample(held: Floats) -> Sample:
        if r is None:
            return Sample(a, f, rules, train_mean, layout, changes_of(weights_by_date(held, layout)))
        earned = rules.earned(held, r, layout)
        return Sample(a, f, rules, train_mean, layout, earned.changes, earned.net, market)

    own = sample(weight)
    variants = {
        "": own,
        **{f"lag{each}": sample(held[f"lag{each}"]) for each in LAGS},
        "zero": replace(own, forecast=np.full_like(a, rules.neutral)),
        "buy_hold": replace(own, returns=market),
    }
    rows = [row for row in map(TABLE.__getitem__, names) if layout.is_panel or not row.panel]
    samples = {row.name: variants[row.variant] for row in rows if r is not None or row.family == "forecast"}
    found = {row.name: FUNCTIONS[row.function](samples[row.name]) for row in rows if row.name in samples}
    metrics = {name: value for name, value in found.items() if math.isfinite(value)}
    undefined = {
        row.name: f"not defined, because {_reason(row, found.get(row.name), own, held.get(row.variant, position))}"
        for row in rows
        if row.name not in metrics
    }
    net = None if r is None else own.returns
    for name, value in own_metrics(a, f, net).items():  # those that the user's own modules registered
        if math.isfinite(value):
            metrics[name] = value
        else:
            undefined[name] = "not defined, because its function gave no finite number"
    return Evaluation(metrics, undefined, net, position, weight, own, samples)


def bar_columns(evaluation: Evaluation, next_return: Floats | None) -> dict[str, Any]:
    """Return the columns that stand beside each bar's forecast: position, and returns where there are any.

    Of a panel the symbol, the weight, and how many dates on its symbol's next bar is, too; the returns of strategy and
    market are those of the row's date.
    """
    layout = evaluation.own.layout
    held: dict[str, Any] = {"position": evaluation.position}
    if layout.is_panel:
        held = {"symbol": layout.symbols, **held, "weight": evaluation.weight, "dates_ahead": layout.ahead}
    if next_return is None or evaluation.returns is None:
        return held
    earned = {"strategy_return": evaluation.returns, "buy_hold_return": evaluation.own.market}
    by_row = {name: each[layout.days] for name, each in earned.items()}
    return {**held, "next_log_return": next_return, **by_row}


def _reason(row: Metric, value: float | None, own: Sample, position: Floats) -> str:
    """Say what the input lacks for a metric whose value is not finite, or None if it was not computed."""
    if value is None:
        return "no one-bar returns were given (with data=table, data.returns names their column)"
    if math.isinf(value):
        return "it is too large for a 64-bit float"
    if own.bars == 0:
        return "there are no bars"
    if own.bars < row.least:
        return f"it takes at least {row.least} bars"
    if row.idle and not position.any():
        return "the strategy never takes a position"
    constant = "the forecast is constant" if is_constant(own.forecast) else "the actual values are constant"
    return row.undefined or constant
