"""How large the winner's skill looks, how large it would have to be, and on how many bars it would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from tradingbot_exp.evaluation._arrays import Estimate, undefined
from tradingbot_exp.evaluation.significance.evidence import Part, StudyEvidence
from tradingbot_exp.evaluation.significance.selection_bias import LEVEL, needed_bars, needed_ratio, rounded_bars
from tradingbot_exp.evaluation.significance.sharpe import AlphaSharpe
from tradingbot_exp.evaluation.significance.statistic import Number, Statistic, WordTest
from tradingbot_exp.evaluation.significance.superiority import Superiority


@dataclass(frozen=True, eq=False)
class Skill(Statistic):
    """The winner's information coefficient: the mean over folds of the correlation, weighted by bars.

    `needed_bars` is by the information coefficient or, where returns are searched, by the Sharpe ratio of alpha.
    """

    SHOWN: ClassVar = {
        "ic": Number(
            "Information coefficient", "correlation", "Correlation of forecast and outcome, the mean over folds."
        ),
        "needed_ic": Number(
            "… that would be needed", "correlation", "For the best of so many trials to be more than selection bias."
        ),
        "needed_bars": Number(
            "Bars that would be needed",
            "bars",
            "For the winner to be more than selection bias, if it went on like this.",
        ),
    }

    ic: Estimate
    needed_ic: Estimate
    needed_bars: Estimate

    @classmethod
    def of(cls, evidence: StudyEvidence) -> Self:
        """Measure the forecasts fold by fold; see `Statistic`."""
        part, returns = evidence.forecast_part, evidence.return_part
        ic = needed = undefined("the winner's forecasts on the validation bars were not kept")
        if part is not None:
            ic, bars, directions = _ic(part), len(part.outcomes), evidence.directions("forecast")
            needed = needed_ratio(evidence.count, bars, evidence.rules.horizon, directions)
            if needed.value is not None:
                needed = Estimate(needed.value * part.breadth)
        ratio, horizon = ic, evidence.rules.horizon
        if part is not None and ic.value is not None:
            ratio = Estimate(min(ic.value / part.breadth, 0.99))
        if evidence.family == "return":
            ratio, horizon = undefined("there are no returns of the winner"), 1
            if returns is not None:
                spread = float(returns.winners.std(ddof=1)) if returns.winners.size > 1 else 0.0
                ratio = Estimate(float(returns.winners.mean()) / spread if spread else 0.0)
        if ratio.value is None:
            return cls(ic, needed, ratio)
        if ratio.value <= 0:
            return cls(ic, needed, undefined("the winner shows nothing above 0 that could be enough on more bars"))
        bars = needed_bars(ratio.value, evidence.count, horizon, evidence.directions(evidence.family))
        return cls(ic, needed, Estimate(float(bars)))

    def sentences(self, evidence: StudyEvidence, test: WordTest) -> list[str]:
        """Compare what was searched for with what would be needed."""
        shown, needed, what = self.ic, self.needed_ic, "Its information coefficient is {:.3f}"
        digits = 3 if evidence.family == "forecast" else 2
        if evidence.family == "return":
            sharpe = AlphaSharpe.of(evidence)
            shown, needed, what = sharpe.alpha_sharpe, sharpe.needed_sharpe, AlphaSharpe.WORDS
        part = evidence.part
        if part is None or shown.value is None or needed.value is None:
            return []
        said, is_real = what.format(shown.value), test.word == "real"
        if (shown.value < needed.value) == is_real:
            rule, same = f"{needed.value:.{digits}f}", round(shown.value - needed.value, digits) == 0
            if test.superiority is None or test.word == "cannot be told" or same:
                return [f"{said}."]
            side, scale = "below" if is_real else "above", needed.value / shown.value
            rule = f"{side} the {rule} that would be needed if bars and trials were independent"
            return [f"{said}, {rule}; but {_why(evidence, part, test, test.superiority, scale)}."]
        bars, instead, unit = self.needed_bars.value, "", "bars" if evidence.across is None else "dates"
        if bars is not None and bars > len(part.values):
            instead = f", or the same on some {rounded_bars(bars)} validation {unit} instead of {len(part.values):,}"
        return [f"{said}; about {needed.value:.2f} would be needed{instead}."]


def _why(evidence: StudyEvidence, part: Part, test: WordTest, spa: Superiority, scale: float) -> str:
    """Say what the test allows for and the rule of thumb does not; `scale` is what is needed over what is shown."""
    # Beyond all that was tried, if the winner's own series is taken as the test takes it, block by block.
    alone = max(evidence.count * float(spa.p_alone[part.winner]), test.climb_p.value or 0.0)
    stands_alone = alone < LEVEL
    if test.word == "real":
        if stands_alone:
            return "its bars offset each other, or differ less, so that their mean is surer than of independent ones"
        return f"the {spa.rivals:,} trials that are tested share so much that they count as fewer"
    within, before = (float(each[:, part.winner].mean()) for each in part.series)
    if stands_alone:
        return f"the test's correction for all {evidence.count:,} configurations tried is the stricter one"
    if before < scale * within:
        return "by means that could be known before each date it is less, and the lesser of the two counts"
    return f"its bars depend on each other: the test resamples them in blocks of {spa.block:.0f} on average"


def _ic(part: Part) -> Estimate:
    spread = part.spread
    if part.is_still or not np.any(spread > 0):
        return undefined("the winner's forecast, or the outcome, is the same on every bar")
    return Estimate(float((part.winners / np.where(spread > 0, spread, 1.0)).mean()))
