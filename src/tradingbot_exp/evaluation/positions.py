"""Position rules: from forecasts, and what else is known at their dates, to the position that each asks for.

A rule is a row of `tradingbot_exp.config.positions` and its function here. How positions are held, and what they earn,
is in `tradingbot_exp.evaluation.rules`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.config.choices import is_in_returns
from tradingbot_exp.config.positions import POSITIONS
from tradingbot_exp.errors import TrainingError
from tradingbot_exp.evaluation._arrays import Floats, is_constant, vectors
from tradingbot_exp.runtime.text import qualified_name

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import Config
    from tradingbot_exp.data.panel import Layout

# Products such as 0.29 · 100 fall short of the whole number that is meant.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Sizing:
    """A position rule with its numbers.

    Attributes
    ----------
    rule : str
        Its name: see `tradingbot_exp.config.positions.POSITIONS`.
    threshold : float
        In the target's unit; NaN where ``auto`` has no cost to go by, as targets are no returns.
    max_position, vol_target, vol_window, quantile, min_symbols
        As in the block `evaluation` of the configuration.
    """

    rule: str = "sign"
    threshold: float = 0.0
    max_position: float = 1.0
    vol_target: float = 0.15
    vol_window: int = 20
    quantile: float = 0.2
    min_symbols: int = 3

    @classmethod
    def of(cls, config: Config) -> Sizing:
        """Return the rule of a configuration; a threshold that is ``auto`` is what one change of position costs."""
        asked, costs = config.evaluation, is_in_returns(config.data.source, config.data.target)
        threshold = (asked.cost_bps * 1e-4 if costs else math.nan) if asked.threshold == "auto" else asked.threshold
        return cls(
            asked.position,
            float(threshold),
            asked.max_position,
            asked.vol_target,
            asked.vol_window,
            asked.quantile,
            asked.min_symbols,
        )


@dataclass(frozen=True, eq=False)
class Signals:
    """What a position rule goes by: n forecasts, and what is known when each is made.

    Attributes
    ----------
    score : ndarray, shape (n,)
        Forecast less the one that takes no side, in the target's unit.
    layout : Layout
        The date and symbol of each row, which are in order of both.
    spread : ndarray, shape (n,)
        Standard deviation (ddof 1) of the forecasts of the train rows, by the model that made each forecast; 0 where
        they are all alike, NaN where it is not known.
    volatility : ndarray, shape (n,)
        Realised volatility a year: see `realised_volatility`. NaN where there are too few returns, or none.
    sizing : Sizing
        The rule's numbers.
    """

    score: Floats
    layout: Layout
    spread: Floats
    volatility: Floats
    sizing: Sizing


def wanted_positions(signals: Signals) -> Floats:
    """Return the position that each forecast asks for, as a share of a symbol's part of wealth, shape (n,).

    Raises
    ------
    TrainingError
        The rule is a plugin's, and raises, or gives something else than n finite numbers.
    """
    row = POSITIONS[signals.sizing.rule]
    if row.function is None:
        return FUNCTIONS[row.name](signals)
    place = f"The position rule {row.name} ({qualified_name(row.function)})"
    try:
        found: Floats = np.asarray(row.function(signals), dtype=np.float64)
    except Exception as error:
        raise TrainingError(f"{place} raised {type(error).__name__}: {error}") from error
    if found.shape != signals.score.shape or not np.isfinite(found).all():
        given = f"the shape {found.shape}" if found.shape != signals.score.shape else "NaN or infinity"
        raise TrainingError(f"{place} gave {given}; expected a finite number for each of {len(signals.score)} rows.")
    return found


def spread_of(forecast: Floats) -> float:
    """Return the standard deviation (ddof 1) of forecasts; 0 where they are all alike, or there is one."""
    with np.errstate(over="ignore", invalid="ignore"):  # forecasts that are none are refused where they are judged
        return 0.0 if is_constant(forecast) else float(np.std(forecast, ddof=1))


def realised_volatility(next_return: ArrayLike, window: int, periods: float, layout: Layout) -> Floats:
    """Return the volatility a year of the last `window` one-bar returns that are known at each row.

    Parameters
    ----------
    next_return : array_like, shape (n,)
        Log return that follows each row, so that those before it are known.
    window : int
        Bars, at least 2.
    periods : float
        Bars a year.
    layout : Layout
        Each symbol's returns are its own.

    Returns
    -------
    ndarray, shape (n,), float64
        Standard deviation (ddof 1) · √periods; NaN for the first `window` rows of a symbol.
    """
    (r,) = vectors(next_return=next_return)
    series, age = layout.ordered(r), layout.ordered(layout.earlier)
    total, squares = np.zeros(len(r)), np.zeros(len(r))
    for back in range(1, min(window, len(r) - 1) + 1):
        total[back:] += series[:-back]
    for back in range(1, min(window, len(r) - 1) + 1):
        squares[back:] += (series[:-back] - total[back:] / window) ** 2
    found = np.empty(len(r))
    found[layout.by_symbol] = np.where(age < window, np.nan, np.sqrt(squares / (window - 1) * periods))
    return found


def _proportional(of: Signals) -> Floats:
    if np.isnan(of.spread).any():
        raise ValueError("spread is not known, and a position in proportion to the forecast takes it.")
    ratio = of.score / np.where(of.spread > 0, of.spread, np.inf)
    return np.asarray(np.clip(ratio, -of.sizing.max_position, of.sizing.max_position))


def _vol_target(of: Signals) -> Floats:
    with np.errstate(divide="ignore"):  # of prices that do not move
        size = np.minimum(of.sizing.vol_target / of.volatility, of.sizing.max_position)
    return np.asarray(np.sign(of.score) * np.where(np.isnan(size), 0.0, size))


def _long_short(of: Signals) -> Floats:
    days, counts = of.layout.days, of.layout.counts
    rank = np.empty(len(of.score), dtype=np.intp)  # of each row on its date, from 0; ties stay in order of symbol
    rank[np.lexsort((of.score, days))] = np.arange(len(rank)) - of.layout.starts[days]
    most = np.maximum(1, np.floor(of.sizing.quantile * counts + _ROUNDING)).astype(np.intp)
    most[counts < of.sizing.min_symbols] = 0
    return np.asarray(1.0 * (rank >= (counts - most)[days]) - 1.0 * (rank < most[days]))


FUNCTIONS: dict[str, Callable[[Signals], Floats]] = {
    "sign": lambda of: np.sign(of.score),
    "long_only": lambda of: np.asarray(of.score > 0, dtype=np.float64),
    "threshold": lambda of: np.where(np.abs(of.score) > of.sizing.threshold, np.sign(of.score), 0.0),
    "proportional": _proportional,
    "vol_target": _vol_target,
    "long_short": _long_short,
}
"""By the name of a row of `tradingbot_exp.config.positions` that is this package's own."""
