"""Seed robustness: how far the winner's number depends on the seed that it was found with."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from tradingbot_exp.evaluation.metrics.objectives import Objective
from tradingbot_exp.evaluation.significance.repetition import Repetition
from tradingbot_exp.evaluation.significance.statistic import Number
from tradingbot_exp.runtime.text import plural


@dataclass(frozen=True)
class SeedRobustness(Repetition):
    """The winner's value with seeds that the study has not used.

    Attributes
    ----------
    seeds, failed : list of int
        All that were tried, and those without a finite value.
    values : list of float
        Of the others.
    mean, std, min, max : float or None
        Of `values`, ddof 1; None where there are too few.
    ahead : int
        How many of the values `chosen` is better than.
    """

    DEED: ClassVar = "trained again with other seeds"
    METRICS: ClassVar = {"winner_seed_mean": "mean", "winner_seed_std": "std"}

    seeds: list[int]
    values: list[float]
    failed: list[int]
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    ahead: int

    @classmethod
    def of(cls, objective: Objective, trial: int, chosen: float, found: Mapping[int, float]) -> Self:
        """Sum up the values by seed; NaN for a seed that failed."""
        values = [value for value in found.values() if math.isfinite(value)]
        return cls(
            objective.metric,
            trial,
            chosen,
            seeds=list(found),
            values=values,
            failed=[seed for seed, value in found.items() if not math.isfinite(value)],
            mean=statistics.fmean(values) if values else None,
            std=statistics.stdev(values) if len(values) > 1 else None,
            min=min(values, default=None),
            max=max(values, default=None),
            ahead=sum(objective.sign * chosen < objective.sign * value for value in values),
        )

    @property
    def sentence(self) -> str:
        """See `Repetition`."""
        others, count = plural(len(self.seeds), "other seed"), len(self.values)
        if not count:
            return f"Trained again with {others}, the winner has no finite {self.metric} at all."
        spread = "" if self.std is None else f" ± {self.std:.2g} (from {self.min:.4g} to {self.max:.4g})"
        rank = {0: "none", count: f"all {count}" if count > 1 else "it"}.get(self.ahead, f"{self.ahead} of {count}")
        failed = f"; {len(self.failed)} of them failed" if self.failed else ""
        return (
            f"Trained again with {others}, the winner has a {self.metric} of {self.mean:.4g}{spread}{failed}; the "
            f"study's {self.chosen:.4g} is better than {rank}."
        )

    @property
    def row(self) -> tuple[Number, float, float | None] | None:
        """See `Repetition`."""
        if self.mean is None:
            return None
        label = f"{self.metric} over " + plural(len(self.values), "other seed").replace(" ", "\u00a0", 1)
        return Number(label, "value", "Mean and standard deviation."), self.mean, self.std
