"""Which date and symbol rows are of: in order of date, and within a date in order of symbol."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tradingbot_exp.data.cells import FloatArray
from tradingbot_exp.errors import DataError

Integers = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Layout:
    """The dates and symbols of n rows, which are in order of date, and within a date in order of symbol.

    Attributes
    ----------
    date : ndarray of int, shape (n,)
        Which date each row is of, as its place in a calendar of all dates; ascending.
    symbol : ndarray of int, shape (n,)
        Which symbol, as its place in `names`.
    ahead : ndarray of int, shape (n,)
        Dates from each row to the next bar of its symbol: 1, or more where the symbol has no bar on the next date.
    names : tuple of str
        The symbols, ascending.
    is_panel : bool
        Whether several symbols were asked for, of which one may be left: what is shown and kept of rows then says
        whose they are.
    """

    date: Integers
    symbol: Integers
    ahead: Integers
    names: tuple[str, ...]
    is_panel: bool = True

    @staticmethod
    def of_one(n: int, symbol: str = "", *, is_panel: bool = False) -> Layout:
        """Return the layout of n rows of one symbol, each on a date of its own."""
        zero = np.zeros((), np.intp)
        return _OfOne(np.arange(n), np.broadcast_to(zero, n), np.broadcast_to(zero + 1, n), (symbol,), is_panel)

    def __len__(self) -> int:
        return len(self.date)

    def take(self, rows: slice | NDArray[Any]) -> Layout:
        """Return the layout of some of the rows, in their order."""
        return replace(self, date=self.date[rows], symbol=self.symbol[rows], ahead=self.ahead[rows])

    @property
    def is_alone(self) -> bool:
        """Whether all rows are of one symbol, so that they follow each other as its bars do."""
        return len(self.names) == 1

    @property
    def symbols(self) -> NDArray[np.str_]:
        """The symbol of each row by name, shape (n,)."""
        return np.array(self.names)[self.symbol]

    @cached_property
    def starts(self) -> Integers:
        """The first row of each date that has rows, shape (dates,)."""
        return np.flatnonzero(np.diff(self.date, prepend=-1))

    @cached_property
    def counts(self) -> Integers:
        """The rows of each date that has any, shape (dates,)."""
        return np.diff(self.starts, append=len(self.date))

    @cached_property
    def days(self) -> Integers:
        """Which of the dates that have rows each row is of, counted from 0, shape (n,)."""
        return np.repeat(np.arange(len(self.starts)), self.counts)

    @cached_property
    def by_symbol(self) -> Integers:
        """The rows in order of symbol, and of each symbol in order of date, shape (n,)."""
        return np.argsort(self.symbol.astype(np.min_scalar_type(len(self.names))), kind="stable")  # speed: by digits

    @cached_property
    def _ends(self) -> Integers:
        """Where the rows of each symbol end in `by_symbol`, shape (symbols,)."""
        return np.cumsum(np.bincount(self.symbol, minlength=len(self.names)))

    def rows_of(self, code: int) -> Integers:
        """Return the rows of one symbol, ascending."""
        return np.asarray(self.by_symbol[self._ends[code - 1] if code else 0 : self._ends[code]])

    def ordered(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values of rows, shape (n, ...), in the order of `by_symbol`."""
        return np.asarray(values[self.by_symbol])

    @cached_property
    def places(self) -> Integers:
        """The place of each row in `by_symbol`, shape (n,)."""
        places = np.empty(len(self), np.intp)
        places[self.by_symbol] = np.arange(len(self))
        return places

    @cached_property
    def earlier(self) -> Integers:
        """How many rows of its symbol come before each row, shape (n,)."""
        first = np.append(0, self._ends[:-1])
        return np.asarray(self.places - first[self.symbol])

    @cached_property
    def holding(self) -> Integers:
        """The row whose weight each symbol has on each date, counted from 1, or 0 where it has none: shape (D, S).

        On a date without a row a symbol keeps its weight, until after its last row its next bar comes, which is where
        it can be sold.
        """
        dates = self.date[self.starts]
        row = np.zeros((len(dates), len(self.names)), dtype=np.intp)
        if not row.size:
            return row
        row[self.days, self.symbol] = np.arange(1, len(self) + 1)
        row = np.maximum.accumulate(row, axis=0)
        last = row[-1] - 1
        closed = np.searchsorted(dates, self.date[last] + self.ahead[last])
        row[np.arange(len(dates))[:, None] >= closed] = 0
        return row

    @cached_property
    def booked(self) -> tuple[Integers, Integers]:
        """The rows whose returns are booked by the last date, and the dates that they are: those before the next bar.

        Dates are counted as in `days`.
        """
        booked = self.date + self.ahead - 1
        rows = np.flatnonzero(booked <= self.date.max(initial=0))
        return rows, np.searchsorted(self.date[self.starts], booked[rows], side="right") - 1

    def sums(self, values: FloatArray) -> FloatArray:
        """Add up over the symbols of each date: shape (n,) or (n, F) to (dates,) or (dates, F)."""
        return np.asarray(np.add.reduceat(values, self.starts), dtype=np.float64)

    def means(self, values: FloatArray) -> FloatArray:
        """Average over the symbols of each date; see `sums`."""
        counts = self.counts if values.ndim == 1 else self.counts[:, None]
        return np.asarray(self.sums(values) / counts)

    def draw(self, days: NDArray[np.intp]) -> tuple[Integers, Layout]:
        """Return the rows of some of the dates, in the order and as often as they are named, and their layout."""
        counts = self.counts[days]
        ends = np.cumsum(counts)
        rows = np.arange(ends[-1] if len(ends) else 0) + np.repeat(self.starts[days] - ends + counts, counts)
        date = np.repeat(np.arange(len(days)), counts)
        return rows, replace(self, date=date, symbol=self.symbol[rows], ahead=np.ones_like(rows))

    def windows(self, rows: NDArray[np.intp], length: int) -> Integers:
        """Return the rows that each of `rows` looks back on, itself the last, shape (len(rows), length).

        Each has `length` − 1 rows of its symbol before it.
        """
        back = np.arange(1 - length, 1)
        return np.asarray(self.by_symbol[self.places[rows][:, None] + back])

    def windows_of(
        self, values: NDArray[Any], rows: slice | NDArray[np.intp], length: int
    ) -> NDArray[np.floating[Any]]:
        """Return the windows of values of shape (n, F) that end with `rows`, shape (len(rows), length, F), read-only.

        Oldest first; see `windows`.
        """
        return np.asarray(values[self.windows(np.arange(len(self))[rows], length)])


