"""Hydra's override grammar in plain values: a value written for it, and a sweep read from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil, ulp
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, Quote, QuotedString, RangeSweep
from hydra.errors import HydraException


class GrammarError(ValueError):
    """A text that the grammar does not have."""


class EmptySweepError(ValueError):
    """A sweep over no value, or over one that no number can hold."""


@dataclass(frozen=True)
class Choice:
    """Values to choose among, in order."""

    values: list[Any]


@dataclass(frozen=True)
class Span:
    """``interval(low,high)``: numbers from `low` to `high`; whole ones where both ends are."""

    low: float
    high: float
    log: bool


@dataclass(frozen=True)
class Steps:
    """``range(...)``: every `step` from `low` to `high`, both included; whole numbers where all three are."""

    low: float
    high: float
    step: float


@dataclass(frozen=True)
class Word:
    """One override, as the grammar reads it.

    Attributes
    ----------
    key : str
    text : str
        What stands behind the equals sign.
    value : Choice, Span, Steps, EmptySweepError or object
        A sweep, or the one value that is given; None of a ``glob``.
    is_sweep : bool
    tags : tuple of str
        Of ``tag(...)`` what has no meaning for the sweep that it stands at, sorted.
    is_plain : bool
        False where a key is deleted, or a package is named.
    """

    key: str
    text: str
    value: Any
    is_sweep: bool
    tags: tuple[str, ...] = ()
    is_plain: bool = True


def read_word(text: str) -> Word:
    """Read one override, ``KEY=VALUE`` or ``KEY=SWEEP``.

    An order asked for by ``shuffle`` is not kept.

    Raises
    ------
    GrammarError
        It is no override.
    """
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise GrammarError(str(error)) from error
    plain = not override.is_delete() and override.package is None
    behind = (override.input_line or "").partition("=")[2]
    sweep = override.value() if plain else None
    if not override.is_sweep_override():
        return Word(override.key_or_group, behind, sweep, False, is_plain=plain)
    tags: set[str] = getattr(sweep, "tags", set())
    unused = tuple(sorted(tags - ({"log"} if isinstance(sweep, IntervalSweep) else set())))
    value = None if unused else _read_sweep(sweep)
    return Word(override.key_or_group, behind, value, True, unused, plain)


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell overrides that fix a value from those that sweep over several."""
    parsed: list[Override] = OverridesParser.create().parse_overrides(list(words))
    lines = [(str(override.input_line), override.is_sweep_override()) for override in parsed]
    return [line for line, sweeps in lines if not sweeps], [line for line, sweeps in lines if sweeps]


def quote(value: Any) -> str:
    """Write a value so that Hydra's override grammar reads back the same value of the same type."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(quote(element) for element in value)}]"
    text = str(value)
    if re.fullmatch(r"[A-Za-z_][\w-]*", text, re.ASCII) and text.lower() not in ("null", "true", "false", "nan", "inf"):
        return text
    return QuotedString(text, Quote.single).with_quotes()


def _read_sweep(sweep: Any) -> Choice | Span | Steps | EmptySweepError | None:
    if isinstance(sweep, ChoiceSweep):
        return Choice([_plain(element) for element in sweep.list])
    if isinstance(sweep, IntervalSweep):
        low, high = (float("nan") if end is None else end for end in (sweep.start, sweep.end))
        return Span(low, high, "log" in sweep.tags)
    if not isinstance(sweep, RangeSweep):
        return None
    if sweep.step == 0:
        return EmptySweepError("a range needs a nonzero step")
    try:
        return Choice(list(sweep)) if sweep.transformers else _read_steps(sweep)
    except (HydraException, ValueError, ArithmeticError) as error:
        return EmptySweepError(str(error))


def _read_steps(sweep: RangeSweep) -> Choice | Steps | EmptySweepError:
    """Name the ends of a range, the last of which Hydra leaves out; a list where floats cannot hold its numbers."""
    nothing = EmptySweepError("a range needs at least one value")
    numbers = sweep.range()
    if isinstance(numbers, range):
        ends = (numbers[0], numbers[-1]) if numbers else ()
        return Steps(min(ends), max(ends), abs(numbers.step)) if ends else nothing
    start, stop, step = (Decimal(str(number)) for number in (sweep.start, sweep.stop, sweep.step))
    count = ceil((Fraction(stop) - Fraction(start)) / Fraction(step))
    if count <= 0:
        return nothing
    low, high = sorted((start, start + (count - 1) * step))
    exact = [float(number) for number in (low, high, abs(step))]
    is_exact = all(Decimal(str(number)) == there for number, there in zip(exact, (low, high, abs(step)), strict=True))
    too_fine = low != high and exact[2] < max(ulp(exact[0]), ulp(exact[1]))
    return Choice(list(sweep)) if too_fine or not is_exact else Steps(*exact)


def _plain(element: Any) -> Any:
    """Take the text out of Hydra's quoted strings."""
    if isinstance(element, list):
        return [_plain(inner) for inner in element]
    return element.text if isinstance(element, QuotedString) else element
