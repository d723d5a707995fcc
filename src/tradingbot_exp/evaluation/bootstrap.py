"""The stationary bootstrap: how far a statistic of a time series would have moved with other luck.

Blocks of bars are drawn with replacement, their lengths geometrically distributed, and joined; what depends on
the bars just before it keeps doing so. Everything random takes a seed.

References
----------
Politis & Romano (1994), "The stationary bootstrap", JASA 89(428), 1303-1313.
Politis & White (2004), "Automatic block-length selection for the dependent bootstrap", Econometric Reviews 23(1),
53-70, with the correction of Patton, Politis & White (2009), Econometric Reviews 28(4), 372-375.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From series of shape (..., n) to their values of shape (...)."""

DRAWS = 2_000
_CHUNK = 2_000_000  # numbers that are drawn at a time


@dataclass(frozen=True)
class Interval:
    """A statistic with its percentile interval, in the statistic's unit; `p_value` is two-sided, of the value 0."""

    estimate: float
    low: float
    high: float
    p_value: float


def block_length(series: Floats) -> float:
    """Choose the mean block length that suits a series' autocorrelation.

    Parameters
    ----------
    series : ndarray of shape (n,)

    Returns
    -------
    float
        In bars, from 1 to min(3·√n, n/3); 1 for a constant series, and for fewer than 10 bars.
    """
    x = np.asarray(series, dtype=np.float64)
    n = len(x)
    centred = x - x.mean() if n else x
    if n < 10 or not np.any(np.abs(centred) > 1e-12 * np.abs(x).max()):
        return 1.0
    quiet = max(5, math.ceil(math.sqrt(math.log10(n))))
    reach = min(math.ceil(math.sqrt(n)) + quiet, n - 1)
    autocovariance = np.array([centred[lag:] @ centred[: n - lag] for lag in range(reach + 1)]) / n
    small = np.abs(autocovariance / autocovariance[0]) < 2.0 * math.sqrt(math.log10(n) / n)
    # The first lag after which `quiet` lags in a row look like noise.
    found = next((lag for lag in range(1, reach - quiet + 2) if small[lag : lag + quiet].all()), None)
    bandwidth = min(2 * max(found - 1, 1) if found is not None else reach, reach)
    lags = np.arange(1, bandwidth + 1)
    window = np.minimum(1.0, 2.0 * (1.0 - lags / bandwidth))  # the flat-top (trapezoidal) lag window
    weighted = window * autocovariance[1 : bandwidth + 1]
    spectrum = autocovariance[0] + 2.0 * weighted.sum()
    slope = 2.0 * (lags * weighted).sum()
    if spectrum <= 0.0:
        return 1.0
    length = (slope**2 / spectrum**2) ** (1 / 3) * n ** (1 / 3)
    return float(min(max(length, 1.0), 3.0 * math.sqrt(n), n / 3.0))


def stationary_indices(bars: int, block: float, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the rows of resampled series: blocks of geometric length with mean `block`, wrapped around the end.

    Returns
    -------
    ndarray of int64 of shape (draws, bars)
    """
    starts = rng.random((draws, bars)) < 1.0 / max(block, 1.0)
    starts[:, 0] = True
    at = np.arange(bars)
    begun = np.maximum.accumulate(np.where(starts, at, 0), axis=1)  # where each bar's block began
    first = np.take_along_axis(rng.integers(0, bars, (draws, bars)), begun, axis=1)
    return (first + at - begun) % bars


def bootstrap_interval(
    series: Floats,
    statistic: Statistic,
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    block: float | None = None,
    seed: int = 0,
) -> Interval:
    """Give a statistic of one series, or of several that are resampled together, with its uncertainty.

    Parameters
    ----------
    series : ndarray of shape (n,) or (k, n)
        Of k series, the same bars are drawn from each, so what moves all of them moves them together; `statistic`
        then takes shape (..., k, n).
    statistic : callable
        From shape (..., n) to shape (...).
    level : float
        Of the percentile interval, between 0 and 1.
    draws : int
        Resampled series. A p-value is at least 1 / (draws + 1).
    block : float, optional
        Mean block length in bars; else the longest that `block_length` chooses for any of the series.
    seed : int

    Returns
    -------
    Interval
        All NaN where the statistic is; resampled values that are NaN are left out.
    """
    values = np.asarray(series, dtype=np.float64)
    rows, bars = np.atleast_2d(values), values.shape[-1]
    estimate = float(statistic(values))
    if math.isnan(estimate):
        return Interval(math.nan, math.nan, math.nan, math.nan)
    length = max(block_length(row) for row in rows) if block is None else block
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // values.size)
    found = []
    for start in range(0, draws, step):
        drawn = stationary_indices(bars, length, min(step, draws - start), rng)
        sample = values[drawn] if values.ndim == 1 else np.moveaxis(values[:, drawn], 0, 1)
        found.append(statistic(sample))
    sampled = np.concatenate(found)
    sampled = sampled[~np.isnan(sampled)]
    if not sampled.size:
        return Interval(estimate, math.nan, math.nan, math.nan)
    low, high = np.quantile(sampled, [(1.0 - level) / 2, (1.0 + level) / 2])
    beyond = int(np.sum(np.abs(sampled - sampled.mean()) >= abs(estimate)))
    return Interval(estimate, float(low), float(high), (1 + beyond) / (1 + len(sampled)))


def paired_difference(
    first: Floats,
    second: Floats,
    statistic: Statistic,
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Compare a statistic of two series over the same bars: the first's less the second's.

    The block length is chosen for the series' difference.

    Parameters
    ----------
    first, second : ndarray of shape (n,)
    statistic : callable
        From shape (..., n) to shape (...).
    level, draws, seed
        See `bootstrap_interval`.
    """
    both = np.stack([first, second])
    return bootstrap_interval(
        both,
        lambda values: statistic(values[..., 0, :]) - statistic(values[..., 1, :]),
        level=level,
        draws=draws,
        block=block_length(both[0] - both[1]),
        seed=seed,
    )
