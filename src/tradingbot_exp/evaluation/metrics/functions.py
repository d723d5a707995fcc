"""The function of each metric: from a sample of bars to a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.metrics import backtest
from tradingbot_exp.evaluation.metrics import forecast as scores
from tradingbot_exp.evaluation.rules import Rules


def _none() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class Sample:
    """What a metric is computed from: a value a bar, shape (n,), in time order or drawn from it.

    Attributes
    ----------
    actual, forecast : ndarray
        In the target's unit.
    rules : Rules
    train_mean : float
        Mean of the target over the train rows.
    changes : ndarray
        Absolute change of position at each bar.
    returns, market : ndarray
        Net simple returns of the strategy, and those of buy and hold; empty without one-bar returns.
    """

    actual: Floats
    forecast: Floats
    rules: Rules
    train_mean: float
    changes: Floats = field(default_factory=_none)
    returns: Floats = field(default_factory=_none)
    market: Floats = field(default_factory=_none)

    def take(self, bars: NDArray[np.int64]) -> Sample:
        """Draw bars, each with all that belongs to it."""
        names = ("actual", "forecast", "changes", "returns", "market")
        return replace(self, **{name: values[bars] for name in names if (values := getattr(self, name)).size})


FUNCTIONS: dict[str, Callable[[Sample], float]] = {
    "mse": lambda of: scores.mse(of.actual, of.forecast),
    "mae": lambda of: scores.mae(of.actual, of.forecast),
    "r2": lambda of: scores.r2(of.actual, of.forecast, of.train_mean),
    "ic": lambda of: scores.ic(of.actual, of.forecast),
    "rank_ic": lambda of: scores.rank_ic(of.actual, of.forecast),
    "hit_rate": lambda of: scores.hit_rate(of.actual, of.forecast, of.rules.neutral),
    "sharpe": lambda of: backtest.sharpe(of.returns, of.rules.annual),
    "sortino": lambda of: backtest.sortino(of.returns, of.rules.annual),
    "calmar": lambda of: backtest.calmar(of.returns, of.rules.annual),
    "cagr": lambda of: backtest.cagr(of.returns, of.rules.annual),
    "alpha": lambda of: backtest.alpha(of.returns, of.market, of.rules.annual),
    "beta": lambda of: backtest.beta(of.returns, of.market),
    "max_drawdown": lambda of: backtest.max_drawdown(of.returns),
    "turnover": lambda of: float(np.mean(of.changes)) if of.changes.size else float("nan"),
}
"""By the name of a row of `tradingbot_exp.config.metrics` that is the model's own."""
