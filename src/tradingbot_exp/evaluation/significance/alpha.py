"""What the winner earned that is not the market's: alpha, beta, and the lead over buy and hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from tradingbot_exp.evaluation._arrays import Estimate, undefined
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.evaluation.significance.statistic import Number, Statistic, WordTest


@dataclass(frozen=True, eq=False)
class Alpha(Statistic):
    """The winner's alpha a year and its slope on the market, over the validation dates.

    Of several folds `beta` is the mean slope, weighted by how the market moved. `lead` is the mean return over that of
    buy and hold, a year.
    """

    SHOWN: ClassVar = {
        "alpha": Number("Alpha", "gain", "A year, after costs: what is left without its share of the market."),
        "beta": Number("Beta", "ratio", "Its share of the market: the slope of its returns on those of buy and hold."),
        "lead": Number("Return over buy and hold", "gain", "A year, after costs."),
    }

    alpha: Estimate
    beta: Estimate
    lead: Estimate

    @classmethod
    def of(cls, evidence: StudyEvidence) -> Self:
        """Measure the winner's returns; see `Statistic`."""
        part, year = evidence.return_part, evidence.rules.annual
        if part is None:
            none = undefined("there are no returns of the winner")
            return cls(none, none, none)
        m, r = part.outcomes, part.values[:, part.winner]
        moves = np.sum(m**2)
        beta = Estimate(float(m @ (r - part.winners) / moves)) if moves else undefined("the market does not move")
        return cls(Estimate(float(part.winners.mean()) * year), beta, Estimate(float((r - m).mean()) * year))

    def sentences(self, evidence: StudyEvidence, test: WordTest) -> list[str]:
        """Return alpha, beta and the lead."""
        if self.alpha.value is None or self.beta.value is None or self.lead.value is None:
            return []
        lead = self.lead.value
        return [
            f"Its alpha is {100 * self.alpha.value:.1f} % a year at a beta of {self.beta.value:.2f}; it earned "
            f"{100 * abs(lead):.1f} % a year {'more' if lead > 0 else 'less'} than buy and hold."
        ]
