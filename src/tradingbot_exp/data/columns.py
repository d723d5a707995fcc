"""Which column of a file is the date, the close, the volume: by the names that tools give, or by ``data.columns``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tradingbot_exp.data.cells import Cells
from tradingbot_exp.errors import ConfigError, DataError, near
from tradingbot_exp.runtime.text import at_most

if TYPE_CHECKING:
    from tradingbot_exp.config.schema import DataConfig

PRICES = ("open", "high", "low", "close")
OHLCV = (*PRICES, "volume")
SYMBOL_COLUMNS = ("symbol", "ticker", "instrument", "asset")
TIME_COLUMNS = ("date", "timestamp", "datetime", "time")
# The names of each role, reduced to letters and digits; those of a later row count where no other is there.
_NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "date": (
        TIME_COLUMNS,
        (
            "gmttime",
            "localtime",
            "opentime",
            "windowstart",
            "datetimeutc",
            "dateutc",
            "timeutc",
            "dtyyyymmdd",
            "tradedate",
        ),
        ("unix", "unixtimestamp", "t"),
        ("index", ""),
    ),
    "open": (("open",), ("openprice", "o")),
    "high": (("high",), ("highprice", "h")),
    "low": (("low",), ("lowprice", "l")),
    "close": (("close",), ("closelast", "closeprice", "price", "c")),
    "volume": (("volume",), ("vol",), ("tickvol", "tickvolume", "basevolume", "v")),
    "adj_close": (("adjclose", "adjustedclose", "adjusted", "closeadjusted", "closeadj", "adjcloseprice", "adjprice"),),
    "symbol": (SYMBOL_COLUMNS,),
}
_LISTED = 20  # how many instruments a message names
_TIME_OF_DAY = r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?|\d{3,6}|0+"
_LOOKS_ADJUSTED = re.compile(r"(?<!un)adj")


def plain(column: str) -> str:
    """Reduce a column's name to its letters and digits: ``Adj Close``, ``<CLOSE>`` and ``4. close`` are names alike.

    A number in front and a currency in brackets behind are left out.
    """
    bare = re.sub(r"^\d+[a-z]?\. *|\([A-Z]{3,4}\)$", "", column.strip())
    return re.sub(r"[\s_\-./<>*$()]", "", bare).lower()


def role_of(name: str) -> str | None:
    """Return the role of which `name` is one of the names; None for any other, and for no name."""
    reduced = plain(name)
    found = (role for role, ranks in _NAMES.items() if any(reduced in rank for rank in ranks))
    return next(found, None) if reduced else None


def named_columns(config: DataConfig) -> dict[str, str]:
    """Return what ``data.columns`` says: the file's column of each role that is named."""
    named = {role: getattr(config.columns, role) for role in (*_NAMES, "time")}
    return {role: str(column) for role, column in named.items() if column is not None}


def find_column(cells: Cells, role: str, named: Mapping[str, str]) -> str | None:
    """Find the column of a role: by `named`, by the layout, or by its name, whatever its case, spaces and signs.

    Raises
    ------
    ConfigError
        If `named` says a column that is not there.
    DataError
        If two columns have the role.
    """
    if role in named:
        return _given(cells, role, named[role])
    if cells.roles:
        return cells.roles.get(role)
    for rank in _NAMES[role]:
        found = [column for column in cells.columns if plain(column) in rank]
        if len(found) > 1:
            raise DataError(
                f"{cells.label} has the column {role!r} twice, as {' and '.join(found)}; keep one, or name it: "
                f"data.columns={{{role}: {found[0]}}}."
            )
        if found:
            return found[0]
    return None


def time_columns(cells: Cells, named: Mapping[str, str]) -> tuple[str, str | None]:
    """Find the column of dates or timestamps, and the one of times of day where they are apart.

    Raises
    ------
    ConfigError, DataError
        If there is none, or more than one.
    """
    time = _given(cells, "time", named["time"]) if "time" in named else cells.roles.get("time")
    both = [column for column in cells.columns if plain(column) in TIME_COLUMNS]
    if len(both) > 1 and "date" not in named and not cells.roles:
        of_day = next((column for column in both if plain(column) == "time"), None) if time is None else time
        if len(both) > 2 or of_day is None or not _is_time_of_day(cells, of_day):
            raise DataError(
                f"{cells.label} has the time columns {' and '.join(both)}; join them into one, keep one, or name it: "
                f"data.columns={{date: {both[0]}}}."
            )
        return next(column for column in both if column != of_day), of_day
    found = find_column(cells, "date", named)
    if found is None:
        hint = next((h for name in TIME_COLUMNS if (h := near(name, cells.columns))), "")
        raise DataError(
            f"{cells.label} has no time column; expected one named date or timestamp, or data.columns={{date: NAME}}. "
            f"Its columns are {cells.listed}.{hint}{cells.hint}"
        )
    return found, time


def _is_time_of_day(cells: Cells, column: str) -> bool:
    return bool(cells.column(column).astype(str).str.strip().str.fullmatch(_TIME_OF_DAY).all())


