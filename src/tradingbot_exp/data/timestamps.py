"""From columns of timestamps, in any common spelling, to a DatetimeIndex: each reading tried, none guessed.

Digits are Unix epochs, or dates and times without separators (20240102, 202401020930). Text is a date, a time of day
and a zone, and each different one is parsed once. What fits two readings is refused with both: a reading fits if every
cell has it, if no date is in the future where another reading has none there, and if dates go one way.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tradingbot_exp.data import spelling
from tradingbot_exp.data.cells import Cells
from tradingbot_exp.data.checks import check_index
from tradingbot_exp.data.columns import plain
from tradingbot_exp.data.numbers import as_text
from tradingbot_exp.data.zones import NOT as _NOT
from tradingbot_exp.data.zones import Encoded, Nanoseconds, in_zone
from tradingbot_exp.runtime.text import plural

_EXPECTED = "expected a time such as 2013-03-01 09:30"
_DAY = 86_400 * 10**9
# An epoch's nanoseconds by its size, from 1973 on: 1362096000 counts seconds.
_UNITS = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3), (2**63 - 1, 1))
_LEAST_EPOCH = 10**8
_EPOCH = "an epoch"  # the name of that reading
_TELLING = 10  # so many digits that are all dates are no epochs by chance
_WHOLE = rf"^(?P<date>{spelling.DATE})(?:(?:T|t|[ ,;]+)(?P<clock>{spelling.CLOCK}))?(?: ?(?P<zone>{spelling.ZONE}))?$"


def parse_times(cells: Cells, column: str, time_of_day: str | None = None) -> pd.DatetimeIndex:
    """Parse ISO 8601, common spellings of dates and times, and Unix epochs (taken as UTC).

    Parameters
    ----------
    cells : Cells
    column : str
        Of dates or timestamps.
    time_of_day : str, optional
        The column of times where `column` has dates alone.

    Returns
    -------
    pandas.DatetimeIndex of shape (n,)
        Named ``date``, in nanoseconds; naive if the file names no zone, else in the file's zone, or in UTC where its
        offsets from UTC differ. NaT for a row in the hour that daylight saving leaves out, which the next row is again.

    Raises
    ------
    DataError
        If a timestamp cannot be parsed or has no date, some name a zone and others none, or two readings fit.
    """
    values = cells.column(column)
    if pd.api.types.is_datetime64_any_dtype(values.dtype) and time_of_day is None:
        parsed = pd.DatetimeIndex(values)
        reach = 9_200_000_000 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[parsed.unit]  # of nanoseconds
        bad = np.asarray(parsed.isna()) | (np.abs(parsed.asi8) > reach)
        if bad.any():
            position = int(bad.argmax())
            cells.refuse(position, f"{column} is {str(values.iloc[position])!r}; {_EXPECTED}.")
    else:
        parsed = _from_text(cells, column, as_text(values), time_of_day)
    if parsed.tz is None and any(zone in plain(column) for zone in ("gmt", "utc")):
        parsed = parsed.tz_localize("UTC")
    return parsed.as_unit("ns").rename("date")


def in_order(cells: Cells, index: pd.DatetimeIndex) -> tuple[Cells, pd.DatetimeIndex]:
    """Put rows that have the newest first in reverse, and say it; refuse rows that go neither way, and the future's.

    Returns
    -------
    tuple of Cells and DatetimeIndex
        The oldest first.
    """
    twice = np.asarray(index.isna())
    if twice.any():
        lines = ", ".join(str(line) for line in cells.frame.index[twice])
        cells.say(f"{cells.unit} {lines} is in the hour that daylight saving leaves out, and is left out.")
        cells, index = cells.rows(~twice), index[~twice]
    steps = np.diff(index.asi8)
    if len(steps) and (steps < 0).all():
        cells.say("the newest row is the first; rows are read in reverse.")
        cells, index = cells.rows(slice(None, None, -1)), index[::-1]
    check_index(cells, index)
    now = pd.Timestamp.now("UTC")
    late = index.asi8 > now.as_unit("ns").value + _DAY
    if late.any():
        position = int(late.argmax())
        more = int(late.sum()) - 1
        others = f", as {'is' if more == 1 else 'are'} {plural(more, 'other row')}" if more else ""
        cells.say(
            f"{cells.unit} {cells.frame.index[position]}: {index[position]} is later than now, {now:%Y-%m-%d}{others}: "
            "are the dates right?"
        )
    return cells, index


def _from_text(cells: Cells, column: str, text: pa.ChunkedArray, time_of_day: str | None) -> pd.DatetimeIndex:
    if time_of_day is None:
        try:  # quick, and of one reading: 2013-03-01, 2013-03-01 09:30:00
            return pd.DatetimeIndex(pc.cast(text, pa.timestamp("ns")).to_numpy())
        except pa.ArrowInvalid:
            pass
    text, parts, readings = _readings(text, None if time_of_day is None else as_text(cells.column(time_of_day)))
    fitting = _complete(cells, column, text, readings)
    if len(fitting) > 1 and cells.whole is not None:
        times = [as_text(cells.whole[name]) for name in (column, time_of_day) if name is not None]
        fitting = _as_all_rows_tell(fitting, _readings(*times)[2])
    for fits in (_is_past, _goes_one_way):
        fitting = {name: values for name, values in fitting.items() if fits(values)} or fitting
    if len(fitting) > 1:
        _refuse_two(cells, column, text, fitting)
    chosen = next(iter(fitting))
    index = pd.DatetimeIndex(readings[chosen].view("datetime64[ns]"))
    if chosen == _EPOCH:
        return index.tz_localize(dt.UTC)
    part = next(part for name, part in parts.items() if chosen.endswith(name))
    if part.has_short_years:
        cells.say(f"{column} has years of two digits, read as {index.min().year} to {index.max().year}.")
    return in_zone(cells, column, text, index, part.zones)


def _readings(
    text: pa.ChunkedArray, clocks: pa.ChunkedArray | None = None
) -> tuple[pa.ChunkedArray, dict[str, _Parts], dict[str, Nanoseconds]]:
    """Read text, or dates and the times of day beside them, in every way.

    Returns
    -------
    tuple of ChunkedArray, dict and dict
        The text of each row; what it is taken apart to, by the ways in which digits may be set apart; and the
        nanoseconds of each reading by its name, `_NOT` where a row has none.
    """
    text = pc.replace_substring_regex(text, r"\s+", " ")
    text = pc.replace_substring_regex(text, r"^(-?\d+)\.0+$", r"\1")
    if clocks is None:
        digits = _all_match(text, r"-?\d+(\.\d+)?")
        variants = {"": _spaced(text) if digits else text}
    else:
        digits, variants = False, _joined(text, clocks)
        text = next(iter(variants.values()))
    parts = {name: _Parts(variant) for name, variant in variants.items()}
    readings = {
        f"{order}{name}": part.local(letters)
        for name, part in parts.items()
        for order, letters in spelling.ORDERS.items()
    }
    complete = any((values != _NOT).all() for values in readings.values())
    if digits and not (complete and len(text) >= _TELLING):
        epochs = _epochs(text)
        readings |= {} if epochs is None else {_EPOCH: epochs}
    return text, parts, readings


class _Parts:
    """Text taken apart: dates, times of day, zones; each different one is parsed once."""

    def __init__(self, text: pa.ChunkedArray) -> None:
        fields = pc.extract_regex(text, _WHOLE)
        self._dates, clocks, self.zones = (
            _encoded(pc.struct_field(fields, name)) for name in ("date", "clock", "zone")
        )
        self._clocks = _mapped(clocks, spelling.clock)
        self.has_short_years = any(map(spelling.has_short_year, self._dates[1]))

    def local(self, order: str) -> Nanoseconds:
        """Return the time on the wall in nanoseconds from 1970 on, `_NOT` where it cannot be read in that order."""
        today = pd.Timestamp.now().date()
        dates = _mapped(self._dates, lambda text: spelling.date(text, order, today))
        return np.where((dates == _NOT) | (self._clocks == _NOT), _NOT, dates + self._clocks)


def _encoded(text: pa.ChunkedArray) -> Encoded:
    """Return the place of each cell among the different ones, and those; what is missing has the place behind them."""
    encoded = pc.dictionary_encode(text).combine_chunks()
    names = encoded.dictionary.to_pylist()
    return encoded.indices.fill_null(len(names)).to_numpy().astype(np.int64), names


def _mapped(encoded: Encoded, convert: Callable[[str], int | None]) -> Nanoseconds:
    places, names = encoded
    values = [_NOT if (value := convert(name)) is None else value for name in names]
    return np.array([*values, _NOT], dtype=np.int64)[places]


def _spaced(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Set the hours of 2024010209 apart, and the minutes and seconds of longer ones.

    Ten digits that begin with no year are an epoch: 1024185600 is no hour of the 24th of October 1856.
    """
    text = pc.replace_substring_regex(text, r"^((?:19|20)\d{6})(\d\d)$", r"\1 \200")
    return pc.replace_substring_regex(text, r"^(\d{8})(\d{4}|\d{6}|\d{9})$", r"\1 \2")


