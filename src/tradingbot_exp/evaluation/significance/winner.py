"""What else is to be known of a study's winner: how closely it forecasts and how well it is scaled, alpha and beta."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradingbot_exp.evaluation._arrays import Estimate, Floats, undefined
from tradingbot_exp.evaluation.significance.evidence import Part, StudyEvidence
from tradingbot_exp.evaluation.significance.luck import needed_bars, needed_ratio


@dataclass(frozen=True)
class Winner:
    """A winner's forecasts and returns on the validation bars that are tested; not defined where it has none.

    Attributes
    ----------
    ic : Estimate
        Mean over folds of the correlation of forecast and outcome, weighted by bars.
    needed_ic : Estimate
        What it would have to be to be told from luck, with all that was tried.
    needed_bars : Estimate
        The bars on which the winner would be told from luck if it went on as on these: by its information coefficient,
        or, where returns are searched, by the Sharpe ratio of its alpha.
    gain_on_neutral, gain_on_mean : Estimate
        1 less its squared error over that of the forecast that takes no side, and over that of the mean of the dates
        before the fold: above 0 where it is nearer.
    scale : Estimate
        Factor by which its forecasts, less their mean, come nearest to the outcome less its mean; 1 is well scaled.
    alpha, beta : Estimate
        Alpha a year, and the slope on the market over the validation dates; of several folds the mean slope, weighted
        by how the market moved.
    lead : Estimate
        Mean return over that of buy and hold, a year.
    """

    ic: Estimate
    needed_ic: Estimate
    needed_bars: Estimate
    gain_on_neutral: Estimate
    gain_on_mean: Estimate
    scale: Estimate
    alpha: Estimate
    beta: Estimate
    lead: Estimate


def describe_winner(evidence: StudyEvidence) -> Winner:
    """Describe a study's winner; see `Winner`."""
    forecasts, returns = evidence.forecast_part, evidence.return_part
    none = undefined("the winner's forecasts on the validation bars were not kept")
    own, needed, neutral, mean, scale = (none,) * 5 if forecasts is None else _forecasts(evidence, forecasts)
    unearned = undefined("there are no returns of the winner")
    alpha, beta, lead = (unearned,) * 3 if returns is None else _returns(returns, evidence.rules.annual)
    bars = _needed_bars(evidence, own, returns)
    return Winner(own, needed, bars, neutral, mean, scale, alpha, beta, lead)


def _forecasts(evidence: StudyEvidence, part: Part) -> tuple[Estimate, Estimate, Estimate, Estimate, Estimate]:
    y, f = part.outcomes, part.values[:, part.winner]
    known = part.before.dates[:, part.winner]
    level = (part.before.actual[:, part.winner] / np.maximum(known, 1.0))[part.folds]
    error = float(np.sum((y - f) ** 2))
    moves_y, moves_f = _centred(y, part.folds), _centred(f, part.folds)
    spread = _spread(y, part.folds)
    together = part.series.within[:, part.winner] / np.where(spread > 0, spread, 1.0)
    still = part.is_still or not np.any(spread > 0)
    constant = undefined("the winner's forecast, or the outcome, is the same on every bar")
    return (
        constant if still else Estimate(float(together.mean())),
        needed_ratio(evidence.count, len(y), evidence.rules.horizon),
        _gain(error, float(np.sum((y - evidence.rules.neutral) ** 2))),
        _gain(error, float(np.sum((y - level) ** 2))),
        constant if still else Estimate(float(moves_y @ moves_f / (moves_f @ moves_f))),
    )


def _returns(part: Part, year: float) -> tuple[Estimate, Estimate, Estimate]:
    m, r = part.outcomes, part.values[:, part.winner]
    alpha = part.series.within[:, part.winner]
    moves = np.sum(m**2)
    beta = undefined("the market does not move") if not moves else Estimate(float(m @ (r - alpha) / moves))
    return Estimate(float(alpha.mean()) * year), beta, Estimate(float((r - m).mean()) * year)


def _needed_bars(evidence: StudyEvidence, own: Estimate, returns: Part | None) -> Estimate:
    """Give the bars on which the winner would be told from luck, by what the study searches for."""
    ratio, horizon = own, evidence.rules.horizon
    if evidence.family == "return":
        if returns is None:
            return undefined("there are no returns of the winner")
        alpha, horizon = returns.series.within[:, returns.winner], 1
        spread = float(alpha.std(ddof=1)) if alpha.size > 1 else 0.0
        ratio = Estimate(float(alpha.mean()) / spread if spread else 0.0)
    if ratio.value is None:
        return ratio
    if ratio.value <= 0:
        return undefined("the winner shows nothing above 0 that more bars could tell from luck")
    return Estimate(float(needed_bars(ratio.value, evidence.count, horizon)))


def _gain(error: float, rivals: float) -> Estimate:
    return Estimate(1 - error / rivals) if rivals > 0 else undefined("the rival has no error")


def _centred(values: Floats, folds: NDArray[np.intp]) -> Floats:
    """Take the mean of its fold off each value."""
    return values - (np.bincount(folds, values) / np.maximum(np.bincount(folds), 1))[folds]


def _spread(values: Floats, folds: NDArray[np.intp]) -> Floats:
    """Give each value the standard deviation (ddof 0) of its fold."""
    squares = np.bincount(folds, _centred(values, folds) ** 2) / np.maximum(np.bincount(folds), 1)
    return np.asarray(np.sqrt(squares[folds]))
