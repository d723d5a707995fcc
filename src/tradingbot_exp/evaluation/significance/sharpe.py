"""The Sharpe ratio of the winner's alpha, beside what the best of as many trials of noise shows.

Sharpe ratios without "a year" are a period's, mean / std (ddof 1) of one bar's returns: divide a year's by
√(periods a year). Kurtosis is Pearson's, 3 for a normal distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

from numpy.typing import ArrayLike

from tradingbot_exp.evaluation._arrays import Estimate, is_constant, undefined, vectors
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.evaluation.significance.selection_bias import needed_ratio, noise_maximum
from tradingbot_exp.evaluation.significance.statistic import Number, Statistic, WordTest


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
    skew: float = 0.0
    kurtosis: float = 3.0

    @property
    def variance(self) -> float:
        """Of the Sharpe ratio's estimate, times n − 1: that of Mertens (2002); at or below 0 for extreme skews."""
        return 1 - self.skew * self.sharpe + (self.kurtosis - 1) / 4 * self.sharpe**2


def moments(returns: ArrayLike) -> Moments | str:
    """Measure returns, shape (n,), one a bar; return why not, in words, for fewer than 3 bars or constant ones.

    References
    ----------
    Bailey & López de Prado (2012), "The Sharpe ratio efficient frontier", Journal of Risk 15(2), equation 11, which
    these enter.
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


def winners_moments(evidence: StudyEvidence) -> Moments | Estimate:
    """Measure the winner's alpha by its slope on the validation dates; of nothing to measure return the reason."""
    if evidence.return_part is None:
        return undefined("there are no returns of the winner")
    found = moments(evidence.return_part.winners)
    return undefined(f"of the winner's alpha: {found}") if isinstance(found, str) else found


@dataclass(frozen=True, eq=False)
class AlphaSharpe(Statistic):
    """The Sharpe ratio of the winner's alpha, a year's.

    References
    ----------
    Treynor & Black (1973), "How to use security analysis to improve portfolio selection", Journal of Business 46(1):
    the appraisal ratio.
    """

    WORDS: ClassVar = "The Sharpe ratio of its alpha is {:.2f} a year"

    SHOWN: ClassVar = {
        "alpha_sharpe": Number("Sharpe ratio of its alpha", "ratio", "A year's."),
        "noise_sharpe": Number(
            "… best of as many noise trials", "ratio", "What selection alone reaches on average, without any skill."
        ),
        "noise_sharpe_high": Number(
            "… in one search of 20", "ratio", "What selection alone stays below in 95 % of searches."
        ),
        "needed_sharpe": Number(
            "… that would be needed", "ratio", "For the best of so many trials to be more than selection bias."
        ),
    }

    alpha_sharpe: Estimate
    noise_sharpe: Estimate
    noise_sharpe_high: Estimate
    needed_sharpe: Estimate

    @classmethod
    def of(cls, evidence: StudyEvidence) -> Self:
        """Measure the winner's alpha; see `Statistic`."""
        found, part, year = winners_moments(evidence), evidence.return_part, evidence.rules.annual
        if part is None:
            return cls(*[undefined("there are no returns of the winner")] * 4)
        needed = needed_ratio(evidence.count, len(part.values), directions=evidence.directions("return"))
        return cls(
            Estimate(found.sharpe * math.sqrt(year)) if isinstance(found, Moments) else found,
            *noise_maximum(evidence.count, len(part.values), year),
            needed if needed.value is None else Estimate(needed.value * math.sqrt(year)),
        )

    def sentences(self, evidence: StudyEvidence, test: WordTest) -> list[str]:
        """Compare the ratio with the best of noise; say why there is none."""
        if self.alpha_sharpe.value is None:
            return [f"The Sharpe ratio of its alpha is {self.alpha_sharpe.problem}."]
        if self.noise_sharpe.value is None or self.noise_sharpe_high.value is None:
            return []
        others = f"{evidence.count:,} trials" if evidence.count > 1 else "one trial"
        reached = (
            f"{self.noise_sharpe.value:.2f} on average, and {self.noise_sharpe_high.value:.2f} in one search of 20"
        )
        if evidence.family == "forecast":
            return [f"{self.WORDS.format(self.alpha_sharpe.value)}; the best of {others} of noise has {reached}."]
        return [f"The best of {others} of noise has an alpha with a Sharpe ratio of {reached}."]
