"""How sure a Sharpe ratio is: probabilistic and deflated Sharpe ratio, and the shortest track record.

Sharpe ratios here are a period's, mean / std (ddof 1) of one bar's returns, never a year's: divide a year's by
√(periods a year). Kurtosis is Pearson's, 3 for a normal distribution. What is not defined says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from numpy.typing import ArrayLike

from tradingbot_exp.evaluation._arrays import Estimate, is_constant, undefined, vectors

_EULER = 0.5772156649015329


@dataclass(frozen=True)
class Moments:
    """What the distribution of a Sharpe ratio's estimate depends on.

    Attributes
    ----------
    bars : int
    sharpe : float
        A period's.
    skew, kurtosis : float
        Third and fourth standardised moments (ddof 0); the kurtosis is Pearson's.
    """

    bars: int
    sharpe: float
    skew: float
    kurtosis: float


def moments(returns: ArrayLike) -> Moments | str:
    """Measure returns, shape (n,), one a bar; gives why not, in words, for fewer than 3 bars or constant ones.

    References
    ----------
    Bailey & López de Prado (2012), see `probabilistic_sharpe`, equation 11, which these enter.
    """
    (r,) = vectors(returns=returns)
    if r.size < 3:
        return f"there are {r.size} returns, and it takes at least 3"
    if is_constant(r):
        return "the return is the same on every bar"
    r = r / abs(r).max()
    centred = r - r.mean()
    centred = centred / abs(centred).max()
    variance = float((centred**2).mean())
    skew, kurtosis = float((centred**3).mean()) / variance**1.5, float((centred**4).mean()) / variance**2
    return Moments(r.size, float(r.mean() / r.std(ddof=1)), skew, kurtosis)


def probabilistic_sharpe(
    sharpe: float, bars: int, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0
) -> Estimate:
    """Give the probability that the true Sharpe ratio is above `benchmark`, given the one that was measured.

    Parameters
    ----------
    sharpe, benchmark : float
        A period's.
    bars : int
    skew, kurtosis : float
        Of the returns; Pearson's kurtosis.

    Returns
    -------
    Estimate
        Between 0 and 1. Not defined for fewer than 3 bars, or where the variance of the Sharpe ratio's estimate
        comes out at 0 or below, which extreme skews can do.

    References
    ----------
    Bailey & López de Prado (2012), "The Sharpe ratio efficient frontier", Journal of Risk 15(2), equation 11; the
    variance is that of Mertens (2002), evaluated at the estimate.
    """
    if bars < 3:
        return undefined(f"there are {bars} returns, and it takes at least 3")
    variance = _variance(sharpe, skew, kurtosis)
    if not variance > 0:
        return undefined("the variance of the Sharpe ratio's estimate is not above 0 for so extreme a skew")
    return Estimate(math.erfc((benchmark - sharpe) * math.sqrt((bars - 1) / (2 * variance))) / 2)


def expected_maximum(trials: float) -> float:
    """Approximate the expected largest of `trials` independent standard normal numbers.

    Parameters
    ----------
    trials : float
        At least 1; an effective number need not be whole.

    Returns
    -------
    float
        In standard deviations; 0 for 1 trial. 10 trials give 1.5746, the exact value is 1.5388.

    References
    ----------
    Bailey & López de Prado (2014), "The deflated Sharpe ratio: correcting for selection bias, backtest overfitting,
    and non-normality", Journal of Portfolio Management 40(5), equation 1 and appendix 1.
    """
    if not (math.isfinite(trials) and trials >= 1):
        raise ValueError(f"trials is {trials}; expected a number of trials, 1 or more.")
    if trials == 1:
        return 0.0
    quantile = NormalDist().inv_cdf
    # Between 1 and 2 the approximation dips below 0, where no expected maximum can be.
    largest = (1 - _EULER) * quantile(1 - 1 / trials) + _EULER * quantile(1 - 1 / (trials * math.e))
    return max(float(largest), 0.0)


def deflated_sharpe(
    sharpe: float, bars: int, trials: float, variance: float | None, *, skew: float = 0.0, kurtosis: float = 3.0
) -> Estimate:
    """Give the probability that the true Sharpe ratio of the best of many trials is above what luck reaches.

    Parameters
    ----------
    sharpe : float
        A period's, of the trial that was picked.
    bars : int
    trials : float
        How many were tried, at least 1.
    variance : float or None
        Of the trials' Sharpe ratios (a period's; a year's divided by the periods a year); None if nobody knows.
    skew, kurtosis : float
        Of the picked trial's returns; Pearson's kurtosis.

    Returns
    -------
    Estimate
        Between 0 and 1. Not defined for a single trial (nothing was picked: `probabilistic_sharpe` says it all),
        without a variance above 0, and where `probabilistic_sharpe` is not.

    References
    ----------
    Bailey & López de Prado (2014), equation 2.
    """
    if trials == 1:
        return undefined("a single trial was not picked among others: see the probabilistic Sharpe ratio")
    if variance is None or not variance > 0:
        return undefined("the trials' Sharpe ratios do not differ from each other")
    luck = math.sqrt(variance) * expected_maximum(trials)
    return probabilistic_sharpe(sharpe, bars, skew, kurtosis, benchmark=luck)


def minimum_track_record(
    sharpe: float, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0, confidence: float = 0.95
) -> Estimate:
    """Give the bars that a track record needs for the Sharpe ratio to be above `benchmark` with `confidence`.

    Parameters
    ----------
    sharpe, benchmark : float
        A period's.
    skew, kurtosis : float
        Of the returns; Pearson's kurtosis.
    confidence : float
        Above 0.5 and below 1.

    Returns
    -------
    Estimate
        Bars, at which `probabilistic_sharpe` is `confidence`. Not defined if the Sharpe ratio is not above the
        benchmark: no record is long enough.

    References
    ----------
    Bailey & López de Prado (2012), equation 13.
    """
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a probability above 0.5 and below 1, such as 0.95.")
    if not sharpe > benchmark:
        return undefined("the Sharpe ratio is not above what it is held against: no record is long enough")
    variance = _variance(sharpe, skew, kurtosis)
    if not variance > 0:
        return undefined("the variance of the Sharpe ratio's estimate is not above 0 for so extreme a skew")
    with_excess = (NormalDist().inv_cdf(confidence) / (sharpe - benchmark)) ** 2
    if not math.isfinite(with_excess * variance):
        return undefined("the number of bars is too large for a 64-bit float")
    return Estimate(1 + variance * with_excess)


def _variance(sharpe: float, skew: float, kurtosis: float) -> float:
    """Give (n − 1) times the variance of a Sharpe ratio's estimate."""
    return 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
