"""What luck can do in a search: how many trials there were in effect, what noise would have reached, what it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from tradingbot_exp.evaluation._arrays import Estimate, Floats, undefined
from tradingbot_exp.evaluation.significance.deflated import expected_maximum

CONFIDENCE = 0.95


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


def needed_sharpe(trials: float, bars: int, periods_per_year: float, confidence: float = CONFIDENCE) -> Estimate:
    """Give the Sharpe ratio a year at which the best of `trials` is more than luck, to `confidence`.

    It is the one whose deflated Sharpe ratio is `confidence` for normal returns, where the trials' Sharpe ratios vary
    as those of noise do: the root of (S − S₀)·√(n − 1) = z·√(1 + S²/2) above S₀ = E[max]/√(n − 1).

    Parameters
    ----------
    trials : float
        At least 1.
    bars : int
    periods_per_year : float
    confidence : float
        Above 0.5 and below 1.

    Returns
    -------
    Estimate
        A year's. Not defined for so few bars that no Sharpe ratio suffices (n − 1 ≤ z²/2), or fewer than 3.

    References
    ----------
    Bailey & López de Prado (2014), equation 2, solved for the Sharpe ratio.
    """
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a probability above 0.5 and below 1, such as 0.95.")
    z, free = float(ndtri(confidence)), bars - 1
    lead = free - z**2 / 2
    if bars < 3 or lead <= 0:
        return undefined(f"with {bars} bars no Sharpe ratio is beyond luck")
    luck = expected_maximum(trials) / math.sqrt(free)
    half = free * luck
    root = (half + math.sqrt(half**2 - lead * (free * luck**2 - z**2))) / lead
    return Estimate(root * math.sqrt(periods_per_year))


def outlook(bars: int, planned: int, tried_before: int, periods_per_year: float) -> str:
    """Say before a study what its data can bear: what the best of noise will show, and what would be needed.

    Parameters
    ----------
    bars : int
        Validation bars.
    planned : int
        Trials that the study is to make, at least 1.
    tried_before : int
        Configurations tried on these bars before.
    periods_per_year : float

    Returns
    -------
    str
        One line. The Sharpe ratios are a year's; the needed one is `needed_sharpe` of all trials together.
    """
    trials = planned + tried_before
    before = f" and {tried_before:,} tried before" if tried_before else ""
    start = f"{bars:,} validation bars; with {planned:,} trial{'s' * (planned != 1)} planned{before}, "
    noise, needed = noise_maximum(trials, bars, periods_per_year), needed_sharpe(trials, bars, periods_per_year)
    if isinstance(noise, str) or needed.value is None:
        return f"{start}nothing can be told: these bars are too few for any Sharpe ratio to be beyond luck"
    return (
        f"{start}the best of pure noise is expected to show a Sharpe of {noise.expected:.1f}; "
        f"about {needed.value:.1f} would be needed"
    )
