"""The permutation test: where the winner stands among searches on permuted targets, where there is nothing to find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from tradingbot_exp.evaluation.metrics.objectives import Objective
from tradingbot_exp.evaluation.significance.repetition import Repetition
from tradingbot_exp.evaluation.significance.statistic import Number
from tradingbot_exp.runtime.text import plural


@dataclass(frozen=True)
class PermutationTest(Repetition):
    """The best value of each search.

    Attributes
    ----------
    values : list of float
        Finite, at least one.
    as_good : int
        How many of them are as good as `chosen`, or better.
    p : float
        (1 + as_good) / (1 + searches).

    References
    ----------
    Phipson & Smyth (2010), "Permutation p-values should never be zero", Statistical Applications in Genetics and
    Molecular Biology 9(1), for the p-value.
    """

    DEED: ClassVar = "compared with searches on permuted targets"
    METRICS: ClassVar = {"verdict_null_p": "p"}

    values: list[float]
    as_good: int
    p: float

    @classmethod
    def of(cls, objective: Objective, trial: int, chosen: float, values: list[float]) -> Self:
        """Count the searches that found as good a value."""
        as_good = sum(objective.sign * value <= objective.sign * chosen for value in values)
        return cls(objective.metric, trial, chosen, values, as_good, (1 + as_good) / (1 + len(values)))

    @property
    def sentence(self) -> str:
        """See `Repetition`."""
        searches = f"{plural(len(self.values), 'search', 'searches')} on permuted targets"
        return (
            f"{self.as_good or 'None'} of {searches} found as good a {self.metric} as {self.chosen:.4g} "
            f"(p = {self.p:.2g})."
        )

    @property
    def row(self) -> tuple[Number, float, float | None]:
        """See `Repetition`."""
        label = "p-value of " + plural(len(self.values), "replay").replace(" ", "\u00a0")
        return Number(label, "p", "Searches on permuted targets that found as good a value."), self.p, None
