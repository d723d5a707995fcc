"""The differences between runs, with their uncertainty.

Two runs are compared bar by bar, on the validation bars that both have: their squared errors where they forecast
the same target, their net returns where they traded the same market. The first run is the reference; a difference
is the other run less the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.metrics.backtest import sharpe_ratios
from tradingbot_exp.evaluation.significance.bootstrap import (
    FEWEST_DRAWS,
    Interval,
    Statistic,
    draws_for,
    paired_differences,
)
from tradingbot_exp.reporting.backtest import rules_of
from tradingbot_exp.reporting.comparison.pairs import pair
from tradingbot_exp.tracking.reading.records import TrainingRecord

Measure = Literal["return", "sharpe", "mse"]
"""Mean net simple return a bar; net Sharpe ratio, a year's if its bars are known, else a bar's; mean squared error."""
MEASURES: tuple[Measure, ...] = ("return", "sharpe", "mse")
LEVEL = 0.95
# A p-value is at least 1 / (draws + 1): few draws could not survive the correction for many comparisons. Of long
# series there are fewer draws, but so many that a difference beyond all of them survives.
_DRAWS, _DRAWS_EACH, _FEWEST_EACH = 2_000, 100, 25


@dataclass(frozen=True)
class Difference:
    """One measure of one run less that of the reference."""

    run: int  # its place; the reference has 0
    measure: Measure
    bars: int  # on how many it was measured
    # The reference's own value, the difference, and its 95 % interval; NaN where not defined.
    base: float = math.nan
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    # Two-sided p-value of no difference, as it is and by Holm's method over all differences of the report.
    p: float = math.nan
    corrected: float = math.nan
    problem: str = ""  # why there is no number
    block: float = math.nan  # mean length in bars of the blocks that were drawn

    @property
    def holds(self) -> bool:
        """Whether it is more than luck would do: the interval leaves 0 out, and so does the corrected p-value."""
        return self.corrected < 1 - LEVEL and (self.low > 0 or self.high < 0)

    @property
    def is_nothing(self) -> bool:
        """Whether the two were the same on every bar."""
        return self.estimate == self.low == self.high == 0

    @property
    def better(self) -> bool:
        """Whether the run, not the reference, comes out better."""
        return self.estimate < 0 if self.measure == "mse" else self.estimate > 0


def differences(records: Sequence[TrainingRecord]) -> list[Difference]:
    """Compare each run with the first, in every measure, with the p-values corrected for their number.

    References
    ----------
    Politis & Romano (1994), "The stationary bootstrap", JASA 89; Holm (1979), "A simple sequentially rejective
    multiple test procedure", Scandinavian Journal of Statistics 6.
    """
    periods = rules_of(records[0].run, records[0].artifacts.predictions).periods
    found = []
    for run, other in enumerate(records[1:], start=1):
        both = pair(records[0], other)
        horizon = max(rules_of(each.run).horizon for each in (records[0], other))
        draws = draws_of(len(both.dates), len(MEASURES) * (len(records) - 1))
        sides: tuple[tuple[tuple[Measure, ...], tuple[Floats, Floats] | None, str], ...] = (
            (("return", "sharpe"), both.returns, both.no_returns),
            (("mse",), both.errors, both.no_errors),
        )
        for measures, series, why in sides:
            if series is None:
                found += [Difference(run, measure, len(both.dates), problem=why) for measure in measures]
            else:
                statistics = {name: _statistic(name, periods) for name in measures}
                found += _differences(run, statistics, series, horizon=horizon, draws=draws)
    corrected = holm([each.p for each in found])
    return [replace(each, corrected=p) for each, p in zip(found, corrected, strict=True)]


def in_unit(difference: Difference, value: float) -> float:
    """Turn a difference, or an end of its interval, into basis points a bar, a ratio, or % of the reference's MSE."""
    if difference.measure == "return":
        return 1e4 * value
    if difference.measure == "mse":
        return 100 * value / difference.base if difference.base else math.nan
    return value


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's step-down method; NaN stays NaN and does not count."""
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    corrected, highest = [math.nan] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def draws_of(bars: int, comparisons: int) -> int:
    """Choose the number of resamples, by the bars of a pair and by all differences that are corrected together."""
    wanted = max(_DRAWS, _DRAWS_EACH * comparisons)
    return draws_for(bars, wanted, max(FEWEST_DRAWS, _FEWEST_EACH * comparisons))


def _differences(
    run: int, statistics: Mapping[Measure, Statistic], series: tuple[Floats, Floats], *, horizon: int, draws: int
) -> list[Difference]:
    """Compare several statistics of the same two series, on the same resamples, of blocks at least `horizon` long."""
    first, second = series
    bars, same = len(first), np.array_equal(first, second)
    intervals: list[Interval] = []
    if not same:
        asked = list(statistics.values())
        intervals = paired_differences(second, first, asked, level=LEVEL, draws=draws, horizon=horizon)
    found = []
    for place, (measure, statistic) in enumerate(statistics.items()):
        base, other = float(statistic(first)), float(statistic(second))
        if math.isnan(base) or math.isnan(other):
            found.append(Difference(run, measure, bars, base, problem="a run returned the same on every bar"))
        elif same:
            found.append(Difference(run, measure, bars, base, 0.0, 0.0, 0.0, 1.0))
        else:
            one = intervals[place]
            numbers = (other - base, one.low, one.high, one.p_value)
            found.append(Difference(run, measure, bars, base, *numbers, block=one.block))
    return found


def _statistic(measure: Measure, periods: float | None) -> Statistic:
    if measure != "sharpe":
        return lambda values: np.asarray(values.mean(axis=-1))
    return lambda values: sharpe_ratios(values, periods or 1.0)
