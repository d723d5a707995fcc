"""A table of cells that still knows in which line of its file each of them stands.

Nothing is converted before it is used, so that a refused cell can be named by its line and its own text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from tradingbot_exp.errors import ConfigError, DataError, near
from tradingbot_exp.runtime.text import listed

FloatArray = npt.NDArray[np.float64]

SYMBOL_COLUMNS = ("symbol", "ticker", "instrument", "asset")
_MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>")
_LISTED = 20  # how many instruments a message names


@dataclass(frozen=True, eq=False)
class Cells:
    """A table as its file holds it.

    Attributes
    ----------
    frame : pandas.DataFrame
        The file's columns under the file's names, text for a CSV. Its index is the line in the file (CSV, the
        header being line 1) or the row (Parquet, the first being row 1).
    label : str
        The file, as messages name it.
    unit : str
        ``line`` or ``row``: what the index counts.
    """

    frame: pd.DataFrame
    label: str
    unit: str

    @property
    def columns(self) -> list[str]:
        """The names of the columns, as the file has them."""
        return [str(column) for column in self.frame.columns]

    def refuse(self, position: int, problem: str) -> NoReturn:
        """Raise the DataError of the row at `position`: ``bars.csv, line 7: …``."""
        raise DataError(f"{self.label}, {self.unit} {self.frame.index[position]}: {problem}")

    def find(self, names: Sequence[str]) -> list[str]:
        """Return the columns that are one of `names`, whatever their case, spaces, ``_``, ``-`` and ``.``."""
        return [column for column in self.columns if plain(column) in names]

    def find_one(self, name: str) -> str | None:
        """Return the column that is `name`, or None; two of them are refused."""
        found = self.find([name])
        if len(found) > 1:
            raise DataError(f"{self.label} has the column {name!r} twice, as {listed(found)}; keep one.")
        return found[0] if found else None


def plain(column: str) -> str:
    """Reduce a column's name to its letters and digits: ``Adj Close`` and ``adj_close`` are one."""
    return re.sub(r"[\s_\-.]", "", column).lower()


def select_symbol(cells: Cells, symbol: str | None, key: str = "data.symbol") -> tuple[Cells, str | None]:
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
    columns = cells.find(SYMBOL_COLUMNS)
    if not columns:
        return cells, symbol
    column = columns[0]
    names = cells.frame[column].astype(str).str.strip()
    known = sorted(names.unique())
    listed = ", ".join(known[:_LISTED]) + (f", … ({len(known)} in all)" if len(known) > _LISTED else "")
    if symbol is None and len(known) > 1:
        raise ConfigError(
            f"{cells.label} holds {len(known)} instruments in its column {column!r}: {listed}. Choose one, "
            f"as in {key}={known[0]}."
        )
    chosen = known[0] if symbol is None else str(symbol)
    if chosen not in known:
        raise ConfigError(
            f"{key}={chosen}: not in the column {column!r} of {cells.label}, which holds {listed}.{near(chosen, known)}"
        )
    kept = cells.frame[names == chosen].drop(columns=column)
    return Cells(kept, cells.label, cells.unit), chosen


def to_numbers(cells: Cells, column: str) -> FloatArray:
    """Convert a column to float64, each number read exactly; empty cells and ``NaN`` become NaN.

    Raises
    ------
    DataError
        If a cell is no number.
    """
    series = cells.frame[column]
    if pd.api.types.is_numeric_dtype(series.dtype):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    values: npt.NDArray[Any] = series.mask(series.isin(_MISSING)).to_numpy(dtype=object, na_value=np.nan)
    try:
        return values.astype(np.float64)
    except (ValueError, TypeError):
        position = next(i for i, value in enumerate(values) if not _is_number(value))
        cells.refuse(position, f"{column} is {str(values[position])!r}; expected a number such as 101.25.")


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (ValueError, TypeError):
        return False
    return True
