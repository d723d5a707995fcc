"""The axes of a study's space: where a trial's value lies on each, as a place to draw and as a share of its range.

An axis is made of what ``study/search_space.json`` says and of what the trials have, which is all there is of a plain
sweep. Values that the space does not name, such as those of another version of it, make it longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tradingbot_exp.plots.numbers import count, significant, superscript
from tradingbot_exp.reporting.page.configuration import shown
from tradingbot_exp.tracking.reading.records import TrialRecord

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


# Distinct numbers from which on what the trials differ in is taken for a range, where no space says what it is; and
# the ratio of the last to the first from which on its scale is taken to be a log scale.
_RANGE_VALUES, _LOG_RATIO = 20, 100.0


@dataclass(frozen=True)
class Axis:
    """One searched parameter."""

    key: str
    name: str  # the last part of the key, or all of it where two end alike
    kind: Literal["float", "int", "choice"]
    # Ends of a range; of a choice, 0 and the number of choices less one.
    low: float
    high: float
    log: bool = False
    choices: tuple[str, ...] = ()  # as MLflow has them: numbers in rising order, else as they were written
    ordered: bool = True  # a range, or a choice among numbers: what has a distance
    step: float | None = None
    described: bool = True  # by the study's space; else it is only what the trials differ in

    def place(self, value: object) -> float:
        """Return where to draw a value: of a choice its number from 0 on, of a log range log₁₀; NaN for none."""
        if self.kind == "choice":
            text = _text(value)
            return float(self.choices.index(text)) if text in self.choices else math.nan
        number = _number(value)
        if number is None or (self.log and number <= 0):
            return math.nan
        return math.log10(number) if self.log else number

    def share(self, value: object) -> float:
        """Return how far along the axis a value lies, from 0 to 1; 0.5 on an axis of one value, NaN for none."""
        return self.share_of_place(self.place(value))

    def share_of_place(self, place: float) -> float:
        """Return how far along the axis a place is."""
        low, high = self.ends
        return (place - low) / (high - low) if high > low else 0.5 + 0 * place

    @property
    def ends(self) -> tuple[float, float]:
        """Places of the first and the last value."""
        if self.log:
            return math.log10(self.low), math.log10(self.high)
        return self.low, self.high

    @property
    def single(self) -> bool:
        """Whether there is one value only."""
        return self.low == self.high

    def text(self, value: object) -> str:
        """Write a value for a reader."""
        if value is None:
            return "–"
        number = _number(value)
        return shown(_text(value)) if self.kind == "choice" or number is None else significant(number)

    def ticks(self) -> list[tuple[float, str]]:
        """Return places and texts to label the axis with: all choices; the ends and what is round between them."""
        if self.kind == "choice":
            return [(float(place), shown(text)) for place, text in enumerate(self.choices)]
        low, high = self.ends
        inner: list[float] = []
        if self.log:
            inner = [10.0**power for power in range(math.ceil(low), math.floor(high) + 1)][:7]
        elif high > low:
            middle = (self.low + self.high) / 2
            inner = [middle] if self.kind == "float" or middle == int(middle) else []
        places = {self.place(self.low): self.low, self.place(self.high): self.high}
        for value in inner:
            if all(abs(self.place(value) - place) > 0.08 * (high - low) for place in places):
                places[self.place(value)] = value
        return [(place, tick_text(value)) for place, value in sorted(places.items())]

    def distribution(self) -> BaseDistribution:
        """Return what Optuna needs to know of it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution(self.choices)
        if self.kind == "int":
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def encoded(self, value: object) -> Any:
        """Return a value as `distribution` has it; None if it is none of its values."""
        if math.isnan(self.place(value)):
            return None
        if self.kind == "choice":
            return _text(value)
        number = _number(value) or 0.0
        return int(number) if self.kind == "int" else number

    def described_as(self) -> str:
        """Say in words what was searched."""
        if self.kind == "choice":
            return f"{'one of' if self.described else 'given:'} {'; '.join(shown(text) for text in self.choices)}"
        words = f"{tick_text(self.low, 6)} to {tick_text(self.high, 6)}"
        if self.step is not None and not (self.kind == "int" and self.step == 1):
            words += f" in steps of {significant(self.step)}"
        kind = "whole numbers, " if self.kind == "int" else ""
        if not self.described:
            return f"given: {kind}{words}"
        return kind + words + (", evenly on a log scale" if self.log else "")


