"""Whose rows data have, and which rows the dates of a block are: those whose target is known when it is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from tradingbot_exp.data.features import FittedFeature
from tradingbot_exp.data.panel import Integers, Layout
from tradingbot_exp.data.splits import Block
from tradingbot_exp.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class Panel:
    """Whose rows data have, and what is known of each symbol; n rows on D dates.

    Attributes
    ----------
    layout : Layout
    calendar : DatetimeIndex of shape (D,)
        The dates that have rows; of one instrument that of each.
    known : ndarray of int, shape (n,)
        The date on which each row's target is known, as its place in `calendar`: `horizon` after its own, or more where
        its symbol misses bars.
    horizon, sequence_length : int
        Bars.
    bars : mapping of str to DataFrame
        The adjusted bars that features were computed from, by symbol; empty for a table.
    fitted : mapping of str to dict
        What features learned from the train bars of each symbol, by symbol and name.
    """

    layout: Layout
    calendar: pd.DatetimeIndex
    known: Integers
    horizon: int
    sequence_length: int
    bars: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    fitted: Mapping[str, dict[str, FittedFeature]] = field(default_factory=dict)

    def in_rows(self, dates: Block, validated: Block | None = None) -> Block:
        """Return the rows of the dates of a block, of a train block with those that its model is `validated` on.

        Without those that have too few rows of their symbol before them for a window, those whose target is known only
        `horizon` dates or more after the block, or the part of it before its hole, is over, and those after the
        validated dates whose window reaches further back than one of a symbol that misses no bar.
        """
        edges = np.append(self.layout.starts, len(self.layout))
        start, stop = int(edges[dates.start]), int(edges[dates.stop])
        hole = None if dates.hole is None else (int(edges[dates.hole[0]]), int(edges[dates.hole[1]]))
        layout, back = self.layout, self.sequence_length - 1
        kept = layout.earlier[start:stop] >= back
        oldest = layout.places[start:stop] - np.minimum(layout.earlier[start:stop], back)
        since = layout.date[layout.by_symbol[oldest]]
        for first, last in pairwise((dates.start, *(dates.hole or ()), dates.stop)):
            part = slice(int(edges[first]) - start, int(edges[last]) - start)
            kept[part] &= self.known[start:stop][part] < last + self.horizon
            if validated is not None and first >= validated.stop:
                kept[part] &= since[part] >= first - back
        if hole is not None:
            kept[hole[0] - start : hole[1] - start] = True
        return Block(dates.name, start, stop, hole, tuple((start + np.flatnonzero(~kept)).tolist()))

    def in_dates(self, rows: Block) -> Block:
        """Return the dates of a block that `in_rows` made, or that starts and ends with a date."""
        edges = np.append(self.layout.starts, len(self.layout))

        def date(row: int) -> int:
            return int(np.searchsorted(edges, row))

        hole = None if rows.hole is None else (date(rows.hole[0]), date(rows.hole[1]))
        return Block(rows.name, date(rows.start), date(rows.stop), hole)

    def seen(self, block: Block) -> Block:
        """Return the rows of the dates of a block, and of those that their windows reach back to."""
        edges = np.append(self.layout.starts, len(self.layout))
        first = self.in_dates(block).start - self.sequence_length + 1
        return replace(block, start=int(edges[first]), without=())


@contextmanager
def naming(symbol: str) -> Iterator[None]:
    """Name the symbol in what an error within says of it; "" names none, as there is one alone."""
    try:
        yield
    except (ConfigError, DataError) as error:
        if not symbol:
            raise
        raise type(error)(f"{symbol}: {error}") from error
