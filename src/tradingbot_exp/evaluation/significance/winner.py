"""The test that the verdict's word rests on: Hansen's test for superior predictive ability, of the winner.

The series are those that `series` makes: whether the winner's forecasts move with the outcome, or its returns hold more
than a share of the market's. It is the *winner* that is asked about, so its own p-value among all trials counts, which
is the test's where the winner is the one that stands out most. Of the two ways to take the series, by the means of the
validation dates and by what was known before each date, the larger p-value counts.

The test knows the trials whose bars are kept, K of them. Trials that were pruned or failed, and those of earlier
studies, were tried as well: N in all, the larger of the study's own count and the ledger's. Each of the N − K could
have shown as much by itself with the p-value that the winner has alone, whatever they share with the others; so N − K
times that is added (Bonferroni). Where the K are alike, their p-value is hardly above that of one, and the others count
in full.

A sampler that goes by earlier values finds more than the best of points that were drawn beforehand: it moves towards
what fitted by chance. Scheffé's bound on the best of all combinations of d series (`climbed_p`) is taken with d the
number of hyper-parameters, and where positions are signs, which turn on more directions, with 2 d. By simulation,
searches by CMA-ES over the weights of 3 to 20 features of noise are then called real in 0 to 2.7 % (of up to 1,000
trials), in place of 23 to 95 %. The larger p-value counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tradingbot_exp.config.choices import Word
from tradingbot_exp.config.metrics import Family
from tradingbot_exp.evaluation._arrays import Estimate, Floats, undefined
from tradingbot_exp.evaluation.significance.block_length import block_length
from tradingbot_exp.evaluation.significance.evidence import Part, StudyEvidence
from tradingbot_exp.evaluation.significance.selection_bias import LEVEL, climbed_p
from tradingbot_exp.evaluation.significance.series import spread_apart
from tradingbot_exp.evaluation.significance.statistic import Number, Statistic, WordTest, shown_p
from tradingbot_exp.evaluation.significance.superiority import DRAWS, Superiority, superiority
from tradingbot_exp.runtime.text import plural

_SHARE: dict[Family, float] = {"forecast": 0.25, "return": 0.5}
"""Blocks are at least as long as this share of those that the winner's forecasts by themselves would take.

Where outcomes drift slowly, under noise that hides it from any one series, a forecast that hardly changes goes with the
drift or against it for as long as it lasts. With a quarter (half of signs, which forget sooner), 3 % of such studies
are called real in place of 14 %: 5 % of the outcome's variance is an autoregression of 0.98, forecasts are another. Of
a skill of 0.15 over 1,000 bars 75 % are found in place of 86 % where forecasts are an autoregression of 0.9, and as
many as before where they are not.
"""

_LEAST_SPREAD = 0.9
"""Share of `spread_apart`, what forecasts and outcomes that are independent have, below which no spread is believed.

A rare event and a forecast that it will not come hardly ever meet by chance, and until they do the series spreads
little round a mean above 0: 94 % of such studies without skill would be called real (events on 5 % of bars, and low
forecasts on others), and with this none. Of normal forecasts and outcomes 1 % fall below it on 484 bars, by a little.
"""


@dataclass(frozen=True, eq=False)
class WinnerTest(Statistic):
    """The test, with the winner's p-value.

    Attributes
    ----------
    spa_p_lower, spa_p_upper : Estimate
        Bounds of `spa_p`: see `Superiority`.
    part : Part or None
        What was tested; None if there was nothing.
    superiority : Superiority or None
        Of the two tests the one that the winner's p-value is of; None if there was nothing to test.
    """

    SHOWN: ClassVar = {
        "verdict_p": Number(
            "p-value of the winner", "p", "Corrected for every configuration tried; real is below 0.025."
        ),
        "climb_p": Number(
            "Scheffé's bound", "p", "Chance that a sampler which climbs reaches so good a winner without skill."
        ),
        "spa_p": Number(
            "SPA p-value", "p", "Hansen (2005): chance that the best of the tested trials looks so good without skill."
        ),
    }

    verdict_p: Estimate
    climb_p: Estimate
    spa_p: Estimate
    spa_p_lower: Estimate
    spa_p_upper: Estimate
    part: Part | None
    superiority: Superiority | None

    @classmethod
    def of(cls, evidence: StudyEvidence) -> WinnerTest:
        """Test the winner; see `winner_test`."""
        return winner_test(evidence)

    @property
    def word(self) -> Word:
        """``real`` for a p-value below `LEVEL`."""
        if self.verdict_p.value is None:
            return "cannot be told"
        return "real" if self.verdict_p.value < LEVEL else "not shown"

    @property
    def is_bound(self) -> bool:
        """Whether Scheffé's bound decides, of a winner that shows anything at all."""
        return self.climb_p.value is not None and self.climb_p.value == self.verdict_p.value != 1

    @property
    def tested(self) -> int:
        """Trials in the test."""
        return 0 if self.superiority is None or self.superiority.problem else self.superiority.rivals

    def sentences(self, evidence: StudyEvidence, test: WordTest) -> list[str]:
        """Return the test's p-values, and what was tried beside it."""
        part, spa, sentences = self.part, self.superiority, []
        if part is not None and spa is not None and not spa.problem:
            trials = plural(spa.rivals, "trial")
            what = "how their forecasts move with the outcome" if part.family == "forecast" else "alpha"
            bounds = f"bounds: p {shown_p(spa.p_lower)} and p {shown_p(spa.p_upper)}"
            sentences.append(
                f"Hansen's test for superior predictive ability of {trials}, by {what} on {spa.bars:,} validation "
                f"bars, gives p {shown_p(spa.p_consistent)} ({bounds})."
            )
            if spa.best is not None and spa.best != part.winner:
                own = shown_p(float(spa.p_each[part.winner]))
                sentences.append(f"The trial that stands out most in that test is not the winner, whose own p {own}.")
        if self.is_bound:
            keys = plural(evidence.climbed, "hyper-parameter")
            sentences.append(
                f"The sampler went by what it had seen, over {keys}: the best of all values would look so good without "
                f"skill with p {shown_p(self.climb_p.value or 0.0)} (Scheffé's bound). hpo.sampler=random does not "
                "climb, and hpo.null_replays repeats the search on permuted targets."
            )
        more = 0 if part is None else evidence.count - part.columns.size
        if more:
            ever = f", {evidence.ever:,} ever on these bars" if evidence.ever else ""
            were = f"{more:,} more configurations were" if more > 1 else "1 more configuration was"
            sentences.append(
                f"{were} tried than can be tested ({evidence.tried:,} in this study{ever}): pruned, failed, or tried "
                "before. For each of them the p-value that the winner would have by itself is added."
            )
        return sentences


