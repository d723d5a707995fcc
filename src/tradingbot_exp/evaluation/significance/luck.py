"""What luck can do in a search: how many trials there were in effect, what noise would have reached, what it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from tradingbot_exp.evaluation._arrays import Estimate, Floats, undefined
from tradingbot_exp.evaluation.significance.deflated import expected_maximum
from tradingbot_exp.runtime.text import plural

CONFIDENCE = 0.95
LEVEL = 0.025
"""p-value, corrected for all that was tried, below which a winner is real."""


def effective_trials(returns: ArrayLike, tried: float | None = None) -> Estimate:
    """Tell as how many independent trials the correlated ones count: ρ + (1 − ρ)·M for a mean correlation ρ.

    Parameters
    ----------
    returns : array_like, shape (n, K)
        Finite, one column a trial. Constant ones correlate with nothing and are left out of the mean.
    tried : float, optional
        M, if more were tried than there are columns (pruned ones, earlier studies): they are taken to be as alike
        as the columns. K if not given.

    Returns
    -------
    Estimate
        Between 1 and M. A mean correlation below 0 counts as 0. Not defined if no column varies, or if two or more
        were tried and only one varies: there is no correlation to measure.

    References
    ----------
    Bailey & López de Prado (2014), "The deflated Sharpe ratio", Journal of Portfolio Management 40(5), appendix 3,
    equation 9.
    It is the lenient count: where the variance among the trials' Sharpe ratios is measured, what they share has been
    taken out of that already.
    """
    x = np.asarray(returns, dtype=np.float64)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise ValueError(f"returns has the shape {x.shape}; expected finite numbers of the shape (bars, trials).")
    total = float(x.shape[1] if tried is None else tried)
    if total == 1:
        return Estimate(1.0)
    unit = _unit_columns(x)
    columns = unit.shape[1]
    if columns < 2:
        return undefined(f"{columns or 'none'} of the trials' returns vary: there is no correlation to measure")
    # The sum over all pairs is the squared length of the sum of the columns, less the K pairs of a column with itself.
    mean = (float(np.square(unit.sum(axis=1)).sum()) - columns) / (columns * (columns - 1))
    mean = min(max(mean, 0.0), 1.0)
    return Estimate(mean + (1 - mean) * total)


def _unit_columns(values: Floats) -> Floats:
    """Centre the columns that vary, and give each the length 1."""
    varying = values[:, np.ptp(values, axis=0) > 0] if len(values) else values[:, :0]
    centred = varying / np.abs(varying).max(axis=0) if varying.size else varying
    centred = centred - centred.mean(axis=0) if varying.size else centred
    length = np.linalg.norm(centred, axis=0)
    return np.asarray(centred[:, length > 0] / length[length > 0])


@dataclass(frozen=True)
class NoiseMaximum:
    """Sharpe ratio of the best of many trials without skill.

    Attributes
    ----------
    trials : float
    expected, high : float
        A year's: its expectation, and what it stays below in 95 % of searches.
    """

    trials: float
    expected: float
    high: float


def noise_maximum(trials: float, bars: int, periods_per_year: float) -> NoiseMaximum | str:
    """Give what the best of `trials` independent trials of pure noise reaches, as a Sharpe ratio a year.

    The Sharpe ratio of a trial without skill is about normal, with the variance 1 / (bars − 1) a period.

    Parameters
    ----------
    trials : float
        At least 1.
    bars : int
    periods_per_year : float

    Returns
    -------
    NoiseMaximum or str
        Why not, in words, for fewer than 3 bars.

    References
    ----------
    Bailey & López de Prado (2014), equation 1, for the expectation; the 95 % from the distribution of a maximum,
    Φ(x)^N = 0.95. Lo (2002), "The statistics of Sharpe ratios", Financial Analysts Journal 58(4), for the
    variance.
    """
    if bars < 3:
        return f"there are {bars} bars, and it takes at least 3"
    unit = math.sqrt(periods_per_year / (bars - 1))
    high = float(ndtri(CONFIDENCE ** (1 / trials)))
    return NoiseMaximum(trials, expected_maximum(trials) * unit, high * unit)


def beyond_luck(trials: float) -> float:
    """Give the normal score that the best of `trials` independent ones without skill exceeds with probability `LEVEL`.

    Parameters
    ----------
    trials : float
        At least 1.
    """
    return float(ndtri((1 - LEVEL) ** (1 / trials)))


def needed_ratio(trials: float, bars: int, horizon: int = 1) -> Estimate:
    """Give what the best of `trials` has to show to be told from luck: a correlation, or a Sharpe ratio a bar.

    Both have the standard error 1/√(n − 1) where there is no skill, n being the bars that do not overlap.

    Parameters
    ----------
    trials : float
        At least 1.
    bars : int
    horizon : int
        Bars over which an outcome overlaps the next ones.

    Returns
    -------
    Estimate
        Not defined for fewer than 3 bars that do not overlap.

    References
    ----------
    Pitman (1937), "Significance tests which may be applied to samples from any populations. II", Supplement to the
    Journal of the Royal Statistical Society 4(2), for the correlation; Lo (2002), see `noise_maximum`, for the ratio.
    """
    free = bars / horizon - 1
    if free < 2:
        return undefined(f"there are {bars} bars with a horizon of {horizon}, which tell nothing")
    return Estimate(beyond_luck(trials) / math.sqrt(free))


def needed_bars(ratio: float, trials: float, horizon: int = 1) -> int:
    """Give the bars on which the best of `trials` would be told from luck by this ratio: `needed_ratio` turned round.

    Parameters
    ----------
    ratio : float
        A correlation, or a Sharpe ratio a bar, above 0.
    trials, horizon
        See `needed_ratio`.
    """
    if not ratio > 0:
        raise ValueError(f"ratio is {ratio}; expected a number above 0: nothing less is told from luck.")
    return math.ceil(horizon * ((beyond_luck(trials) / ratio) ** 2 + 1))


def rounded_bars(bars: float) -> str:
    """Write a number of bars as far as it means something: two digits."""
    unit = 10 ** max(math.floor(math.log10(bars)) - 1, 0)
    return f"{math.ceil(bars / unit) * unit:,.0f}"


def outlook(bars: int, planned: int, tried_before: int, *, horizon: int = 1, year: float | None = None) -> str:
    """Say before a study what its data can bear: what the best of noise will show, and what would be needed.

    Parameters
    ----------
    bars : int
        Validation bars, of all folds.
    planned : int
        Trials that the study is to make, at least 1.
    tried_before : int
        Configurations tried on these bars before.
    horizon : int
        See `needed_ratio`.
    year : float, optional
        Bars in a year, for a study that searches returns: what is named then is the Sharpe ratio of alpha, a year's;
        else it is an information coefficient.

    Returns
    -------
    str
        One line.
    """
    trials = planned + tried_before
    before = f" and {tried_before:,} tried before" if tried_before else ""
    start = f"{bars:,} validation bars; with {plural(planned, 'trial')} planned{before}, "
    needed = needed_ratio(trials, bars, horizon)
    if needed.value is None or (year is None and needed.value >= 1):
        return f"{start}nothing can be told: these bars are too few for any skill to be beyond luck"
    luck = needed.value / beyond_luck(trials) * expected_maximum(trials)
    if year is not None:
        return (
            f"{start}the best of pure noise is expected to show an alpha with a Sharpe ratio of "
            f"{luck * math.sqrt(year):.1f}; about {needed.value * math.sqrt(year):.1f} would be needed"
        )
    example = max(round(needed.value / 2, 2), 0.01)
    bars_for_it = rounded_bars(needed_bars(example, trials, horizon))
    return (
        f"{start}the best of pure noise is expected to show an information coefficient of {luck:.2f}; about "
        f"{needed.value:.2f} would be needed (one of {example:.2f} would take some {bars_for_it} bars)"
    )
