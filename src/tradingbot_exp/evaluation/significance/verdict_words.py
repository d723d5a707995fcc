"""A verdict in sentences: the headline, and the reasons with the weightiest first."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tradingbot_exp.evaluation._arrays import Estimate
from tradingbot_exp.evaluation.significance.evidence import Complete, StudyEvidence
from tradingbot_exp.evaluation.significance.overfitting import Overfitting
from tradingbot_exp.evaluation.significance.superiority import Superiority
from tradingbot_exp.evaluation.significance.support import Support

Word = Literal["real", "not shown", "cannot be told"]


def words(
    evidence: StudyEvidence,
    word: Word,
    p_value: Estimate,
    part: Complete | None,
    *,
    spa: Superiority | None,
    support: Support,
    cscv: Overfitting | None,
    timing: float | None = None,
) -> tuple[str, tuple[str, ...]]:
    """Give the headline and the reasons of a verdict; see `judge` for what they are made of."""
    reasons = [*_test(evidence, part, spa), *_timing(timing), *_correction(evidence, part)]
    reasons += [*_sharpe(evidence, support), *_choice(evidence, word, cscv)]
    if word == "cannot be told":
        reasons = [f"The verdict is {p_value.problem}.", *reasons]
    return _headline(evidence, word, p_value, part, timing), tuple(reasons)


def shown_p(p: float) -> str:
    """Write a p-value as far as it is known, with its sign of equality."""
    if p < 0.001:
        return "< 0.001"
    return f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def _against(evidence: StudyEvidence) -> str:
    return "the train-mean forecast" if evidence.family == "loss" else "buy and hold"


def _headline(
    evidence: StudyEvidence, word: Word, p_value: Estimate, part: Complete | None, timing: float | None
) -> str:
    rival = _against(evidence)
    if p_value.value is None or part is None:
        return f"Cannot be told: {p_value.problem.removeprefix('not defined, because ')}."
    counted = f"with all {evidence.count:,} configurations tried counted" if evidence.count > 1 else "in its only trial"
    if word == "real":
        return f"Real: the winner beats {rival} by more than luck explains, {counted} (p {shown_p(p_value.value)})."
    if timing is not None:
        return (
            "Not shown: the winner beats buy and hold, as all does that is out of a market that falls, but luck "
            f"explains its lead over holding the same share of the market throughout (p {shown_p(p_value.value)})."
        )
    gains = part.values[:, part.winner]
    if not np.ptp(gains):
        return f"Not shown: the winner does the same as {rival} on every bar, or worse by the same amount."
    if gains.mean() <= 0:
        return f"Not shown: the winner does not beat {rival} at all."
    # The correction for trials outside the test gives an upper bound.
    bound = "up to " if evidence.count > part.columns.size else ""
    share = "almost any search" if p_value.value > 0.95 else f"{bound}{100 * p_value.value:.0f} % of searches"
    chance = f"{share} without any skill would show as good a winner"
    if p_value.value < 0.1:
        chance = f"the winner's lead over {rival} is not beyond what luck shows now and then"
    return f"Not shown: luck suffices; {counted}, {chance} (p {shown_p(p_value.value)})."


def _test(evidence: StudyEvidence, part: Complete | None, spa: Superiority | None) -> list[str]:
    if part is None or spa is None:
        return []
    trials = f"{spa.rivals:,} trial{'s' * (spa.rivals != 1)}"
    if spa.problem:
        return []
    bounds = f"bounds: p {shown_p(spa.p_lower)} and p {shown_p(spa.p_upper)}"
    sentences = [
        f"Hansen's test for superior predictive ability of {trials} on {spa.bars:,} validation bars against "
        f"{_against(evidence)} gives p {shown_p(spa.p_consistent)} "
        f"({bounds})."
    ]
    if spa.best is not None and spa.best != part.winner:
        own = shown_p(float(spa.p_each[part.winner]))
        sentences.append(f"The trial that stands out most in that test is not the winner, whose own p {own}.")
    return sentences


def _timing(timing: float | None) -> list[str]:
    if timing is None:
        return []
    return [
        "The market fell on these bars, and all that is out of it or short then beats buy and hold. Against the share "
        f"of the market that it held on average, the winner has p {shown_p(timing)}."
    ]


def _correction(evidence: StudyEvidence, part: Complete | None) -> list[str]:
    if part is None:
        return []
    tested, count = part.columns.size, evidence.count
    if count == tested:
        return []
    counts = f"{evidence.tried:,} in this study" + (f", {evidence.ever:,} ever on these bars" if evidence.ever else "")
    more = f"{count - tested:,} more configurations were" if count - tested > 1 else "1 more configuration was"
    return [
        f"{more} tried than can be tested ({counts}): pruned, failed, or tried "
        f"before. So p counts {count / tested:.3g} times."
    ]


def _sharpe(evidence: StudyEvidence, support: Support) -> list[str]:
    sentences = []
    if support.sharpe.value is not None and support.noise is not None:
        others, noise = f"{evidence.count:,} trials" if evidence.count > 1 else "one trial", support.noise
        sentences.append(
            f"In excess of buy and hold the winner's Sharpe ratio is {support.sharpe.value:.2f} a year; the best "
            f"of {others} of noise reaches {noise.expected:.2f} on average, and {noise.high:.2f} in one search of 20."
        )
    elif support.sharpe.problem:
        sentences.append(f"The Sharpe ratio in excess of buy and hold is {support.sharpe.problem}.")
    if support.dsr.value is not None:
        effective = support.dsr_effective.value
        also = ""
        if effective is not None and support.effective.value is not None:
            alike = f"{support.effective.value:.0f}"
            also = f" ({effective:.2f} if they count as {alike} independent one{'s' * (alike != '1')})"
        sentences.append(
            f"The probability that this is more than the luck of the best is {support.dsr.value:.2f}{also}: the "
            "deflated Sharpe ratio, which should be at least 0.95."
        )
    elif support.psr.value is not None:
        sentences.append(f"The probability that this Sharpe ratio is above 0 is {support.psr.value:.2f}.")
    if support.min_track.value is not None and support.min_track.value > support.bars:
        sentences.append(
            f"A single trial with this Sharpe ratio would need {support.min_track.value:,.0f} bars to be above 0 with "
            f"95 % probability; there are {support.bars:,}."
        )
    return sentences


def _choice(evidence: StudyEvidence, word: Word, cscv: Overfitting | None) -> list[str]:
    if cscv is None:
        return []
    if cscv.problem:
        return [f"The probability of backtest overfitting is {cscv.problem}."]
    score = {"mean": "mean gain", "sharpe": "Sharpe ratio", "sortino": "Sortino ratio"}[evidence.ranking]
    if evidence.family == "return":
        score = f"{score.replace('gain', 'return')} after costs"
    sentence = (
        f"By {score}, the best on one half of the bars is in the lower half of the trials on the other half in "
        f"{100 * cscv.probability:.0f} % of {cscv.logits.size:,} splits (probability of backtest overfitting)"
    )
    if word == "real" and cscv.probability > 0.5:
        return [f"{sentence}: this contradicts the verdict; the trials may be too alike to be ranked."]
    return [f"{sentence}."]
