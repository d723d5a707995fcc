"""A verdict in sentences: the headline, and the reasons with the weightiest first."""

from __future__ import annotations

from tradingbot_exp.config.choices import Word
from tradingbot_exp.evaluation._arrays import Estimate
from tradingbot_exp.evaluation.significance.evidence import Part, StudyEvidence
from tradingbot_exp.evaluation.significance.luck import rounded_bars
from tradingbot_exp.evaluation.significance.overfitting import Overfitting
from tradingbot_exp.evaluation.significance.superiority import Superiority
from tradingbot_exp.evaluation.significance.support import Support
from tradingbot_exp.evaluation.significance.winner import Winner
from tradingbot_exp.runtime.text import plural


def words(
    evidence: StudyEvidence,
    word: Word,
    p_value: Estimate,
    part: Part | None,
    *,
    spa: Superiority | None,
    support: Support,
    winner: Winner,
    cscv: Overfitting | None,
) -> tuple[str, tuple[str, ...]]:
    """Give the headline and the reasons of a verdict; see `judge` for what they are made of."""
    reasons = [*_skill(evidence, word, part, support, winner), *_earned(winner), *_test(part, spa)]
    reasons += [*_correction(evidence, part), *_scale(winner), *_sharpe(evidence, support)]
    reasons += _choice(evidence, word, cscv)
    if word == "cannot be told":
        reasons = [f"The verdict is {p_value.problem}.", *reasons]
    return _headline(evidence, word, p_value, part), tuple(reasons)


def shown_p(p: float) -> str:
    """Write a p-value as far as it is known, with its sign of equality."""
    if p < 0.001:
        return "< 0.001"
    return f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def _headline(evidence: StudyEvidence, word: Word, p_value: Estimate, part: Part | None) -> str:
    if p_value.value is None or part is None:
        return f"Cannot be told: {p_value.problem.removeprefix('not defined, because ')}."
    forecasts = evidence.family == "forecast"
    counted = f"with all {evidence.count:,} configurations tried counted" if evidence.count > 1 else "in its only trial"
    p = f"(p {shown_p(p_value.value)})"
    if word == "real":
        what = "the winner's forecasts move with the outcome" if forecasts else "the winner earns an alpha"
        return f"Real: {what} by more than luck explains, {counted} {p}."
    if part.is_still:
        what = "forecast never moves" if forecasts else "returns are a share of the market's, and nothing else"
        return f"Not shown: the winner's {what}."
    within, before = (float(each[:, part.winner].mean()) for each in part.series)
    if within <= 0:
        nothing = "hold nothing beyond their exposure to the market"
        what = "forecasts do not move with the outcome at all" if forecasts else f"returns {nothing}"
        return f"Not shown: the winner's {what}."
    if before <= 0:
        what = "forecasts move with the outcome" if forecasts else "returns hold an alpha"
        known = "the means" if forecasts else "the slope on the market"
        return f"Not shown: the winner's {what}, but not by {known} that could be known before each date."
    # The correction for trials outside the test gives an upper bound.
    bound = "up to " if evidence.count > part.columns.size else ""
    share = "almost any search" if p_value.value > 0.95 else f"{bound}{100 * p_value.value:.0f} % of searches"
    chance = f"{share} without any skill would show as good a winner"
    if p_value.value < 0.1:
        chance = "the winner is not beyond what luck shows now and then"
    return f"Not shown: luck suffices; {counted}, {chance} {p}."


def _test(part: Part | None, spa: Superiority | None) -> list[str]:
    if part is None or spa is None or spa.problem:
        return []
    trials = plural(spa.rivals, "trial")
    what = "how their forecasts move with the outcome" if part.family == "forecast" else "alpha"
    bounds = f"bounds: p {shown_p(spa.p_lower)} and p {shown_p(spa.p_upper)}"
    sentences = [
        f"Hansen's test for superior predictive ability of {trials}, by {what} on {spa.bars:,} validation bars, gives "
        f"p {shown_p(spa.p_consistent)} ({bounds})."
    ]
    if spa.best is not None and spa.best != part.winner:
        own = shown_p(float(spa.p_each[part.winner]))
        sentences.append(f"The trial that stands out most in that test is not the winner, whose own p {own}.")
    return sentences


