"""The numbers of a comparison: runs in; differences with their uncertainty, wealth and correlations out.

Two runs are compared bar by bar, on the validation bars that both have: their squared errors where they forecast
the same target, their net returns where they traded the same market. The first run is the reference; a difference
is the other run less the reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from tradingbot_exp.evaluation.backtest import sharpe_ratios
from tradingbot_exp.evaluation.bootstrap import Statistic, paired_difference
from tradingbot_exp.evaluation.forecast import ic
from tradingbot_exp.reporting.backtest_numbers import rules_of, wealth
from tradingbot_exp.reporting.comparison_pairs import MIN_BARS, Floats, bars_of, column, pair
from tradingbot_exp.tracking.records import TrainingRecord

Measure = Literal["return", "sharpe", "mse"]
MEASURES: tuple[Measure, ...] = ("return", "sharpe", "mse")
LEVEL = 0.95
# A p-value is at least 1 / draws: few draws could not survive the correction for many comparisons.
_DRAWS, _DRAWS_EACH = 2_000, 100


@dataclass(frozen=True)
class Difference:
    """One measure of one run less that of the reference.

    Attributes
    ----------
    run : int
        Place among the runs; the reference has 0.
    measure : str
        ``return``: mean net simple return a bar. ``sharpe``: a year if `periods` is known, else a bar. ``mse``.
    bars : int
        On how many bars.
    base, estimate : float
        The reference's own, and the difference; NaN where not defined.
    low, high : float
        95 % interval of the difference.
    p, corrected : float
        Two-sided p-value of no difference, as it is and by Holm's method over all differences of the report.
    problem : str
        Why there is no number; empty if there is one.
    """

    run: int
    measure: Measure
    bars: int
    base: float = math.nan
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    corrected: float = math.nan
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is more than luck would do: the interval leaves 0 out, and so does the corrected p-value."""
        return self.corrected < 1 - LEVEL and (self.low > 0 or self.high < 0)

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
    draws = max(_DRAWS, _DRAWS_EACH * len(MEASURES) * (len(records) - 1))
    found = []
    for run, other in enumerate(records[1:], start=1):
        both = pair(records[0], other)
        for measure in MEASURES:
            series, why = (both.errors, both.no_errors) if measure == "mse" else (both.returns, both.no_returns)
            found.append(
                Difference(run, measure, len(both.dates), problem=why)
                if series is None
                else _difference(run, measure, series, _statistic(measure, periods), draws)
            )
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


@dataclass(frozen=True, eq=False)
class Equity:
    """What a wealth of 1 became over the bars that all the runs have.

    Attributes
    ----------
    dates : Index of shape (n,)
    wealth : dict of int to ndarray of shape (n,)
        After the return that follows each bar, net of costs, by the run's place; at 0 from ruin on.
    market : ndarray of shape (n,)
        Buy and hold.
    """

    dates: pd.Index
    wealth: dict[int, Floats]
    market: Floats


def equity(records: Sequence[TrainingRecord]) -> Equity | None:
    """Compound the returns of the runs that traded the reference's market; None if there are not two of them."""
    runs, dates = _common(records, "returns")
    if len(runs) < 2:
        return None
    tables = {run: _rows(records[run], dates) for run in runs}
    earned = {run: wealth(column(table, "strategy_return"))[1:] for run, table in tables.items()}
    return Equity(dates, earned, wealth(np.expm1(column(tables[0], "next_log_return")))[1:])


@dataclass(frozen=True, eq=False)
class Correlations:
    """How alike the runs' forecasts are, on the bars that all of them have.

    Attributes
    ----------
    runs : tuple of int
        Places of the k runs that forecast the reference's target.
    bars : int
    values : ndarray of shape (k, k)
        Pearson's correlation; NaN for a constant forecast.
    """

    runs: tuple[int, ...]
    bars: int
    values: Floats


def correlations(records: Sequence[TrainingRecord]) -> Correlations | None:
    """Correlate the forecasts of the same target; None if there are not two of them."""
    runs, dates = _common(records, "errors")
    if len(runs) < 2:
        return None
    forecasts = [column(_rows(records[run], dates), "forecast") for run in runs]
    values = np.array([[ic(one, other) for other in forecasts] for one in forecasts])
    return Correlations(tuple(runs), len(dates), values)


def _common(records: Sequence[TrainingRecord], what: Literal["errors", "returns"]) -> tuple[list[int], pd.Index]:
    """Give the runs that can be compared with the reference, itself first, and the bars that all of them have."""
    runs, dates = [0], None
    for run, other in enumerate(records[1:], start=1):
        both = pair(records[0], other)
        if getattr(both, what) is None:
            continue
        shared = both.dates if dates is None else dates.intersection(both.dates)
        if len(shared) >= MIN_BARS:  # a run that would leave too few bars to the others is left out
            runs, dates = [*runs, run], shared
    return runs, pd.Index([]) if dates is None else dates.sort_values()


def _rows(record: TrainingRecord, dates: pd.Index) -> pd.DataFrame:
    table = bars_of(record)
    return pd.DataFrame() if table is None else table.loc[dates]


def _difference(
    run: int, measure: Measure, series: tuple[Floats, Floats], statistic: Statistic, draws: int
) -> Difference:
    first, second = series
    base, other = float(statistic(first)), float(statistic(second))
    if math.isnan(base) or math.isnan(other):
        return Difference(run, measure, len(first), base, problem="a run returned the same on every bar")
    if np.array_equal(first, second):
        return Difference(run, measure, len(first), base, 0.0, 0.0, 0.0, 1.0)
    found = paired_difference(second, first, statistic, level=LEVEL, draws=draws)
    return Difference(run, measure, len(first), base, other - base, found.low, found.high, found.p_value)


def _statistic(measure: Measure, periods: float | None) -> Statistic:
    if measure != "sharpe":
        return lambda values: np.asarray(values.mean(axis=-1))
    return lambda values: sharpe_ratios(values, periods or 1.0)
