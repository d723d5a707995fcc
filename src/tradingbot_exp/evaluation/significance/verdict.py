"""The verdict on a study: that its winner is real, that it is not shown, or that it cannot be told.

The word rests on Hansen's test alone, of the *winner*, with all that was tried counted and a sampler's climbing
bounded: see `winner`. A winner is real
where the p-value so corrected is below 0.025: a test of one side at the level that is customary for two. Whether its
forecasts have the right size, and whether it beats buy and hold, are sentences of their own. The deflated Sharpe ratio,
the probability of overfitting and the other `STATISTICS` support or contradict, and say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tradingbot_exp.config.choices import Word
from tradingbot_exp.evaluation._arrays import Estimate
from tradingbot_exp.evaluation.significance.alpha import Alpha
from tradingbot_exp.evaluation.significance.deflated import Deflated
from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
from tradingbot_exp.evaluation.significance.overfitting import Overfitting
from tradingbot_exp.evaluation.significance.permutation import PermutationTest
from tradingbot_exp.evaluation.significance.repetition import Repetition
from tradingbot_exp.evaluation.significance.scale import Scale
from tradingbot_exp.evaluation.significance.seed_robustness import SeedRobustness
from tradingbot_exp.evaluation.significance.sharpe import AlphaSharpe
from tradingbot_exp.evaluation.significance.skill import Skill
from tradingbot_exp.evaluation.significance.statistic import Statistic, shown_p
from tradingbot_exp.evaluation.significance.superiority import DRAWS
from tradingbot_exp.evaluation.significance.track_record import TrackRecord
from tradingbot_exp.evaluation.significance.winner import WinnerTest, winner_test

STATISTICS: tuple[type[Statistic], ...] = (
    Skill,
    Alpha,
    WinnerTest,
    Scale,
    AlphaSharpe,
    Deflated,
    TrackRecord,
    Overfitting,
)
"""What is computed and said of a winner, the weightiest first: the terminal has room for two sentences."""
REPETITIONS: dict[str, type[Repetition]] = {"seeds": SeedRobustness, "null_replays": PermutationTest}
"""What takes more training, by its name in ``study/verdict.json``."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is said about a study, and all the numbers that it is said from.

    Attributes
    ----------
    evidence : StudyEvidence
    test : WinnerTest
        What the word rests on.
    statistics : tuple of Statistic
        One of each of `STATISTICS`.
    """

    evidence: StudyEvidence
    test: WinnerTest
    statistics: tuple[Statistic, ...]

    @property
    def word(self) -> Word:
        """``real``, ``not shown`` (selection bias, or chance, suffices) or ``cannot be told``."""
        return self.test.word

    @property
    def bars(self) -> int:
        """Validation bars that were looked at."""
        returns, spa = self.evidence.return_part, self.test.superiority
        return max(0 if returns is None else len(returns.values), 0 if spa is None else spa.bars)

    @cached_property
    def numbers(self) -> dict[str, Estimate]:
        """Every number by name, those that are not defined with their reason."""
        return {name: value for each in self.statistics for name, value in each.numbers().items()}

    @property
    def overfitting(self) -> Overfitting:
        """The cross-validation of the choice of the winner."""
        return next(each for each in self.statistics if isinstance(each, Overfitting))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences, the weightiest first."""
        reasons = [said for each in self.statistics for said in each.sentences(self.evidence, self.test)]
        if self.word == "cannot be told":
            reasons.insert(0, f"The verdict is {self.test.verdict_p.problem}.")
        return tuple(reasons)

    @property
    def headline(self) -> str:
        """One sentence."""
        p_value, part, count = self.test.verdict_p, self.test.part, self.evidence.count
        if p_value.value is None or part is None:
            return f"Cannot be told: {p_value.problem.removeprefix('not defined, because ')}."
        forecasts = self.evidence.family == "forecast"
        counted = f"with all {count:,} configurations tried counted" if count > 1 else "in its only trial"
        rival, p = "selection bias" if count > 1 else "chance", f"(p {shown_p(p_value.value)})"
        if self.word == "real":
            what = "the winner's forecasts move with the outcome" if forecasts else "the winner earns an alpha"
            return f"Real: {what} by more than {rival} explains, {counted} {p}."
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
        # The correction for trials outside the test is an upper bound, and so is Scheffé's.
        bound = "up to " if count > part.columns.size or self.test.is_bound else ""
        share = "almost any search" if p_value.value > 0.95 else f"{bound}{100 * p_value.value:.0f} % of searches"
        chance = f"{share} without any skill would show as good a winner"
        if p_value.value < 0.1:
            chance = "the winner is not beyond what searches without any skill show now and then"
        return f"Not shown: {rival} suffices; {counted}, {chance} {p}."


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
    found = (test if statistic is WinnerTest else statistic.of(evidence) for statistic in STATISTICS)
    return Verdict(evidence, test, tuple(found))


def repetitions_of(record: Mapping[str, Any]) -> dict[str, Repetition | str]:
    """Read what ``study/verdict.json`` has of `REPETITIONS`, by name; a text says why one could not be made."""
    found: dict[str, Repetition | str] = {}
    for name, kind in REPETITIONS.items():
        part = record.get(name) or {}
        if isinstance(part, dict) and "problem" in part:
            found[name] = str(part["problem"])
        elif part:
            found[name] = kind.read_whole(part) or "its record is damaged"
    return found
