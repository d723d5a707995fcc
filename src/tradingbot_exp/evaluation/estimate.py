"""A number, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A statistic that may not be defined for its input.

    Attributes
    ----------
    value : float or None
        Finite; None if it is not defined.
    problem : str
        ``not defined, because …``; empty where there is a value.
    """

    value: float | None
    problem: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.problem) or not math.isfinite(self.value or 0.0):
            raise ValueError(f"An estimate is a finite number or has a problem; got {self.value} and {self.problem!r}.")


def undefined(because: str) -> Estimate:
    """Give the estimate that is not there, with its reason."""
    return Estimate(None, f"not defined, because {because}")
