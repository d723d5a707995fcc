"""What the Sharpe ratio of its alpha says about a study's winner."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tradingbot_exp.evaluation._arrays import Estimate, undefined
from tradingbot_exp.evaluation.significance.deflated import (
    deflated_sharpe,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
)
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.evaluation.significance.luck import NoiseMaximum, effective_trials, needed_ratio, noise_maximum


@dataclass(frozen=True)
class Support:
    """What Sharpe ratios say about the winner, all of alpha, by its slope on the validation dates.

    Attributes
    ----------
    sharpe : Estimate
        The winner's, a year's.
    psr, dsr, dsr_effective : Estimate
        Probabilistic Sharpe ratio against 0; deflated one with all trials, and with the effective number.
    effective : Estimate
        Effective number of all trials.
    min_track : Estimate
        Bars needed for a probabilistic Sharpe ratio of 0.95.
    needed : Estimate
        Sharpe ratio, a year's, that the best of all trials would have to show.
    noise : NoiseMaximum or None
        Sharpe ratio, a year's, of the best of as many trials of noise; None for too few bars or without returns.
    bars : int
    """

    sharpe: Estimate
    psr: Estimate
    dsr: Estimate
    dsr_effective: Estimate
    effective: Estimate
    min_track: Estimate
    needed: Estimate
    noise: NoiseMaximum | None
    bars: int


def sharpe_support(evidence: StudyEvidence) -> Support:
    """Measure the Sharpe ratio of the winner's alpha, that of Treynor & Black (1973), against luck.

    Every number that is not defined says why: without returns, for what is a share of the market throughout, for too
    few bars, and as the functions that make it say. See `probabilistic_sharpe`, `deflated_sharpe`,
    `minimum_track_record`, `effective_trials`, `noise_maximum` and `needed_ratio` for the sources.

    References
    ----------
    Treynor & Black (1973), "How to use security analysis to improve portfolio selection", Journal of Business 46(1):
    the appraisal ratio.
    """
    trials, year, part = evidence.count, evidence.rules.annual, evidence.return_part
    if part is None:
        none = undefined("there are no returns of the winner")
        return Support(none, none, none, none, none, none, none, None, 0)
    alpha = part.series.within
    bars = len(alpha)
    noise, ratio = noise_maximum(trials, bars, year), needed_ratio(trials, bars)
    needed = ratio if ratio.value is None else Estimate(ratio.value * math.sqrt(year))
    effective = effective_trials(alpha, trials)
    found = moments(alpha[:, part.winner])
    if isinstance(found, str):
        none = undefined(f"of the winner's alpha: {found}")
        return Support(none, none, none, none, effective, none, needed, None if isinstance(noise, str) else noise, bars)
    varying = alpha[:, np.ptp(alpha, axis=0) > 0]
    ratios = varying.mean(axis=0) / varying.std(axis=0, ddof=1)
    variance = float(ratios.var(ddof=1)) if ratios.size > 1 else None
    shape = found.sharpe, found.bars, found.skew, found.kurtosis

    def deflated(count: float) -> Estimate:
        return deflated_sharpe(found.sharpe, found.bars, count, variance, skew=found.skew, kurtosis=found.kurtosis)

    return Support(
        sharpe=Estimate(found.sharpe * math.sqrt(year)),
        psr=probabilistic_sharpe(*shape),
        dsr=deflated(trials),
        dsr_effective=Estimate(None, effective.problem) if effective.value is None else deflated(effective.value),
        effective=effective,
        min_track=minimum_track_record(found.sharpe, found.skew, found.kurtosis),
        needed=needed,
        noise=None if isinstance(noise, str) else noise,
        bars=bars,
    )
