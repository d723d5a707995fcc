"""From times on the wall, and the zones that stand behind them, to moments."""

from __future__ import annotations

import datetime as dt

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tradingbot_exp.data import spelling
from tradingbot_exp.data.cells import Cells

Nanoseconds = npt.NDArray[np.int64]
Encoded = tuple[npt.NDArray[np.int64], list[str]]
"""Of each row the place of its text in a list of the different ones."""
NOT = np.iinfo(np.int64).min  # pandas' NaT


def in_zone(
    cells: Cells, column: str, text: pa.ChunkedArray, index: pd.DatetimeIndex, encoded: Encoded
) -> pd.DatetimeIndex:
    """Give times on the wall the zone that stands behind them: UTC where there are several."""
    places, names = encoded
    zones = [spelling.zone(name) for name in names]
    for place, name in enumerate(names):
        if zones[place] is None and name:
            position = int((places == place).argmax())
            cells.refuse(
                position,
                f"{column} is {text[position].as_py()!r}, whose time zone {name!r} has no one meaning; expected an "
                "offset such as -05:00, UTC, or a name such as America/New_York.",
            )
    different = list(dict.fromkeys(zones))
    if different == [None]:
        return index
    if len(different) > 1 and not all(isinstance(each, dt.timezone) for each in different):
        position = int((places != places[0]).argmax())
        first, other = (names[places[row]] or "none" for row in (0, position))
        cells.refuse(
            position,
            f"{column} is {text[position].as_py()!r}, with the zone {other}, but the first row has {first}: mixed time "
            "zones; expected all in one, such as UTC.",
        )
    if len(different) == 1:
        try:
            return index.tz_localize(different[0], ambiguous="infer")
        except ValueError:
            return _localized(cells, column, text, index, different[0])
    shifts = [each.utcoffset(None) for each in zones if isinstance(each, dt.timezone)]
    offsets = np.array([shift // dt.timedelta(microseconds=1) * 1000 for shift in shifts])
    cells.say(f"{column} has the offsets {', '.join(names)} from UTC, as with daylight saving; times are read in UTC.")
    moments = index.asi8 - offsets[places]
    again = np.flatnonzero((moments[1:] == moments[:-1]) & (places[1:] != places[:-1]))
    moments[again + (index.asi8[again + 1] < index.asi8[again])] = NOT
    return pd.DatetimeIndex(moments.view("datetime64[ns]")).tz_localize(dt.UTC)


def _localized(
    cells: Cells, column: str, text: pa.ChunkedArray, index: pd.DatetimeIndex, zone: dt.tzinfo | None
) -> pd.DatetimeIndex:
    """Give times a zone with daylight saving; the hour that there is twice, or not at all, is refused by its line."""
    local = index.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    bad = np.asarray(local.isna())
    if bad.any():
        position = int(bad.argmax())
        cells.refuse(
            position, f"{column} is {text[position].as_py()!r}, which is not one moment in its zone; give it in UTC."
        )
    return local