def bar_columns(
    cells: Cells, named: Mapping[str, str], symbol: str | None, needs_volume: bool = True
) -> dict[str, str]:
    """Find the columns of prices, and those of volume and adjusted close where the file has them; say what is unusual.

    Two columns of the volume are refused only if it is needed.

    Returns
    -------
    dict of str to str
        By role.
    """
    found: dict[str, str] = {}
    for role in PRICES:
        column = find_column(cells, role, named)
        if column is None:
            raise DataError(f"{missing(cells, role)}{near(role, cells.columns)}{cells.hint}")
        found[role] = column
    try:
        volume = _volume(cells, named, symbol)
    except DataError:
        if needs_volume:
            raise
        volume = None
    adjusted = find_column(cells, "adj_close", named)
    found |= {} if volume is None else {"volume": volume}
    found |= {} if adjusted is None else {"adj_close": adjusted}
    unusual = [
        f"{role} is {column!r}"
        for role, column in found.items()
        if plain(column) != plain(role) and role not in named and not cells.roles
    ]
    if cells.layout or unusual:
        cells.say(f"read as {cells.layout or 'bars'}{': ' if unusual else ''}{', '.join(unusual)}.")
    _name_unused(cells, found)
    return found


def missing(cells: Cells, role: str) -> str:
    """Say that the file has no column of that role."""
    return (
        f"{cells.label} has no column {role!r}; it has {cells.listed}; bars need date, {', '.join(OHLCV)}. Name it if "
        f"it is called otherwise: data.columns={{{role}: NAME}}."
    )


def _given(cells: Cells, role: str, column: str) -> str:
    if column not in cells.columns:
        raise ConfigError(
            f"data.columns.{role}={column}: {cells.label} has no such column; it has {cells.listed}."
            f"{near(column, cells.columns)}"
        )
    return column


def _volume(cells: Cells, named: Mapping[str, str], symbol: str | None) -> str | None:
    """Find the volume: of ticks where the traded one is 0, and of several currencies that of what is traded."""
    found = find_column(cells, "volume", named)
    if found is not None and plain(found) == "vol":
        ticks = next((column for column in cells.columns if plain(column) in ("tickvol", "tickvolume")), None)
        return ticks if ticks is not None and not np.any(cells.numbers(found)) else found
    if found is not None or cells.roles:
        return found
    each = {plain(column)[6:].upper(): column for column in cells.columns if plain(column).startswith("volume")}
    if len(each) == 1:
        return next(iter(each.values()))
    base = re.sub(r"\W", "", symbol or "").upper()
    return next((column for currency, column in each.items() if currency and base.startswith(currency)), None)


def _name_unused(cells: Cells, found: Mapping[str, str]) -> None:
    """Name the columns that look adjusted and are not used."""
    used = set(found.values())
    looks = [column for column in cells.columns if _LOOKS_ADJUSTED.search(column.lower()) and column not in used]
    if looks:
        listed = ", ".join(repr(column) for column in looks)
        by = f"if one is the adjusted close, say data.columns={{adj_close: {looks[0]}}}"
        if "adj_close" in found:
            by = f"prices are adjusted by {found['adj_close']!r}"
        cells.say(f"columns that look adjusted and are not used: {listed}; {by}.")


def select_symbol(
    cells: Cells, symbol: str | None, named: Mapping[str, str], key: str = "data.symbol"
) -> tuple[Cells, str | None]:
    """Keep the rows of one instrument, where a column names several.

    Returns
    -------
    tuple of Cells and (str or None)
        The rows, without the column that names the instrument, and the instrument if known.

    Raises
    ------
    ConfigError
        If there are several and `key` does not say which, or says one that is not there.
    """
    found = symbols_in(cells, named)
    if found is None:
        return cells, symbol
    column, names = found
    known = sorted(names.unique())
    listed = at_most(known, _LISTED)
    if symbol is None and len(known) > 1:
        more = ", or all of them as a panel, data.symbols=all" if key == "data.symbol" else ""
        raise ConfigError(
            f"{cells.label} holds {len(known)} instruments in its column {column!r}: {listed}. Choose one, "
            f"as in {key}={known[0]}{more}."
        )
    chosen = known[0] if symbol is None else str(symbol)
    if chosen not in known:
        raise ConfigError(
            f"{key}={chosen}: not in the column {column!r} of {cells.label}, which holds {listed}.{near(chosen, known)}"
        )
    cells = replace(cells, frame=cells.frame.drop(columns=column))
    if len(known) > 1:
        cells = replace(cells.rows((names == chosen).to_numpy()), whole=cells.frame)
    return cells, chosen


def symbols_in(cells: Cells, named: Mapping[str, str]) -> tuple[str, pd.Series[str]] | None:
    """Return the column that names instruments, and what it names in each row; None without such a column."""
    columns = [named["symbol"]] if "symbol" in named else [c for c in cells.columns if plain(c) in SYMBOL_COLUMNS]
    if not columns or (cells.roles and "symbol" not in named):
        return None
    column = _given(cells, "symbol", columns[0])
    # 600519 may be there as a number.
    return column, cells.column(column).astype(str).str.strip().str.replace(r"\.0$", "", regex=True)


def select_each(cells: Cells, named: Mapping[str, str]) -> dict[str, Cells] | None:
    """Return the rows of each instrument, by its name; None where no column names any."""
    found = symbols_in(cells, named)
    if found is None:
        return None
    column, names = found
    codes, known = names.factorize(sort=True)
    rest = replace(cells, frame=cells.frame.drop(columns=column))
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    return {
        str(name): replace(rest, frame=rest.frame.take(rows), label=f"{cells.label}, {name}", whole=rest.frame)
        for name, rows in zip(known, parts, strict=True)
    }