def _correction(evidence: StudyEvidence, part: Part | None) -> list[str]:
    if part is None:
        return []
    tested, count = part.columns.size, evidence.count
    if count == tested:
        return []
    counts = f"{evidence.tried:,} in this study" + (f", {evidence.ever:,} ever on these bars" if evidence.ever else "")
    more = f"{count - tested:,} more configurations were" if count - tested > 1 else "1 more configuration was"
    return [
        f"{more} tried than can be tested ({counts}): pruned, failed, or tried before. For each of them the p-value "
        "that the winner would have by itself is added."
    ]


def _skill(evidence: StudyEvidence, word: Word, part: Part | None, support: Support, winner: Winner) -> list[str]:
    """Say how large the winner's skill looks, how large it would have to be, and on how many bars it would do."""
    forecasts = evidence.family == "forecast"
    shown, needed = (winner.ic, winner.needed_ic) if forecasts else (support.sharpe, support.needed)
    if part is None or shown.value is None or needed.value is None:
        return []
    what = f"Its information coefficient is {shown.value:.3f}" if forecasts else _alpha_sharpe(shown.value)
    if (shown.value < needed.value) == (word == "real"):  # the rule of thumb and the test differ: the test decides
        return [f"{what}."]
    bars = winner.needed_bars.value
    instead = ""
    if bars is not None and bars > len(part.values):
        instead = f", or the same on some {rounded_bars(bars)} validation bars instead of {len(part.values):,}"
    return [f"{what}; about {needed.value:.2f} would be needed{instead}."]


def _alpha_sharpe(ratio: float) -> str:
    return f"The Sharpe ratio of its alpha is {ratio:.2f} a year"


def _scale(winner: Winner) -> list[str]:
    if winner.gain_on_neutral.value is None or winner.gain_on_mean.value is None:
        return []
    gains = winner.gain_on_neutral.value, winner.gain_on_mean.value
    neutral, mean = (f"{100 * abs(gain):.1f} % {'below' if gain > 0 else 'above'}" for gain in gains)
    sentence = f"Its squared error is {neutral} that of taking no side, and {mean} that of the train mean"
    scale = winner.scale.value
    if scale is None or scale <= 0 or 0.8 <= scale <= 1.25:
        return [f"{sentence}."]
    return [f"{sentence}: its forecasts would be well scaled if multiplied by {scale:.2g}."]


def _earned(winner: Winner) -> list[str]:
    if winner.alpha.value is None or winner.beta.value is None or winner.lead.value is None:
        return []
    lead = winner.lead.value
    return [
        f"Its alpha is {100 * winner.alpha.value:.1f} % a year at a beta of {winner.beta.value:.2f}; it earned "
        f"{100 * abs(lead):.1f} % a year {'more' if lead > 0 else 'less'} than buy and hold."
    ]


def _sharpe(evidence: StudyEvidence, support: Support) -> list[str]:
    sentences = []
    if support.sharpe.value is not None and support.noise is not None:
        others, noise = f"{evidence.count:,} trials" if evidence.count > 1 else "one trial", support.noise
        reached = f"{noise.expected:.2f} on average, and {noise.high:.2f} in one search of 20"
        if evidence.family == "forecast":
            sentences.append(f"{_alpha_sharpe(support.sharpe.value)}; the best of {others} of noise has {reached}.")
        else:
            sentences.append(f"The best of {others} of noise has an alpha with a Sharpe ratio of {reached}.")
    elif support.sharpe.problem:
        sentences.append(f"The Sharpe ratio of its alpha is {support.sharpe.problem}.")
    if support.dsr.value is not None:
        effective = support.dsr_effective.value
        also = ""
        if effective is not None and support.effective.value is not None:
            alike = plural(round(support.effective.value), "independent one")
            also = f" ({effective:.2f} if they count as {alike})"
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
    score = {"mean": "mean return", "sharpe": "Sharpe ratio", "sortino": "Sortino ratio"}[evidence.ranking]
    score = "how forecasts move with the outcome" if evidence.family == "forecast" else f"{score} after costs"
    sentence = (
        f"By {score}, the best on one half of the bars is in the lower half of the trials on the other half in "
        f"{100 * cscv.probability:.0f} % of {cscv.logits.size:,} splits (probability of backtest overfitting)"
    )
    if word == "real" and cscv.probability > 0.5:
        return [f"{sentence}: this contradicts the verdict; the trials may be too alike to be ranked."]
    return [f"{sentence}."]
