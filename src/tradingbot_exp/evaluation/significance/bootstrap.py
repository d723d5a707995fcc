"""The stationary bootstrap: how far a statistic of a time series would have moved by chance.

Blocks of bars are drawn with replacement, their lengths geometrically distributed, and joined; what depends on
the bars just before it keeps doing so. Everything random takes a seed, and the same seed gives the same numbers.

References
----------
Politis & Romano (1994), "The stationary bootstrap", JASA 89(428), 1303-1313.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tradingbot_exp.evaluation._arrays import Floats
from tradingbot_exp.evaluation.significance.block_length import block_length, block_lengths

Statistic = Callable[[Floats], Floats]
"""From series of shape (..., n) to their values of shape (...)."""

DRAWS, FEWEST_DRAWS = 2_000, 500
MIN_BARS = 30
"""Fewer bars than these are not resampled: a bootstrap of them says nothing."""
_VALUES = 20_000_000  # bars drawn in all: of long series there are fewer draws
_CHUNK = 2**21  # numbers that are drawn at a time: 16 MB as float64


@dataclass(frozen=True)
class Interval:
    """A statistic with its percentile interval.

    Attributes
    ----------
    estimate, low, high : float
        In the statistic's unit.
    p_value : float
        Two-sided, of the value 0; at least 1 / (draws + 1).
    block : float
        Mean block length in bars.
    problem : str
        ``not defined, because …``, with NaN for the numbers; empty where there is an interval.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    block: float = math.nan
    problem: str = ""


