"""All numbers of one evaluation, and why those are missing that are not defined."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.config.metrics import LAGS, METRICS, TABLE, Metric
from tradingbot_exp.config.plugins import own_metrics
from tradingbot_exp.evaluation._arrays import Floats, is_constant, vectors
from tradingbot_exp.evaluation.metrics.functions import FUNCTIONS, Sample
from tradingbot_exp.evaluation.rules import Rules, buy_and_hold_returns, changes_of

if TYPE_CHECKING:
    from tradingbot_exp.data import PreparedData
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
    returns : ndarray, shape (n,), or None
        Net simple return of the strategy a bar; None without one-bar returns.
    position : ndarray, shape (n,)
        Share of wealth held over each bar, between −1 and 1.
    own : Sample
        What the model's own metrics were computed from.
    samples : dict of str to Sample
        What each metric was computed from, by its name.
    """

    metrics: dict[str, float]
    undefined: dict[str, str]
    returns: Floats | None
    position: Floats
    own: Sample
    samples: dict[str, Sample]


def judge_rows(data: PreparedData, block: Block, forecast: ArrayLike, rules: Rules) -> Evaluation:
    """Judge a forecast of the rows of `block`, shape (len(block),): see `validation_metrics`."""
    level = float(data.targets(data.train).mean())
    return validation_metrics(data.targets(block), forecast, data.returns(block), level, rules)


def validation_metrics(
    actual: ArrayLike,
    forecast: ArrayLike,
    next_return: ArrayLike | None,
    train_mean: float,
    rules: Rules,
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

    Returns
    -------
    Evaluation
        Each name of `METRICS`, and of the user's own, either in ``metrics`` or in ``undefined``.

    Raises
    ------
    ValueError
        An array holds NaN or an infinity, or the lengths differ.
    """
    a, f = vectors(actual=actual, forecast=forecast)
    r = None if next_return is None else vectors(actual=a, next_return=next_return)[1]
    held = {f"lag{each}": rules.positions(f, each) for each in {rules.lag, *LAGS}}
    position, market = held[f"lag{rules.lag}"], np.empty(0) if r is None else buy_and_hold_returns(r)

    def sample(held: Floats) -> Sample:
        earned = market if r is None else rules.net_returns(held, r)
        return Sample(a, f, rules, train_mean, changes_of(held), earned, market)

    own = sample(position)
    variants = {
        "": own,
        **{f"lag{each}": sample(held[f"lag{each}"]) for each in LAGS},
        "zero": replace(own, forecast=np.full_like(a, rules.neutral)),
        "buy_hold": replace(own, returns=market),
    }
    rows = [TABLE[name] for name in METRICS]
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
    return Evaluation(metrics, undefined, net, position, own, samples)


def bar_columns(evaluation: Evaluation, next_return: Floats | None) -> dict[str, Floats]:
    """Return the columns that stand beside each bar's forecast: position, and returns where there are any."""
    if next_return is None or evaluation.returns is None:
        return {"position": evaluation.position}
    return {
        "position": evaluation.position,
        "next_log_return": next_return,
        "strategy_return": evaluation.returns,
        "buy_hold_return": evaluation.own.market,
    }


def _reason(row: Metric, value: float | None, own: Sample, position: Floats) -> str:
    """Say what the input lacks for a metric whose value is not finite, or None if it was not computed."""
    if value is None:
        return "no one-bar returns were given (with data=table, data.returns names their column)"
    if math.isinf(value):
        return "it is too large for a 64-bit float"
    if own.actual.size == 0:
        return "there are no bars"
    if own.actual.size < row.least:
        return f"it takes at least {row.least} bars"
    if row.idle and not position.any():
        return "the strategy never takes a position"
    constant = "the forecast is constant" if is_constant(own.forecast) else "the actual values are constant"
    return row.undefined or constant
