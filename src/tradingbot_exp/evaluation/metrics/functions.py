"""The function of each metric: from a sample of bars to a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tradingbot_exp.data.panel import across_rank
from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.metrics import across, backtest
from tradingbot_exp.evaluation.metrics import forecast as scores
from tradingbot_exp.evaluation.rules import Rules

if TYPE_CHECKING:
    from tradingbot_exp.data.panel import Layout


def _none() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class Sample:
    """What a metric is computed from: a value a row, shape (n,), or a date, shape (D,), in time order or drawn from it.

    Attributes
    ----------
    actual, forecast : ndarray, shape (n,)
        In the target's unit.
    rules : Rules
    train_mean : float
        Mean of the target over the train rows.
    layout : Layout
        The date and symbol of each target and forecast.
    changes : ndarray, shape (D,)
        Σ |Δ weight|.
    returns, market : ndarray, shape (D,)
        Net simple returns of the strategy, and those of buy and hold; empty without one-bar returns.
    """

    actual: Floats
    forecast: Floats
    rules: Rules
    train_mean: float
    layout: Layout
    changes: Floats = field(default_factory=_none)
    returns: Floats = field(default_factory=_none)
    market: Floats = field(default_factory=_none)

    @property
    def bars(self) -> int:
        """How many dates there are."""
        return len(self.layout.starts)

    def take(self, bars: NDArray[np.int64]) -> Sample:
        """Draw dates, each with all that belongs to it, and with all its symbols."""
        by_bar = {
            name: values[bars] for name in ("changes", "returns", "market") if (values := getattr(self, name)).size
        }
        rows, layout = self.layout.draw(bars)
        drawn = replace(self, actual=self.actual[rows], forecast=self.forecast[rows], layout=layout, **by_bar)
        # Speed: what is known of rows, and of dates, is so of those that are drawn.
        known = {"ics": bars, "rank_ics": bars, "places": (slice(None), rows)}
        vars(drawn).update({name: vars(self)[name][taken] for name, taken in known.items() if name in vars(self)})
        return drawn

    @cached_property
    def places(self) -> NDArray[np.intp]:
        """The places of actual values and of forecasts, by which they are ranked, shape (2, n)."""
        return np.stack([scores.places(self.actual), scores.places(self.forecast)])

    @cached_property
    def ics(self) -> Floats:
        """The correlation of forecast and actual over the symbols of each date, shape (D,); see `across.by_date`."""
        return across.by_date(self.actual, self.forecast, self.layout, self.rules.sizing.min_symbols)

    @cached_property
    def rank_ics(self) -> Floats:
        """The same of their ranks."""
        actual, forecast = (across_rank(values, self.layout) for values in (self.actual, self.forecast))
        return across.by_date(actual, forecast, self.layout, self.rules.sizing.min_symbols)


FUNCTIONS: dict[str, Callable[[Sample], float]] = {
    "mse": lambda of: scores.mse(of.actual, of.forecast),
    "mae": lambda of: scores.mae(of.actual, of.forecast),
    "r2": lambda of: scores.r2(of.actual, of.forecast, of.train_mean),
    "ic": lambda of: scores.ic(of.actual, of.forecast),
    "rank_ic": lambda of: scores.ic(*map(scores.ranks, of.places)),
    "hit_rate": lambda of: scores.hit_rate(of.actual, of.forecast, of.rules.neutral),
    "cs_ic": lambda of: across.mean(across.known(of.ics)),
    "cs_rank_ic": lambda of: across.mean(across.known(of.rank_ics)),
    "cs_icir": lambda of: across.ratio(across.known(of.ics)),
    "cs_ic_t": lambda of: across.t_value(across.known(of.ics), of.rules.horizon),
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
