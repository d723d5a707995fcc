"""What a study's record says, in order: its objectives, axes, trials by state, and which are the best.

Every section of the study report is made from the `Study` of here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tradingbot_exp.config.losses import loss_title
from tradingbot_exp.evaluation.metrics.objectives import Objective
from tradingbot_exp.plots.numbers import count, significant
from tradingbot_exp.reporting.page.metrics import JUDGED
from tradingbot_exp.reporting.study.axes import Axis, axes_of
from tradingbot_exp.tracking.reading.fetch import has_values, rank_trials
from tradingbot_exp.tracking.reading.records import StudyRecord, TrialRecord
from tradingbot_exp.tracking.reading.run_record import RunRecord
from tradingbot_exp.tracking.run_names import FINISHED_STATES

STATES = ("complete", "pruned", "failed", "interrupted", "running")
FEW = 4
"""Different complete trials below which nothing can be said about a space."""
_WIDE = 20.0  # largest to smallest value from which on an axis is logarithmic
_FAR = 8.0  # interquartile ranges from the middle half beyond which a value is off the scale


@dataclass(frozen=True, eq=False)
class Study:
    """A study, ready to be told."""

    record: StudyRecord
    objectives: tuple[Objective, ...]
    assumed: bool  # the direction is not on record, and taken to be ``minimize``
    axes: tuple[Axis, ...]
    duplicates: dict[str, str]  # keys that always have another key's value
    trials: tuple[TrialRecord, ...]  # all attempts by number; by their start, from 0, where they have none
    # Complete with finite values: of one objective all, the best first; of several, the Pareto front by the first.
    best: tuple[TrialRecord, ...]

    @property
    def run(self) -> RunRecord:
        """The parent."""
        return self.record.run

    @property
    def several(self) -> bool:
        """Whether there is more than one objective."""
        return len(self.objectives) > 1

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many attempts are in each state, those that occur."""
        found = Counter(trial.state for trial in self.trials)
        return {state: found[state] for state in (*STATES, *found) if found[state]}

    @cached_property
    def complete(self) -> tuple[TrialRecord, ...]:
        """Complete trials with finite values, by number."""
        return tuple(trial for trial in self.trials if has_values(trial, len(self.objectives)))

    @cached_property
    def distinct(self) -> tuple[TrialRecord, ...]:
        """Those of `complete` that did not take an earlier trial's result."""
        return tuple(trial for trial in self.complete if trial.duplicate_of is None)

    @property
    def front(self) -> tuple[TrialRecord, ...]:
        """The trials to be drawn out: the best, or all of the Pareto front."""
        return self.best if self.several else self.best[:1]

    @property
    def winner(self) -> TrialRecord | None:
        """The best trial; of several objectives there is none."""
        return self.best[0] if self.best and not self.several else None

    @property
    def planned(self) -> int | None:
        """How many trials there were to be, if that is known."""
        text = self.run.params.get("hpo.num_trials", "")
        return int(text) if text.isdecimal() else None

    @property
    def of_planned(self) -> str:
        """How many trials there were to be, as `` of 12``; empty if that is not known, or if there are more."""
        return "" if self.planned is None or self.reached > self.planned else f" of {self.planned:,}"

    @property
    def reached(self) -> int:
        """How many trials count: those that are over and were not interrupted."""
        return sum(self.counts.get(state, 0) for state in FINISHED_STATES)

    @property
    def by_state(self) -> str:
        """How many attempts ended in which state, in words."""
        return ", ".join(f"{number:,} {state}" for state, number in self.counts.items()) or "none"

    def better(self, objective: int = 0) -> str:
        """Say which values of an objective are better: ``higher`` or ``lower``."""
        return "higher" if self.objectives[objective].sign < 0 else "lower"

    def way(self, objective: int = 0) -> str:
        """Say which value of an objective is the best: ``highest`` or ``lowest``."""
        return "highest" if self.objectives[objective].sign < 0 else "lowest"

    def costs(self, trials: Sequence[TrialRecord], objective: int = 0) -> NDArray[np.float64]:
        """Return the values of an objective so that lower is better."""
        sign = self.objectives[objective].sign
        return np.array([sign * trial.values[objective] for trial in trials], dtype=np.float64)

    def ranked(self, objective: int = 0) -> list[TrialRecord]:
        """Sort the complete trials by an objective, the best first; of equals, the first."""
        costs = self.costs(self.complete, objective)
        return [self.complete[i] for i in np.argsort(costs, kind="stable")]


