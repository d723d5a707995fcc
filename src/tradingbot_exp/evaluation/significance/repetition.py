"""What takes more training than the study had, as ``study/verdict.json`` keeps it.

Another such test is a file with a subclass of `Repetition`, and a line in `REPETITIONS` of
`tradingbot_exp.evaluation.significance.verdict`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from tradingbot_exp.evaluation.significance.statistic import Number


@dataclass(frozen=True)
class Repetition(ABC):
    """A winner's value beside others that were made for the comparison.

    Attributes
    ----------
    DEED : str
        What is done with the winner, or the search: for a message that it could not be.
    METRICS : dict of str to str
        Fields that MLflow has, by the names that it has them by.
    metric : str
    trial : int
        The winner's number.
    chosen : float
        Its value in the study.
    """

    DEED: ClassVar[str]
    METRICS: ClassVar[dict[str, str]]

    metric: str
    trial: int
    chosen: float

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Self:
        """Read what ``dataclasses.asdict`` made; `KeyError` for a field that is not there."""
        return cls(**{each.name: record[each.name] for each in fields(cls)})

    @classmethod
    def read_whole(cls, record: Any) -> Self | None:
        """Read a record that somebody else may have written; None for one of which nothing can be said."""
        try:
            found = cls.read(record)
            _ = found.sentence, found.row, found.metrics
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return found

    @property
    @abstractmethod
    def sentence(self) -> str:
        """What came of it, for the terminal and the report."""

    @property
    @abstractmethod
    def row(self) -> tuple[Number, float, float | None] | None:
        """Return a row of the report's table: what it is, its value, and a spread; None if there is no value."""

    @property
    def metrics(self) -> dict[str, float]:
        """Return what MLflow has of it."""
        found = {name: getattr(self, field) for name, field in self.METRICS.items()}
        return {name: value for name, value in found.items() if value is not None}