def winner_test(evidence: StudyEvidence, *, draws: int = DRAWS, seed: int = 0) -> WinnerTest:
    """Test a study's winner.

    Parameters
    ----------
    evidence : StudyEvidence
    draws, seed : int
        Resamples; see `superiority`.

    Returns
    -------
    WinnerTest
        Not defined for a study that sought no skill, or whose bars were not kept, or as `superiority` says.
    """
    part = evidence.part
    problem = ""
    if evidence.backwards:
        problem = f"the study was to {evidence.direction} {evidence.metric}, which seeks no skill"
    elif part is None:
        problem = f"the winner's {evidence.family}s on the validation bars were not kept"
    if part is None or problem:
        nothing = undefined("there is no matrix of trials to test")
        return WinnerTest(undefined(problem), nothing, nothing, nothing, nothing, part, None)
    lowered = _lowered(part)
    found = [_tested(evidence, part, series, lowered, draws=draws, seed=seed) for series in part.series]
    if part.is_still:
        spa, p_value = found[0], Estimate(1.0)
    else:
        spa = max(found, key=lambda each: 2.0 if each.problem else _corrected(evidence, part, each))
        p_value = Estimate(None, spa.problem) if spa.problem else Estimate(_corrected(evidence, part, spa))
    bounds = (_climbed(evidence, part, spa), spa.p_consistent, spa.p_lower, spa.p_upper)
    climb, middle, low, high = (Estimate(None, spa.problem) if spa.problem else Estimate(each) for each in bounds)
    if not evidence.climbed:
        climb = undefined("the sampler did not go by earlier values")
    return WinnerTest(p_value, climb, middle, low, high, part, spa)


def _corrected(evidence: StudyEvidence, part: Part, spa: Superiority) -> float:
    """Return the winner's p-value with all that was tried."""
    untested = max(evidence.count - part.columns.size, 0)
    tried = float(spa.p_each[part.winner]) + untested * float(spa.p_alone[part.winner])
    return min(max(tried, _climbed(evidence, part, spa)), 1.0)


def _climbed(evidence: StudyEvidence, part: Part, spa: Superiority) -> float:
    """Return Scheffé's bound on the winner's p-value; 0 for a sampler that does not climb."""
    if not evidence.climbed:
        return 0.0
    from scipy.special import ndtri  # as late as in `superiority`

    return climbed_p(-float(ndtri(spa.p_alone[part.winner])), evidence.directions(part.family))


def _lowered(part: Part) -> Floats:
    """Return by what to multiply studentised means of series that spread too little, shape (K,): `_LEAST_SPREAD`."""
    if part.family == "return" or part.across is not None:  # the mean over symbols is no product
        return np.ones(part.columns.size)
    apart = spread_apart(part.outcomes, part.values, part.folds)
    share = part.series.within.std(axis=0) / np.where(apart > 0, apart, np.inf)
    return np.asarray(np.minimum(1.0, share / _LEAST_SPREAD))


def _tested(
    evidence: StudyEvidence, part: Part, series: Floats, lowered: Floats, *, draws: int, seed: int
) -> Superiority:
    """Test the trials whose bars are kept."""
    # One-bar returns do not overlap, but positions that are held over the horizon may tie them together.
    ahead = evidence.rules.horizon
    horizon, held = (ahead, 1) if part.family == "forecast" else (1, ahead)
    bets = part.values[:, part.winner]
    if part.family == "return":
        bets = np.sign(bets * part.outcomes)  # of its positions
    alone = float(part.before.memory[:, part.winner].max()) or block_length(bets)
    memory = max(float(held), block_length(series[:, part.winner]), _SHARE[part.family] * alone)
    return superiority(series, draws=draws, seed=seed, horizon=horizon, held=memory, lowered=lowered)