def study_of(record: StudyRecord) -> Study:
    """Put a record in order."""
    trials = tuple(
        trial if trial.number >= 0 else replace(trial, number=place)
        for place, trial in enumerate(sorted(record.trials, key=lambda each: (each.number, each.started)))
    )
    trials = tuple(sorted(trials, key=lambda each: (each.number, each.started)))
    metrics, directions = record.metrics, record.directions
    assumed = False
    if not any(trial.values for trial in trials):
        named = _returned(trials)
        if named:
            assumed, metrics, directions = True, named, ("minimize",) * len(named)
            trials = tuple(_with_values(trial, named) for trial in trials)
    objectives = tuple(Objective(metric, way) for metric, way in zip(metrics, directions, strict=True))
    axes, duplicates = axes_of(record.space, trials)
    return Study(record, objectives, assumed, axes, duplicates, trials, rank_trials(trials, directions))


def value_text(metric: str, value: float | None, digits: int = 4) -> str:
    """Write a metric's value with the digits and the unit that it is known by, else with significant digits."""
    kind = JUDGED.get(metric.removeprefix("val_"))
    if kind is None or kind.text is significant or not metric.startswith("val_"):
        return significant(value, digits)
    return kind.text(value)


def metric_label(metric: str, run: RunRecord) -> str:
    """Name a metric for an axis: as MLflow has it, and what it is."""
    kind = JUDGED.get(metric.removeprefix("val_")) if metric.startswith("val_") else None
    if metric in ("val_loss", "best_val_loss", "final_loss") and run.params.get("training.loss"):
        return f"{metric} ({loss_title(run.params)})"
    return f"{metric} ({kind.label})" if kind is not None else metric


def best_so_far(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lowest cost up to each trial."""
    return np.minimum.accumulate(costs) if costs.size else costs


@dataclass(frozen=True)
class Scale:
    """How an axis of values is drawn."""

    log: bool
    # What is to be seen, in values.
    low: float
    high: float
    off: int  # how many values lie beyond

    @property
    def range(self) -> list[float]:
        """The range as Plotly takes it, with a margin."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        return [low - margin, high + margin]

    def note(self, noun: str = "value", plural: str = "") -> str:
        """Say how many values are off the scale; empty for none."""
        return f" · {count(self.off, noun, plural)} off the scale" if self.off else ""


def scale_of(values: Sequence[float] | NDArray[np.float64], keep: float | None = None) -> Scale:
    """Choose a log axis for positive values that span decades, and leave out what is far from all others.

    Parameters
    ----------
    values : array_like
        What is not finite is ignored.
    keep : float, optional
        A value that has to be seen.
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    if not array.size:
        return Scale(False, 0.0, 1.0, 0)
    log = bool(array.min() > 0 and array.max() > _WIDE * array.min())
    drawn = np.log10(array) if log else array
    first, last = np.quantile(drawn, [0.25, 0.75])
    reach = _FAR * (last - first)
    inside = np.abs(drawn - np.clip(drawn, first, last)) <= reach if reach > 0 else np.ones(drawn.size, bool)
    if keep is not None:
        inside |= array == keep
    seen = array[inside]
    return Scale(log, float(seen.min()), float(seen.max()), int(array.size - inside.sum()))


def _returned(trials: Sequence[TrialRecord]) -> tuple[str, ...]:
    """Name what the jobs of a foreign sweep returned: ``objective``, or ``objective_0`` and so on."""
    names = {name for trial in trials for name in trial.metrics}
    if "objective" in names:
        return ("objective",)
    several = [name for name in names if name.startswith("objective_") and name[10:].isdecimal()]
    return tuple(sorted(several, key=lambda name: int(name[10:])))


def _with_values(trial: TrialRecord, names: Sequence[str]) -> TrialRecord:
    if trial.state != "complete" or not all(name in trial.metrics for name in names):
        return trial
    return replace(trial, values=tuple(trial.metrics[name] for name in names))
