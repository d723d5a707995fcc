"""Cut rows in time order into train, validation and test, with a gap where targets would overlap."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradingbot_exp.config.facts import wrong
from tradingbot_exp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import SplitConfig


@dataclass(frozen=True)
class Block:
    """The rows that one part of the split has forecasts and targets for.

    Attributes
    ----------
    name : str
    start, stop : int
        The first row, and the one after the last.
    hole : tuple of int and int, optional
        The rows ``[hole[0], hole[1])``, within the others, do not belong to it.
    without : tuple of int
        Further rows within the others that do not, as some of a panel's: ascending, none of the hole.
    """

    name: str
    start: int
    stop: int
    hole: tuple[int, int] | None = None
    without: tuple[int, ...] = ()

    def __len__(self) -> int:
        missing = 0 if self.hole is None else self.hole[1] - self.hole[0]
        return max(self.stop - self.start - missing - len(self.without), 0)

    @property
    def rows(self) -> slice | NDArray[np.intp]:
        """What picks the rows out of an array: a slice; where some are left out, their numbers."""
        return self.numbers if self.hole is not None or self.without else slice(self.start, self.stop)

    @cached_property
    def numbers(self) -> NDArray[np.intp]:
        """The rows' numbers, shape (len(block),), ascending."""
        first, after = self.hole or (self.stop, self.stop)
        found = np.concatenate([np.arange(self.start, first), np.arange(after, self.stop)])
        return np.setdiff1d(found, self.without, assume_unique=True) if self.without else found


def joined(blocks: Sequence[Block]) -> Block:
    """Return blocks that follow each other without a gap as one, by the name of the first."""
    without = tuple(row for block in blocks for row in block.without)
    return replace(blocks[0], stop=blocks[-1].stop, without=without)


class Split(NamedTuple):
    """The three blocks, in time order, none empty."""

    train: Block
    val: Block
    test: Block


def split_rows(
    index: pd.DatetimeIndex,
    horizon: int,
    split: SplitConfig,
    sequence_length: int = 1,
    covered: pd.DatetimeIndex | None = None,
    *,
    label: str = "the data",
) -> Split:
    """Cut the rows of `index` by fractions or by dates.

    The last `horizon` rows of train and of validation are dropped: their targets reach into the next block.
    Train also loses its first ``sequence_length - 1`` rows, whose windows would start before the data do.

    Parameters
    ----------
    index : pandas.DatetimeIndex of shape (n,)
        The timestamps of all valid rows, ascending.
    horizon, sequence_length : int
        Bars, at least 1.
    split : SplitConfig
        Fractions, or dates that are inclusive. A date without a time is the whole day, in the index's zone.
    covered : pandas.DatetimeIndex, optional
        The timestamps of all bars loaded, warm-up included: dates outside are refused. `index` by default.
    label : str
        The data, as messages name them.

    Raises
    ------
    ConfigError
        If fractions or dates make no sense, or a date is outside the data.
    DataError
        If there are too few rows to fill each block.
    """
    dated = any((split.train_end, split.val_end, split.test_end))
    if dated:
        ends = _ends_by_date(index, split, index if covered is None else covered)
    else:
        ends = _ends_by_fraction(len(index), split)
    cuts = Split(
        Block("train", sequence_length - 1, ends[0] - horizon),
        Block("val", ends[0], ends[1] - horizon),
        Block("test", ends[1], ends[2]),
    )
    for block, least in zip(cuts, (2, 1, 1), strict=True):
        if len(block) < least:
            raise DataError(
                f"{label}: too few rows: of {len(index)} usable ones, data.split leaves {len(block)} for "
                f"{block.name}, with data.horizon={horizon} and data.sequence_length={sequence_length}; "
                f"expected at least {least}. Give more bars, or change data.split."
            )
    return cuts


def _ends_by_fraction(n: int, split: SplitConfig) -> tuple[int, int, int]:
    fractions = {"train": split.train, "val": split.val, "test": split.test}
    total = 0.0
    ends = []
    for name, fraction in fractions.items():
        if fraction is None or not 0 < fraction < 1:
            raise wrong(f"data.split.{name}", "a fraction between 0 and 1, both excluded", fraction)
        total += fraction
        ends.append(int(n * total + 1e-6))  # 0.1 + 0.2 times 10 is 3, not 3.0000000000000004 or 2.9999999999999996
    if total > 1 + 1e-9:
        raise ConfigError(f"data.split: train + val + test must be at most 1; got {total:g}.")
    return ends[0], ends[1], ends[2]


def _ends_by_date(index: pd.DatetimeIndex, split: SplitConfig, covered: pd.DatetimeIndex) -> tuple[int, int, int]:
    for name in ("train_end", "val_end"):
        if getattr(split, name) is None:
            raise ConfigError(f"data.split.{name} is not set; a split by dates needs train_end and val_end.")
    ends: list[int] = []
    before: tuple[str, pd.Timestamp] | None = None
    for name in ("train_end", "val_end", "test_end"):
        given = getattr(split, name)
        if given is None:
            return ends[0], ends[1], len(index)
        start, end = moments_of(f"data.split.{name}", given, index)
        if end < covered[0] or start > covered[-1]:
            hint = " Leave it out to go to the last bar." if name == "test_end" else ""
            raise ConfigError(f"data.split.{name}={given} is outside the data, {covered[0]} to {covered[-1]}.{hint}")
        if before is not None and end <= before[1]:
            raise wrong(f"data.split.{name}", f"after data.split.{before[0]}", given)
        before = (name, end)
        ends.append(int(index.as_unit("ns").searchsorted(end, side="right")))
    return ends[0], ends[1], ends[2]


def moments_of(key: str, given: object, index: pd.DatetimeIndex) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the first and the last instant that the date or time `given` means, in the zone of `index`.

    Raises
    ------
    ConfigError
        It is neither, or has a time zone where `index` has none; the message begins with `key`.
    """
    given = str(given).strip()
    try:
        if not re.match(r"\d{4}-\d{2}-\d{2}", given):
            raise ValueError
        start = pd.Timestamp(given)
    except ValueError as error:
        raise wrong(key, "a date such as 2010-12-31", given) from error
    if len(given) > len("2010-12-31"):
        if start.tz is not None and index.tz is None:
            raise ConfigError(f"{key}={given} has a time zone and the data have none; leave it out.")
        instant = start.tz_convert(index.tz) if start.tz is not None else _in_zone(start, index)
        return instant, instant
    tomorrow = _in_zone(start + pd.Timedelta(days=1), index)
    return _in_zone(start, index), tomorrow - pd.Timedelta(1, "ns")


def _in_zone(moment: pd.Timestamp, index: pd.DatetimeIndex) -> pd.Timestamp:
    # A clock set back shows one hour twice: the later one is meant, so that nothing of the day is lost.
    return moment.as_unit("ns").tz_localize(index.tz, ambiguous=False, nonexistent="shift_forward")