class _OfOne(Layout):
    """The layout of one symbol: there is nothing to sort or to add up, and one array stands for all orders.

    Speed and memory: most data are of one instrument, and what concerns them is called some thousand times in a study.
    """

    @cached_property
    def starts(self) -> Integers:
        return np.arange(len(self))

    @cached_property
    def days(self) -> Integers:
        return self.starts

    @cached_property
    def by_symbol(self) -> Integers:
        return self.starts

    @cached_property
    def places(self) -> Integers:
        return self.starts

    @cached_property
    def earlier(self) -> Integers:
        return self.starts

    def ordered(self, values: NDArray[Any]) -> NDArray[Any]:
        return values

    def sums(self, values: FloatArray) -> FloatArray:
        return np.asarray(values, dtype=np.float64)

    def means(self, values: FloatArray) -> FloatArray:
        return self.sums(values)

    def draw(self, days: NDArray[np.intp]) -> tuple[Integers, Layout]:
        return days, Layout.of_one(len(days), *self.names, is_panel=self.is_panel)

    def windows_of(
        self, values: NDArray[Any], rows: slice | NDArray[np.intp], length: int
    ) -> NDArray[np.floating[Any]]:
        if not isinstance(rows, slice):
            return super().windows_of(values, rows, length)
        # A view, where a copy would take `length` times as much.
        view = np.lib.stride_tricks.sliding_window_view(values, length, axis=0).transpose(0, 2, 1)
        return np.asarray(view[rows.start - length + 1 : rows.stop - length + 1])


def beside_features(dates: pd.DatetimeIndex, symbols: NDArray[Any]) -> dict[str, Any]:
    """Return the columns that a saved model of a panel takes beside its features: MLflow's dates have no time zone."""
    return {"date": dates if dates.tz is None else dates.tz_convert("UTC").tz_localize(None), "symbol": symbols}


def across_rank(values: FloatArray, layout: Layout) -> FloatArray:
    """Return the rank among the symbols of each row's date, from −0.5 to 0.5, shape (n,).

    Equal values share the mean of their ranks; a symbol that is alone has 0.
    """
    ranks = pd.Series(values).groupby(layout.days).rank().to_numpy()
    several = layout.counts[layout.days] - 1
    return np.where(several > 0, (ranks - 1) / np.maximum(several, 1) - 0.5, 0.0)


def layout_of(dates: pd.Series, symbols: pd.Series, ahead: pd.Series | None = None) -> tuple[Layout, NDArray[np.intp]]:
    """Return the layout of rows in any order, and the places at which its rows are: ``values[order]`` are in its order.

    Parameters
    ----------
    dates, symbols : Series of shape (n,)
    ahead : Series of shape (n,), optional
        See `Layout`; if not given, the dates to the next row of the symbol.

    Raises
    ------
    DataError
        A symbol has a date twice.
    """
    moments, calendar = pd.factorize(dates, sort=True)
    codes, names = pd.factorize(symbols.astype(str), sort=True)
    order = np.lexsort((codes, moments))
    date, symbol = moments[order], codes[order]
    layout = Layout(date, symbol, np.ones_like(date), tuple(map(str, names)))
    twice = np.flatnonzero((np.diff(date) == 0) & (np.diff(symbol) == 0))
    if twice.size:
        row = int(twice[0])
        raise DataError(f"{names[symbol[row]]} has {calendar[date[row]]} twice; expected one row for each date.")
    if ahead is not None:
        return replace(layout, ahead=ahead.to_numpy(dtype=np.intp)[order]), order
    following = np.full(len(date), len(calendar))
    by_symbol = layout.by_symbol
    same = np.diff(symbol[by_symbol]) == 0
    following[by_symbol[:-1][same]] = date[by_symbol[1:][same]]
    return replace(layout, ahead=np.maximum(following - date, 1)), order
