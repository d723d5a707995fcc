"""How sure the Sharpe ratio of the winner's alpha is: the probabilistic and the deflated Sharpe ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from tradingbot_exp.evaluation._arrays import Estimate, Floats, undefined
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.evaluation.significance.selection_bias import expected_maximum
from tradingbot_exp.evaluation.significance.sharpe import Moments, winners_moments
from tradingbot_exp.evaluation.significance.statistic import Number, Statistic, WordTest
from tradingbot_exp.runtime.text import plural


@dataclass(frozen=True, eq=False)
class Deflated(Statistic):
    """Probabilistic Sharpe ratio against 0; deflated one with all trials, and with the effective number of them."""

    SHOWN: ClassVar = {
        "psr": Number(
            "Probabilistic Sharpe ratio",
            "ratio",
            "Probability that the Sharpe ratio is above 0, had there been one trial.",
        ),
        "dsr": Number(
            "Deflated Sharpe ratio",
            "ratio",
            "Probability that it is above the selection bias of the best; at least 0.95 is asked for.",
        ),
        "dsr_effective": Number(
            "… of the effective number", "ratio", "The same, if trials that are alike count as fewer."
        ),
        "effective_trials": Number("Effective number of trials", "trials", "As how many independent ones they count."),
    }

    psr: Estimate
    dsr: Estimate
    dsr_effective: Estimate
    effective_trials: Estimate

    @classmethod
    def of(cls, evidence: StudyEvidence) -> Self:
        """Measure the winner's alpha among that of all trials; see `Statistic`."""
        found, part = winners_moments(evidence), evidence.return_part
        if part is None:
            return cls(*[undefined("there are no returns of the winner")] * 4)
        alpha = part.series.within
        effective = effective_trials(alpha, evidence.count)
        if not isinstance(found, Moments):
            return cls(found, found, found, effective)
        varying = alpha[:, np.ptp(alpha, axis=0) > 0]
        ratios = varying.mean(axis=0) / varying.std(axis=0, ddof=1)
        variance = float(ratios.var(ddof=1)) if ratios.size > 1 else None
        lenient = effective
        if effective.value is not None:
            lenient = deflated_sharpe(found, effective.value, variance)
        return cls(probabilistic_sharpe(found), deflated_sharpe(found, evidence.count, variance), lenient, effective)

    def sentences(self, evidence: StudyEvidence, test: WordTest) -> list[str]:
        """Return the deflated Sharpe ratio; of a single trial the probabilistic one."""
        if self.dsr.value is None:
            if self.psr.value is None:
                return []
            return [f"The probability that this Sharpe ratio is above 0 is {self.psr.value:.2f}."]
        also = ""
        if self.dsr_effective.value is not None and self.effective_trials.value is not None:
            ones = plural(round(self.effective_trials.value), "independent one")
            also = f" ({self.dsr_effective.value:.2f} if they count as {ones})"
        return [
            f"The probability that this is more than selection bias is {self.dsr.value:.2f}{also}: the deflated Sharpe "
            "ratio, which should be at least 0.95."
        ]


def probabilistic_sharpe(found: Moments, benchmark: float = 0.0) -> Estimate:
    """Return the probability that the true Sharpe ratio is above `benchmark` (a period's), given that of `found`.

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
    if found.bars < 3:
        return undefined(f"there are {found.bars} returns, and it takes at least 3")
    if not found.variance > 0:
        return undefined("the variance of the Sharpe ratio's estimate is not above 0 for so extreme a skew")
    score = (found.sharpe - benchmark) * math.sqrt(found.bars - 1) / math.sqrt(found.variance)
    return Estimate(math.erfc(-score / math.sqrt(2)) / 2)


def deflated_sharpe(found: Moments, trials: float, variance: float | None) -> Estimate:
    """Return the probability that the true Sharpe ratio of the best of many trials is above what selection reaches.

    Parameters
    ----------
    found : Moments
        Of the trial that was picked.
    trials : float
        How many were tried, at least 1.
    variance : float or None
        Of the trials' Sharpe ratios (a period's; a year's divided by the periods a year); None if nobody knows.

    Returns
    -------
    Estimate
        Between 0 and 1. Not defined for a single trial (nothing was picked: `probabilistic_sharpe` says it all),
        without a variance above 0, and where `probabilistic_sharpe` is not.

    References
    ----------
    Bailey & López de Prado (2014), "The deflated Sharpe ratio", Journal of Portfolio Management 40(5), equation 2.
    """
    if trials == 1:
        return undefined("a single trial was not picked among others: see the probabilistic Sharpe ratio")
    if variance is None or not variance > 0:
        return undefined("the trials' Sharpe ratios do not differ from each other")
    return probabilistic_sharpe(found, math.sqrt(variance) * expected_maximum(trials))


def effective_trials(returns: ArrayLike, tried: float | None = None) -> Estimate:
    """Return as how many independent trials the correlated ones count: ρ + (1 − ρ)·M for a mean correlation ρ.

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
    """Centre the columns that vary, and scale each to the length 1."""
    varying = values[:, np.ptp(values, axis=0) > 0] if len(values) else values[:, :0]
    centred = varying / np.abs(varying).max(axis=0) if varying.size else varying
    centred = centred - centred.mean(axis=0) if varying.size else centred
    length = np.linalg.norm(centred, axis=0)
    return np.asarray(centred[:, length > 0] / length[length > 0])