def axes_of(space: Mapping[str, Any], trials: Sequence[TrialRecord]) -> tuple[tuple[Axis, ...], dict[str, str]]:
    """Make the axes of a space and its trials.

    Returns
    -------
    axes : tuple of Axis
    duplicates : dict of str to str
        Keys that have the value of another key in every trial, and which: one axis stands for both.
    """
    keys = list(dict.fromkeys([*space, *(key for trial in trials for key in trial.params)]))
    columns = {key: tuple(_text(trial.params.get(key)) for trial in trials) for key in keys}
    duplicates: dict[str, str] = {}
    kept: list[str] = []
    for key in keys:
        duplicate = next(
            (other for other in kept if len(set(columns[key])) > 1 and columns[other] == columns[key]), None
        )
        if duplicate is None:
            kept.append(key)
        else:
            duplicates[key] = duplicate
    ends = [key.rpartition(".")[2] for key in kept]
    axes = []
    for key, end in zip(kept, ends, strict=True):
        name = end if ends.count(end) == 1 else key
        values = [trial.params[key] for trial in trials if key in trial.params]
        axis = _axis(key, name, space.get(key), values)
        if axis is not None:
            axes.append(axis)
    return tuple(axes), duplicates


def space_size(axes: Sequence[Axis]) -> str:
    """Say how many points a space of choices has; empty where a range makes them countless."""
    if not axes or any(axis.kind != "choice" for axis in axes):
        return ""
    return count(math.prod(len(axis.choices) for axis in axes), "point")


def tick_text(value: float, digits: int = 3) -> str:
    """Write a number shortly, with zeros at its end left out: ``0.0001``, ``10⁻⁶``, ``3×10⁻⁵``, ``12,000``."""
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text.replace("-", "−")
    mantissa, _, exponent = text.partition("e")
    if 0 < int(exponent) < 7:
        return f"{value:,.0f}".replace("-", "−")
    power = f"10{superscript(int(exponent))}"
    return power if mantissa == "1" else f"{mantissa}×{power}".replace("-", "−")


def _axis(key: str, name: str, entry: Any, values: Sequence[Any]) -> Axis | None:
    """Make one axis of its entry in the space, if there is one, and of the trials' values."""
    described = isinstance(entry, Mapping)
    if described and {"low", "high"} <= set(entry):
        there = [number for number in map(_number, values) if number is not None and math.isfinite(number)]
        log = bool(entry.get("log"))
        there = [number for number in there if number > 0 or not log]
        low, high = (float(bound([each, *there])) for bound, each in ((min, entry["low"]), (max, entry["high"])))
        log = log and low > 0
        whole = isinstance(entry["low"], int) and isinstance(entry["high"], int)
        step = entry.get("step")
        return Axis(key, name, "int" if whole else "float", low, high, log, step=step)
    given = list(entry.get("choices") or ()) if described else []
    texts = list(dict.fromkeys([*map(_text, given), *map(_text, values)]))
    if not texts:
        return None
    numbers = [_number(text) for text in texts]
    ordered = all(number is not None and math.isfinite(number) for number in numbers)
    if ordered and not described and len(texts) > _RANGE_VALUES:
        there = [number for number in numbers if number is not None]
        low, high = min(there), max(there)
        whole = all(isinstance(value, int) for value in values)
        log = low > 0 and high / low >= _LOG_RATIO
        return Axis(key, name, "int" if whole else "float", low, high, log, described=False)
    if ordered:
        texts = [text for _, text in sorted(zip(numbers, texts, strict=True), key=lambda pair: pair[0] or 0.0)]
    last = float(len(texts) - 1)
    return Axis(key, name, "choice", 0.0, last, choices=tuple(texts), ordered=ordered, described=described)


def _text(value: object) -> str:
    """Write a value as MLflow has it; numbers that are equal alike."""
    number = _number(value)
    return str(value) if number is None or not math.isfinite(number) else f"{number:.15g}"


def _number(value: object) -> float | None:
    """Read a number; a truth value is none."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
