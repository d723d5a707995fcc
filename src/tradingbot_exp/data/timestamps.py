"""From a column of timestamps, in any common spelling, to a DatetimeIndex in the file's own time zone."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import pandas as pd

from tradingbot_exp.data.cells import Cells
from tradingbot_exp.errors import DataError, near
from tradingbot_exp.runtime.text import listed

TIME_COLUMNS = ("date", "timestamp", "datetime", "time")
_OFFSET = r":\d{2}(?:\.\d+)?\s*(Z|[+-]\d{2}:?(?:\d{2})?)$"
_Unit = Literal["s", "ms", "us", "ns"]
# By the number of digits, from 1973 on: 1362096000 counts seconds.
_EPOCH_UNITS: dict[int, _Unit] = dict(
    zip((9, 10, 12, 13, 15, 16, 18, 19), ("s", "s", "ms", "ms", "us", "us", "ns", "ns"), strict=True)
)


def time_column(cells: Cells) -> str:
    """Find the one column that holds the time.

    Raises
    ------
    DataError
        If there is none, or more than one.
    """
    found = cells.find(TIME_COLUMNS)
    if not found:
        hint = next((h for name in TIME_COLUMNS if (h := near(name, cells.columns))), "")
        raise DataError(
            f"{cells.label} has no time column; expected one named date or timestamp. Its columns are "
            f"{', '.join(cells.columns)}.{hint}"
        )
    if len(found) > 1:
        raise DataError(f"{cells.label} has the time columns {listed(found)}; join them into one, or keep one.")
    return found[0]


def parse_times(cells: Cells, column: str) -> pd.DatetimeIndex:
    """Parse ISO 8601, common day and month orders, and Unix epochs (taken as UTC).

    Returns
    -------
    pandas.DatetimeIndex of shape (n,)
        Named ``date``, in nanoseconds; naive if the file names no zone, else in the file's zone.

    Raises
    ------
    DataError
        If a timestamp cannot be parsed, several zones are mixed, or days and months cannot be told apart.
    """
    values = cells.frame[column]
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        parsed = pd.DatetimeIndex(values)
    else:
        text = values.astype(str).str.strip()
        digits = text.str.replace(r"\.0+$", "", regex=True)
        unit = _EPOCH_UNITS.get(len(digits.iloc[0])) if digits.iloc[0].isdecimal() else None
        parsed = _from_text(cells, column, text) if unit is None else _from_epoch(digits, unit)
    bad = np.asarray(parsed.isna() | (parsed.year < 1678) | (parsed.year > 2261))
    if bad.any():
        position = int(bad.argmax())
        cells.refuse(
            position,
            f"{column} is {str(values.iloc[position])!r}; expected a time such as 2013-03-01 09:30.",
        )
    return parsed.as_unit("ns").rename("date")


def _from_epoch(digits: pd.Series[str], unit: _Unit) -> pd.DatetimeIndex:
    numbers = pd.to_numeric(digits, errors="coerce").to_numpy()
    return pd.to_datetime(numbers, unit=unit, utc=True, errors="coerce")


def _from_text(cells: Cells, column: str, text: pd.Series[str]) -> pd.DatetimeIndex:
    _refuse_mixed_zones(cells, column, text)
    worded = text.str.fullmatch(r"\s*(now|today)\s*", case=False).to_numpy(dtype=bool)
    if worded.any():  # pandas would read it as the time of this run
        position = int(worded.argmax())
        cells.refuse(position, f"{column} is {text.iloc[position]!r}; expected a time such as 2013-03-01 09:30.")
    iso = pd.to_datetime(text, format="ISO8601", errors="coerce")
    if not iso.isna().any():
        return pd.DatetimeIndex(iso)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pandas tells which order it inferred
        months = pd.to_datetime(text, errors="coerce", dayfirst=False)
        days = pd.to_datetime(text, errors="coerce", dayfirst=True)
    attempts = sorted((iso, months, days), key=lambda parsed: int(parsed.isna().sum()))
    if not months.isna().any() and not days.isna().any() and not months.equals(days):
        position = int((months != days).to_numpy().argmax())
        cells.refuse(
            position,
            f"{column} is {text.iloc[position]!r}: day and month cannot be told apart in this file; "
            "expected a spelling such as 2013-03-01.",
        )
    return pd.DatetimeIndex(attempts[0])


def _refuse_mixed_zones(cells: Cells, column: str, text: pd.Series[str]) -> None:
    zones = text.str.extract(_OFFSET, expand=False).fillna("none").replace({"Z": "+00:00"})
    other = (zones != zones.iloc[0]).to_numpy()
    if other.any():
        position = int(other.argmax())
        cells.refuse(
            position,
            f"{column} is {text.iloc[position]!r}, with the UTC offset {zones.iloc[position]}, but the first "
            f"row has {zones.iloc[0]}: mixed time zones; expected all in one, such as UTC.",
        )