def draws_for(n: int, wanted: int = DRAWS, fewest: int = FEWEST_DRAWS) -> int:
    """Return the resamples of n bars that a person can wait for: those wanted, fewer for long series.

    Parameters
    ----------
    n : int
        Bars.
    wanted, fewest : int
        At most and at least; the least counts before the length.
    """
    return max(min(wanted, _VALUES // max(n, 1)), fewest)


def stationary_indices(n: int, block: float, draws: int, seed: int | np.random.Generator) -> NDArray[np.int64]:
    """Draw resamples of n bars: blocks that start anywhere, of geometric lengths, wrapped round the end.

    Parameters
    ----------
    n : int
        Bars, at least 1.
    block : float
        Mean length of a block, at least 1; 1 draws each bar by itself.
    draws : int
    seed : int or Generator

    Returns
    -------
    ndarray, shape (draws, n), int64
        Positions in 0 … n − 1.

    References
    ----------
    Politis & Romano (1994), "The stationary bootstrap", JASA 89(428), section 2.
    """
    if n < 1 or draws < 1 or not block >= 1:
        raise ValueError(f"n is {n}, draws {draws} and block {block}; expected each to be at least 1.")
    share = 1.0 / block
    # One uniform number a bar: whether a block starts there and, independently of that, where it comes from.
    u = np.random.default_rng(seed).random((draws, n))
    starts = u < share
    starts[:, 0] = True
    drawn = u[starts]
    part = np.where(drawn < share, drawn / share, (drawn - share) / max(1.0 - share, np.finfo(np.float64).tiny))
    begun = np.nonzero(starts)[1]
    shift = np.minimum((part * n).astype(np.int64), n - 1) - begun
    rows = shift[np.cumsum(starts).reshape(draws, n) - 1] + np.arange(n)
    return np.asarray(np.where(rows >= n, rows - n, rows), dtype=np.int64)


def resample_counts(n: int, block: float, draws: int, seed: int, width: int = 1) -> Iterator[Floats]:
    """Give, for parts of the resamples, how often each holds each bar; the parts do not change the numbers.

    Parameters
    ----------
    n, block, draws, seed
        See `stationary_indices`.
    width : int
        Columns of what the counts are multiplied with, which bounds the memory too.

    Yields
    ------
    ndarray, shape (part, n), float64
        Rows sum to n. ``counts @ values / n`` are the resamples' means.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, _CHUNK // max(n, width))
    for start in range(0, draws, at_once):
        part = min(at_once, draws - start)
        drawn = stationary_indices(n, block, part, rng) + np.arange(part)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=part * n).reshape(part, n).astype(np.float64)


def bootstrap_intervals(
    series: Floats,
    statistics: Sequence[Statistic],
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    block: float | None = None,
    horizon: int = 1,
    seed: int = 0,
) -> list[Interval]:
    """Return statistics of one series, or of several that are resampled together, with their uncertainty.

    Parameters
    ----------
    series : ndarray of shape (n,) or (k, n)
        Finite: returns for a mean or a Sharpe ratio, squared errors for an MSE. Of k series, the same bars are drawn
        from each, so what moves all of them moves them together; a statistic then takes shape (..., k, n).
    statistics : sequence of callable
        From shape (..., n) to shape (...); NaN where it is not defined. All are of the same resamples.
    level : float
        Of the percentile interval, between 0 and 1.
    draws : int
        Resampled series.
    block : float, optional
        Mean block length in bars; else the longest that `block_lengths` chooses for any of the series.
    horizon : int
        Bars over which one value overlaps the next ones: blocks are at least as long.
    seed : int

    Returns
    -------
    list of Interval
        Not defined for fewer than `MIN_BARS` bars, and where the statistic is not; resampled values that are NaN are
        left out.

    References
    ----------
    Efron & Tibshirani (1993), "An introduction to the bootstrap", chapter 13, for the percentile interval, and chapter
    16 for the p-value, from resampled values that are shifted so that their mean is 0.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a coverage between 0 and 1, such as 0.95.")
    values = np.asarray(series, dtype=np.float64)
    rows, bars = np.atleast_2d(values), values.shape[-1]
    if not np.isfinite(rows).all():
        raise ValueError("series holds values that are NaN or infinite; expected finite numbers. Drop those bars.")
    if bars < MIN_BARS:
        return [_none(f"there are {bars} bars, and a bootstrap takes at least {MIN_BARS}")] * len(statistics)
    estimates = [float(statistic(values)) for statistic in statistics]
    if not any(math.isfinite(estimate) for estimate in estimates):
        return [_none("the statistic has no value on these bars")] * len(statistics)
    length = float(block_lengths(rows.T).max()) if block is None else block
    length = min(max(length, float(horizon)), float(bars))
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // values.size)
    found: list[list[Floats]] = [[] for _ in statistics]
    for start in range(0, draws, step):
        drawn = stationary_indices(bars, length, min(step, draws - start), rng)
        sample = values[drawn] if values.ndim == 1 else np.moveaxis(values[:, drawn], 0, 1)
        for values_found, statistic in zip(found, statistics, strict=True):
            values_found.append(statistic(sample))
    return [_interval(one, np.concatenate(each), level, length) for one, each in zip(estimates, found, strict=True)]


def _interval(estimate: float, sampled: Floats, level: float, length: float) -> Interval:
    if not math.isfinite(estimate):
        return _none("the statistic has no value on these bars")
    sampled = sampled[np.isfinite(sampled)]
    if not sampled.size:
        return _none("the statistic has no value on any resample", estimate)
    low, high = np.quantile(sampled, [(1.0 - level) / 2, (1.0 + level) / 2])
    beyond = int(np.sum(np.abs(sampled - sampled.mean()) >= abs(estimate)))
    return Interval(estimate, float(low), float(high), (1 + beyond) / (1 + len(sampled)), length)


def _none(because: str, estimate: float = math.nan) -> Interval:
    return Interval(estimate, math.nan, math.nan, math.nan, problem=f"not defined, because {because}")


def paired_differences(
    first: Floats,
    second: Floats,
    statistics: Sequence[Statistic],
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    horizon: int = 1,
    seed: int = 0,
) -> list[Interval]:
    """Compare statistics of two series over the same bars, shape (n,) each: the first's less the second's.

    The block length is chosen for the series' difference; for the rest see `bootstrap_intervals`.
    """
    both = np.stack([first, second])
    return bootstrap_intervals(
        both,
        [partial(_less, statistic) for statistic in statistics],
        level=level,
        draws=draws,
        block=block_length(both[0] - both[1]),
        horizon=horizon,
        seed=seed,
    )


def _less(statistic: Statistic, values: Floats) -> Floats:
    """Return a statistic of two series, shape (..., 2, n): the first's less the second's."""
    return statistic(values[..., 0, :]) - statistic(values[..., 1, :])
