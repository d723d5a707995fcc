"""The minimum track record length: the bars that a single trial would need at the winner's Sharpe ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar, Self

from tradingbot_exp.evaluation._arrays import Estimate, undefined
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.evaluation.significance.sharpe import Moments, winners_moments
from tradingbot_exp.evaluation.significance.statistic import Number, Statistic, WordTest


@dataclass(frozen=True, eq=False)
class TrackRecord(Statistic):
    """Bars needed for a probabilistic Sharpe ratio of 0.95."""

    SHOWN: ClassVar = {
        "min_track_bars": Number(
            "Minimum track record", "bars", "Bars that a single trial would need at this Sharpe ratio."
        ),
    }

    min_track_bars: Estimate

    @classmethod
    def of(cls, evidence: StudyEvidence) -> Self:
        """Measure the winner's alpha; see `Statistic`."""
        found = winners_moments(evidence)
        return cls(minimum_track_record(found) if isinstance(found, Moments) else found)

    def sentences(self, evidence: StudyEvidence, test: WordTest) -> list[str]:
        """Say it where there are fewer bars."""
        part, needed = evidence.return_part, self.min_track_bars.value
        if part is None or needed is None or needed <= len(part.values):
            return []
        return [
            f"A single trial with this Sharpe ratio would need {needed:,.0f} bars to be above 0 with 95 % probability; "
            f"there are {len(part.values):,}."
        ]


def minimum_track_record(found: Moments, benchmark: float = 0.0, confidence: float = 0.95) -> Estimate:
    """Return the bars that a track record needs for the Sharpe ratio to be above `benchmark` with `confidence`.

    Parameters
    ----------
    found : Moments
        Of the returns; its number of bars does not matter.
    benchmark : float
        A period's.
    confidence : float
        Above 0.5 and below 1.

    Returns
    -------
    Estimate
        Bars, at which `probabilistic_sharpe` is `confidence`. Not defined if the Sharpe ratio is not above the
        benchmark: no record is long enough.

    References
    ----------
    Bailey & López de Prado (2012), "The Sharpe ratio efficient frontier", Journal of Risk 15(2), equation 13.
    """
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a probability above 0.5 and below 1, such as 0.95.")
    if not found.sharpe > benchmark:
        return undefined("the Sharpe ratio is not above what it is held against: no record is long enough")
    if not found.variance > 0:
        return undefined("the variance of the Sharpe ratio's estimate is not above 0 for so extreme a skew")
    with_excess = (NormalDist().inv_cdf(confidence) / (found.sharpe - benchmark)) ** 2
    if not math.isfinite(with_excess * found.variance):
        return undefined("the number of bars is too large for a 64-bit float")
    return Estimate(1 + found.variance * with_excess)