def _joined(dates: pa.ChunkedArray, clocks: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Join dates and times of day; digits without their leading zeros may end with minutes or with seconds."""
    clocks = pc.replace_substring_regex(clocks, r"^(\d+)\.0+$", r"\1")
    forms = {"": clocks}
    if _all_match(clocks, r"\d+"):
        lengths = pc.unique(pc.utf8_length(clocks)).to_pylist()
        widths = {" and HHMM": 4} if lengths == [4] else {" and HHMM": 4, " and HHMMSS": 6}
        widths = {" and HHMMSS": 6} if max(lengths) > 4 else widths
        forms = {name: pc.utf8_lpad(clocks, width, "0") for name, width in widths.items()}
    return {name: pc.binary_join_element_wise(dates, form, pa.scalar(" ", dates.type)) for name, form in forms.items()}


def _epochs(text: pa.ChunkedArray) -> Nanoseconds | None:
    """Parse Unix epochs, of several units too, as of a file whose tool went from one to another; None if none are."""
    if not _all_match(text, r"-?\d{1,19}"):
        seconds = pc.cast(text, pa.float64()).to_numpy()
        return (seconds * 1e9).round(-3).astype(np.int64) if _LEAST_EPOCH <= np.abs(seconds).max() < 10**11 else None
    try:
        numbers = pc.cast(text, pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    size = np.abs(numbers)
    if size.max() < _LEAST_EPOCH:
        return None
    most = next(limit for limit, _ in _UNITS if size.max() <= limit)
    scale = np.select([size < limit for limit, _ in _UNITS], [factor for _, factor in _UNITS], 1)
    by_row = _within(numbers, scale)
    if (by_row != _NOT).all() and (_goes_one_way(by_row) or len(set(scale)) == 1):
        return by_row
    return _within(numbers, np.full(len(numbers), dict(_UNITS)[most]))  # begins before 1973


def _within(numbers: Nanoseconds, scale: Nanoseconds) -> Nanoseconds:
    fits = np.abs(numbers) <= np.iinfo(np.int64).max // scale
    return np.where(fits, np.where(fits, numbers, 0) * scale, _NOT)


def _complete(
    cells: Cells, column: str, text: pa.ChunkedArray, readings: dict[str, Nanoseconds]
) -> dict[str, Nanoseconds]:
    """Return the readings that every row has, each with other moments; refuse the file if there is none."""
    complete: dict[str, Nanoseconds] = {}
    for name, values in readings.items():
        if (values != _NOT).all() and not any(np.array_equal(values, other) for other in complete.values()):
            complete[name] = values
    if not complete:
        best = min(readings.values(), key=lambda values: int((values == _NOT).sum()))
        _refuse_first(cells, column, text, best == _NOT)
    return complete


def _as_all_rows_tell(fitting: dict[str, Nanoseconds], whole: dict[str, Nanoseconds]) -> dict[str, Nanoseconds]:
    """Keep those of the readings that fit the rows of all instruments best."""
    shared = {name: whole[name] for name in fitting if name in whole}
    faults = {name: (int((values == _NOT).sum()), not _is_past(values)) for name, values in shared.items()}
    return {name: fitting[name] for name, each in faults.items() if each == min(faults.values())} or fitting


def _is_past(values: Nanoseconds) -> bool:
    return bool(values.max() <= pd.Timestamp.now("UTC").as_unit("ns").value + _DAY)


def _refuse_two(cells: Cells, column: str, text: pa.ChunkedArray, readings: dict[str, Nanoseconds]) -> NoReturn:
    (one, first), (other, second) = list(readings.items())[:2]
    position = int((first != second).argmax())
    days = one.split()[0] != other.split()[0] and _EPOCH not in (one, other)
    apart = "day and month cannot be told apart in this file" if days else "two readings fit this file"
    cells.refuse(
        position,
        f"{column} is {text[position].as_py()!r}: {apart}: {pd.Timestamp(first[position])} ({one}) or "
        f"{pd.Timestamp(second[position])} ({other}); expected a spelling such as 2013-03-01.",
    )


def _goes_one_way(values: Nanoseconds) -> bool:
    steps = np.diff(values)
    return bool((steps > 0).all() or (steps < 0).all())


def _all_match(text: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(text, f"^(?:{pattern})$"), min_count=0).as_py())


def _refuse_first(cells: Cells, column: str, text: pa.ChunkedArray, bad: npt.NDArray[np.bool_]) -> NoReturn:
    """Refuse the first bad cell."""
    position = int(bad.argmax())
    given = text[position].as_py()
    dateless = ": it has no date" if given and not given.isdecimal() and spelling.clock(given) is not None else ""
    cells.refuse(position, f"{column} is {given!r}{dateless}; {_EXPECTED}.")
