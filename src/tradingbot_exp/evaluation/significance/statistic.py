"""What a statistic of the verdict is: numbers with their names, and the sentences that they make.

Another one is a file with a subclass of `Statistic`, and a line in `tradingbot_exp.evaluation.significance.verdict`:
the verdict with its reasons, ``study/verdict.json``, MLflow's metrics, the report and the terminal follow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, Self

from tradingbot_exp.config.choices import Word
from tradingbot_exp.evaluation._arrays import Estimate

if TYPE_CHECKING:
    from tradingbot_exp.evaluation.significance.evidence import StudyEvidence
    from tradingbot_exp.evaluation.significance.superiority import Superiority

Form = Literal["p", "correlation", "ratio", "percent", "gain", "trials", "bars", "value"]


@dataclass(frozen=True)
class Number:
    """How a report shows a number: its label, its form, and what it is in a few words."""

    label: str
    form: Form
    meaning: str


class WordTest(Protocol):
    """The test that the word rests on, as the other statistics see it."""

    @property
    def word(self) -> Word:
        """``real``, ``not shown`` or ``cannot be told``."""

    @property
    def climb_p(self) -> Estimate:
        """Scheffé's bound; not defined for a sampler that does not climb."""

    @property
    def superiority(self) -> Superiority | None:
        """Its result; None if there was nothing to test."""


@dataclass(frozen=True, eq=False)
class Statistic(ABC):
    """Numbers on a study's winner: each field that is an `Estimate`, by the field's name.

    Attributes
    ----------
    SHOWN : dict of str to Number
        Those that a report shows, in its order.
    """

    SHOWN: ClassVar[dict[str, Number]]

    @classmethod
    @abstractmethod
    def of(cls, evidence: StudyEvidence) -> Self:
        """Compute the numbers."""

    @abstractmethod
    def sentences(self, evidence: StudyEvidence, test: WordTest) -> list[str]:
        """Say what the numbers mean beside the test's word; nothing where they say nothing."""

    def numbers(self) -> dict[str, Estimate]:
        """Return every number by name."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Estimate)}


def shown_p(p: float) -> str:
    """Write a p-value as far as it is known, with its sign of equality."""
    if p < 0.001:
        return "< 0.001"
    return f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"
