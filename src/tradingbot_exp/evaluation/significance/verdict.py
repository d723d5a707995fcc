"""The verdict on a study: that its winner is real, that luck is enough to explain it, or that it cannot be told.

The word rests on Hansen's test for superior predictive ability alone, of the series that `series` makes: whether the
winner's forecasts move with the outcome, or its returns hold more than a share of the market's. It is the *winner* that
is asked about, so its own p-value among all trials counts, which is the test's where the winner is the one that stands
out most. Of the two ways to take the series, by the means of the validation dates and by those of the dates before each
date, the larger p-value counts.

The test knows the trials whose bars are kept, K of them. Trials that were pruned or failed, and those of earlier
studies, were tried as well: N in all, the larger of the study's own count and the ledger's. Each of the N − K could
have shown as much by itself with the p-value that the winner has alone, whatever they share with the others; so N − K
times that is added (Bonferroni). Where the K are alike, their p-value is hardly above that of one, and the others count
in full.

A winner is real where the p-value so corrected is below 0.025: a test of one side at the level that is customary for
two. Whether its forecasts have the right size, and whether it beats buy and hold, are sentences of their own. The
deflated Sharpe ratio, the probability of overfitting and the rest support or contradict, and say so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tradingbot_exp.config.choices import Word
from tradingbot_exp.config.metrics import Family
from tradingbot_exp.evaluation._arrays import Estimate, Floats, undefined
from tradingbot_exp.evaluation.significance.block_length import block_length
from tradingbot_exp.evaluation.significance.evidence import Part, StudyEvidence
from tradingbot_exp.evaluation.significance.luck import LEVEL
from tradingbot_exp.evaluation.significance.overfitting import Overfitting, overfitting
from tradingbot_exp.evaluation.significance.superiority import DRAWS, Superiority, superiority
from tradingbot_exp.evaluation.significance.support import Support, sharpe_support
from tradingbot_exp.evaluation.significance.verdict_words import words
from tradingbot_exp.evaluation.significance.winner import Winner, describe_winner

_SHARE: dict[Family, float] = {"forecast": 0.25, "return": 0.5}
"""Blocks are at least as long as this share of those that the winner's forecasts by themselves would take.

Where outcomes drift slowly, under noise that hides it from any one series, a forecast that hardly changes goes with the
drift or against it for as long as it lasts. With a quarter (half of signs, which forget sooner), 3 % of such studies
are called real in place of 14 %: 5 % of the outcome's variance is an autoregression of 0.98, forecasts are another. Of
a skill of 0.15 over 1,000 bars 75 % are found in place of 86 % where forecasts are an autoregression of 0.9, and as
many as before where they are not.
"""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is said about a study, and all the numbers that it is said from.

    Attributes
    ----------
    word : str
        ``real``, ``not shown`` (luck suffices) or ``cannot be told``.
    headline : str
        One sentence.
    reasons : tuple of str
        Sentences, the weightiest first.
    p_value : Estimate
        Of the winner, corrected for all configurations tried.
    count : int
        Configurations that it is corrected for: the larger of `tried` and `ever`.
    tried, ever, planned : int
        As given.
    tested : int
        Trials in the test.
    superiority : Superiority or None
        None if there was nothing to test.
    support : Support
    winner : Winner
    overfitting : Overfitting or None
        None without a matrix.
    """

    word: Word
    headline: str
    reasons: tuple[str, ...]
    p_value: Estimate
    count: int
    tried: int
    ever: int
    planned: int
    tested: int
    superiority: Superiority | None
    support: Support
    winner: Winner
    overfitting: Overfitting | None

    def numbers(self) -> dict[str, Estimate]:
        """Give every number by name, those that are not defined with their reason."""
        spa, cscv, noise = self.superiority, self.overfitting, self.support.noise
        nothing = undefined("there is no matrix of trials to test")
        no_noise = undefined("there are no returns, or too few")

        def of(result: Superiority | Overfitting | None, value: float) -> Estimate:
            if result is None:
                return nothing
            return Estimate(None, result.problem) if result.problem else Estimate(value)

        return {
            "verdict_p": self.p_value,
            "spa_p": of(spa, spa.p_consistent if spa else math.nan),
            "spa_p_lower": of(spa, spa.p_lower if spa else math.nan),
            "spa_p_upper": of(spa, spa.p_upper if spa else math.nan),
            "ic": self.winner.ic,
            "needed_ic": self.winner.needed_ic,
            "needed_bars": self.winner.needed_bars,
            "gain_on_neutral": self.winner.gain_on_neutral,
            "gain_on_mean": self.winner.gain_on_mean,
            "scale": self.winner.scale,
            "alpha": self.winner.alpha,
            "beta": self.winner.beta,
            "lead": self.winner.lead,
            "alpha_sharpe": self.support.sharpe,
            "psr": self.support.psr,
            "dsr": self.support.dsr,
            "dsr_effective": self.support.dsr_effective,
            "effective_trials": self.support.effective,
            "pbo": of(cscv, cscv.probability if cscv else math.nan),
            "min_track_bars": self.support.min_track,
            "needed_sharpe": self.support.needed,
            "noise_sharpe": Estimate(noise.expected) if noise else no_noise,
            "noise_sharpe_high": Estimate(noise.high) if noise else no_noise,
        }


