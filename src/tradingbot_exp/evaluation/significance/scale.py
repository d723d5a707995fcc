"""Whether the winner's forecasts have the right size: their squared error, and the factor that would mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from tradingbot_exp.evaluation._arrays import Estimate, undefined
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.evaluation.significance.series import centred
from tradingbot_exp.evaluation.significance.statistic import Number, Statistic, WordTest


@dataclass(frozen=True, eq=False)
class Scale(Statistic):
    """The winner's squared error against two rivals that know nothing, and the scale of its forecasts.

    `gain_on_neutral` and `gain_on_mean` are 1 less its squared error over that of the neutral forecast, and over that
    of the train rows' mean target. `scale` is the factor by which its forecasts, less their mean, come
    nearest to the outcome less its mean.
    """

    SHOWN: ClassVar = {
        "gain_on_neutral": Number(
            "Squared error below no side", "gain", "Above 0 where it is nearer than taking no side."
        ),
        "gain_on_mean": Number(
            "… below the train mean", "gain", "Above 0 where it is nearer than the mean of earlier targets."
        ),
        "scale": Number("Scale", "ratio", "Times this its forecasts would come nearest; 1 is well scaled."),
    }

    gain_on_neutral: Estimate
    gain_on_mean: Estimate
    scale: Estimate

    @classmethod
    def of(cls, evidence: StudyEvidence) -> Self:
        """Measure the winner's forecasts; see `Statistic`."""
        part = evidence.forecast_part
        if part is None:
            none = undefined("the winner's forecasts on the validation bars were not kept")
            return cls(none, none, none)
        y, f = part.outcomes, part.values[:, part.winner]
        level = part.before.level[part.folds, part.winner]
        squares, products, own = y**2, y * f, f**2
        if part.across is not None:
            squares, products, own = (each if each.ndim == 1 else each[:, part.winner] for each in part.across)
        error = float(np.sum(squares - 2 * products + own))
        neutral, mean = (float(np.sum(squares - 2 * rival * y + rival**2)) for rival in (evidence.rules.neutral, level))
        scale = undefined("the winner's forecast, or the outcome, is the same on every bar")
        if not part.is_still and np.any(part.spread):
            together = centred(y, part.folds) * centred(f, part.folds) + products - y * f
            scale = Estimate(float(together.sum() / (centred(f, part.folds) ** 2 + own - f**2).sum()))
        return cls(_gain(error, neutral), _gain(error, mean), scale)

    def sentences(self, evidence: StudyEvidence, test: WordTest) -> list[str]:
        """Say how near the forecasts come, and by what they would have to be multiplied."""
        if self.gain_on_neutral.value is None or self.gain_on_mean.value is None:
            return []
        gains = self.gain_on_neutral.value, self.gain_on_mean.value
        neutral, mean = (f"{100 * abs(gain):.1f} % {'below' if gain > 0 else 'above'}" for gain in gains)
        sentence = f"Its squared error is {neutral} that of taking no side, and {mean} that of the train mean"
        scale = self.scale.value
        if scale is None or scale <= 0 or 0.8 <= scale <= 1.25:
            return [f"{sentence}."]
        return [f"{sentence}: its forecasts would be well scaled if multiplied by {scale:.2g}."]


def _gain(error: float, rivals: float) -> Estimate:
    return Estimate(1 - error / rivals) if rivals > 0 else undefined("the rival has no error")
