"""The verdict on a study: that its winner is real, that luck is enough to explain it, or that it cannot be told.

The word rests on Hansen's test for superior predictive ability alone, on the study's own metric: gains in loss over
the train-mean forecast, or net returns less those of buy and hold. It is the *winner* that is asked about, so its own
p-value among all trials counts, which is the test's where the winner is the one that stands out most.

The test knows the trials whose bars are kept, K of them. Trials that were pruned or failed, and those of earlier
studies, were tried as well: N in all, the larger of the study's own count and the ledger's. The p-value is therefore
multiplied by N / K (Bonferroni): as if the search had consisted of N / K searches of this size, of which the best
alone is shown. That holds however the searches depend on each other, and also where the K are the best of the N.

In a market that fell, whatever was out of it or short beats buy and hold, as whatever was long makes money in one that
rose. So there the winner has to beat the share of the market that it held on average as well, and of the two p-values
the larger counts.

A winner is real where the p-value so corrected is below 0.025: a test of one side at the level that is customary for
two. The deflated Sharpe ratio, the probability of overfitting and the rest support or contradict, and say so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tradingbot_exp.evaluation._arrays import Estimate, undefined
from tradingbot_exp.evaluation.significance.evidence import Complete, StudyEvidence, complete
from tradingbot_exp.evaluation.significance.overfitting import Overfitting, overfitting
from tradingbot_exp.evaluation.significance.superiority import DRAWS, Superiority, superiority
from tradingbot_exp.evaluation.significance.support import Support, sharpe_support
from tradingbot_exp.evaluation.significance.verdict_words import Word, words

LEVEL = 0.025
MOST_DRAWS = 50_000
MOST_RATIO = LEVEL * MOST_DRAWS
"""Configurations tried for each that is tested, above which the smallest possible p-value would not be enough."""


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
            "excess_sharpe": self.support.sharpe,
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
    part : Complete or None
        What was tested; None if there was nothing.
    superiority : Superiority or None
    timing : float or None
        The winner's p-value against its own average share of the market, corrected likewise; None where that was not
        asked: see `winner_test`.
    """

    p_value: Estimate
    part: Complete | None
    superiority: Superiority | None
    timing: float | None = None

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
        Resamples of the test at least; more are drawn (up to 50,000) where the correction for trials outside the
        matrix asks for smaller p-values.
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
    support, cscv = sharpe_support(evidence), _overfitting(evidence, test.part)
    headline, reasons = words(
        evidence,
        test.word,
        test.p_value,
        test.part,
        spa=test.superiority,
        support=support,
        cscv=cscv,
        timing=test.timing,
    )
    made = test.part is not None and test.superiority is not None and not test.superiority.problem
    tested = test.part.columns.size if test.part is not None and made else 0
    counts = evidence.count, evidence.tried, evidence.ever, evidence.planned
    return Verdict(test.word, headline, reasons, test.p_value, *counts, tested, test.superiority, support, cscv)


def winner_test(evidence: StudyEvidence, *, draws: int = DRAWS, seed: int = 0) -> WinnerTest:
    """Make the test alone that the verdict's word rests on; see `judge`.

    What beats buy and hold in a market that fell on these bars is tested once more, on what is left of each trial's
    returns without the share of the market that they move with (slope of a regression; the mean of the rest is the
    performance of Jensen (1968), "The performance of mutual funds in the period 1945–1964", Journal of Finance 23(2)).
    """
    gains = evidence.gains if evidence.family == "loss" else evidence.excess
    part = None if gains is None or evidence.winner is None else complete(gains, evidence.winner)
    spa = None if part is None else _tested(evidence, part, draws, seed)
    p_value = _p_value(evidence, part, spa)
    if part is None or p_value.value is None or p_value.value >= LEVEL:
        return WinnerTest(p_value, part, spa)
    timing = _timing(evidence, part, draws, seed)
    larger = p_value.value if timing is None else max(p_value.value, timing)
    return WinnerTest(Estimate(larger), part, spa, timing)


def _timing(evidence: StudyEvidence, part: Complete, draws: int, seed: int) -> float | None:
    """Give the winner's p-value against its own share of the market; None where the market did not fall."""
    if evidence.family == "loss" or evidence.market is None or evidence.returns is None:
        return None
    market = evidence.market[part.rows]
    if market.mean() >= 0 or not np.ptp(market):
        return None
    returns, moves = evidence.returns[np.ix_(part.rows, part.columns)], market - market.mean()
    alone = replace(part, values=returns - np.outer(market, moves @ returns / (moves @ moves)))
    p_value = _p_value(evidence, alone, _tested(evidence, alone, draws, seed)).value
    return 1.0 if p_value is None else p_value


def _tested(evidence: StudyEvidence, part: Complete, draws: int, seed: int) -> Superiority:
    """Test the trials that are complete, with as many resamples as the correction of the p-value asks for."""
    ratio = evidence.count / part.columns.size
    if ratio <= MOST_RATIO:
        draws = max(draws, math.ceil(5 * ratio / LEVEL))
    draws = min(draws, MOST_DRAWS)
    if evidence.family == "loss":
        return superiority(part.values, draws=draws, seed=seed, horizon=evidence.horizon)
    # One-bar returns do not overlap, but positions that are held over the horizon may tie them together.
    return superiority(part.values, draws=draws, seed=seed, held=evidence.horizon)


def _p_value(evidence: StudyEvidence, part: Complete | None, spa: Superiority | None) -> Estimate:
    """Give the winner's p-value, corrected for what was tried besides; or why it cannot be told."""
    if part is None or spa is None or evidence.backwards:
        return undefined(_nothing_to_test(evidence))
    tested, count = part.columns.size, evidence.count
    if not np.ptp(part.values[:, part.winner]):
        if part.values[0, part.winner] > 0:
            return undefined("the winner is ahead by the same amount on every bar, which no market gives")
        return Estimate(1.0)
    if spa.problem:
        return Estimate(None, spa.problem)
    if count / tested > MOST_RATIO:
        return undefined(
            f"{tested:,} of {count:,} configurations tried can be tested, and {MOST_DRAWS:,} resamples resolve no "
            "p-value that would stand the correction for the rest"
        )
    return Estimate(min(float(spa.p_each[part.winner]) * count / tested, 1.0))


def _nothing_to_test(evidence: StudyEvidence) -> str:
    if evidence.backwards:
        return f"the study was to {evidence.direction} {evidence.metric}, which seeks no skill"
    what = "forecasts" if evidence.family == "loss" else "returns"
    return f"the winner's {what} on the validation bars were not kept"


def _overfitting(evidence: StudyEvidence, part: Complete | None) -> Overfitting | None:
    """Cross-validate the choice of the winner, ranking trials as the study did: by gains, or by net returns."""
    if part is None:
        return None
    if evidence.family == "loss" or evidence.returns is None:
        return overfitting(part.values, evidence.ranking, horizon=evidence.horizon)
    return overfitting(evidence.returns[np.ix_(part.rows, part.columns)], evidence.ranking)