@dataclass(frozen=True, eq=False)
class WinnerTest:
    """The test that the verdict's word rests on.

    Attributes
    ----------
    p_value : Estimate
        Of the winner, corrected for all configurations tried.
    part : Part or None
        What was tested; None if there was nothing.
    superiority : Superiority or None
        Of the two tests the one that the winner's p-value is of.
    """

    p_value: Estimate
    part: Part | None
    superiority: Superiority | None

    @property
    def word(self) -> Word:
        """``real`` for a p-value below `LEVEL`."""
        if self.p_value.value is None:
            return "cannot be told"
        return "real" if self.p_value.value < LEVEL else "not shown"


def judge(evidence: StudyEvidence, *, draws: int = DRAWS, seed: int = 0) -> Verdict:
    """Judge a study.

    Parameters
    ----------
    evidence : StudyEvidence
    draws : int
        Resamples of the test.
    seed : int

    Returns
    -------
    Verdict
        ``cannot be told`` where there is nothing to test, or too little: see its reasons.

    References
    ----------
    Hansen (2005), see `superiority`; Bailey & López de Prado (2012, 2014), see `deflated_sharpe`; Bailey, Borwein,
    López de Prado & Zhu (2015), see `overfitting`.
    """
    test = winner_test(evidence, draws=draws, seed=seed)
    support, winner, cscv = sharpe_support(evidence), describe_winner(evidence), _overfitting(evidence, test.part)
    headline, reasons = words(
        evidence,
        test.word,
        test.p_value,
        test.part,
        spa=test.superiority,
        support=support,
        cscv=cscv,
        winner=winner,
    )
    made = test.part is not None and test.superiority is not None and not test.superiority.problem
    tested = test.part.columns.size if test.part is not None and made else 0
    counts = evidence.count, evidence.tried, evidence.ever, evidence.planned
    return Verdict(test.word, headline, reasons, test.p_value, *counts, tested, test.superiority, support, winner, cscv)


def winner_test(evidence: StudyEvidence, *, draws: int = DRAWS, seed: int = 0) -> WinnerTest:
    """Make the test alone that the verdict's word rests on; see `judge`."""
    part = evidence.part
    problem = _problem(evidence, part)
    if part is None or problem:
        return WinnerTest(undefined(problem), part, None)
    found = [_tested(evidence, part, series, draws, seed) for series in part.series]
    if part.is_still:
        return WinnerTest(Estimate(1.0), part, found[0])
    weaker = max(found, key=lambda spa: 2.0 if spa.problem else _corrected(evidence, part, spa))
    if weaker.problem:
        return WinnerTest(Estimate(None, weaker.problem), part, weaker)
    return WinnerTest(Estimate(_corrected(evidence, part, weaker)), part, weaker)


def _corrected(evidence: StudyEvidence, part: Part, spa: Superiority) -> float:
    """Give the winner's p-value with all that was tried."""
    untested = max(evidence.count - part.columns.size, 0)
    return min(float(spa.p_each[part.winner]) + untested * float(spa.p_alone[part.winner]), 1.0)


def _problem(evidence: StudyEvidence, part: Part | None) -> str:
    """Say why there is no test; empty if there is."""
    if evidence.backwards:
        return f"the study was to {evidence.direction} {evidence.metric}, which seeks no skill"
    if part is None:
        return f"the winner's {evidence.family}s on the validation bars were not kept"
    return ""


def _tested(evidence: StudyEvidence, part: Part, series: Floats, draws: int, seed: int) -> Superiority:
    """Test the trials whose bars are kept."""
    # One-bar returns do not overlap, but positions that are held over the horizon may tie them together.
    horizon, held = (evidence.rules.horizon, 1) if evidence.family == "forecast" else (1, evidence.rules.horizon)
    memory = max(float(held), block_length(series[:, part.winner]), _SHARE[part.family] * block_length(_bets(part)))
    return superiority(series, draws=draws, seed=seed, horizon=horizon, held=memory)


def _bets(part: Part) -> Floats:
    """Give what the winner bet on each bar: its forecasts, or the signs of its positions."""
    values = part.values[:, part.winner]
    return values if part.family == "forecast" else np.sign(values * part.outcomes)


def _overfitting(evidence: StudyEvidence, part: Part | None) -> Overfitting | None:
    """Cross-validate the choice of the winner, ranking trials by what is nearest to the study's metric."""
    if part is None:
        return None
    if part.family == "forecast":
        return overfitting(part.series.within, evidence.ranking, horizon=evidence.rules.horizon)
    return overfitting(part.values, evidence.ranking)
