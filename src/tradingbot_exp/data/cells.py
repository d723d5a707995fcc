"""A table of cells that still knows in which line of its file each of them stands.

Nothing is converted before it is used, so that a refused cell can be named by its line and its own text.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tradingbot_exp.data import numbers
from tradingbot_exp.errors import DataError

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cells:
    """A table as its file holds it.

    Attributes
    ----------
    frame : pandas.DataFrame
        The file's columns under the file's names, which may occur twice: text, or numbers where every cell is a plain
        one. Its index is the line in the file (text, the header being line 1) or the row (the first being row 1).
    label : str
        The file, as messages name it.
    unit : str
        ``line`` or ``row``: what the index counts.
    layout : str
        The tool whose layout was recognised, as messages name it; empty for a plain table.
    roles : mapping of str to str
        The column of each role (``date``, ``close``, ...) where the layout says it, as a file without a header has.
    hint : str
        What a message adds where a column is not found.
    marks : str
        The decimal marks that the file may have, as far as its form tells: ``.``, ``,`` or both.
    whole : pandas.DataFrame, optional
        The rows of all instruments, where `frame` has those of one: how numbers and dates are written is told by all.
    told : list of str, optional
        Takes what there is to `say`, where nobody would read it of each of many instruments.
    """

    frame: pd.DataFrame
    label: str
    unit: str
    layout: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""
    marks: str = "."
    whole: pd.DataFrame | None = None
    told: list[str] | None = None

    @property
    def columns(self) -> list[str]:
        """The names of the columns, as the file has them."""
        return [str(column) for column in self.frame.columns]

    @property
    def listed(self) -> str:
        """The names of the columns in a sentence; one without a name is shown as ''."""
        return ", ".join(column or "''" for column in self.columns)

    def column(self, name: str) -> pd.Series:
        """Return a column by its name in the file; one that is there twice is refused."""
        if self.columns.count(name) > 1:
            raise DataError(f"{self.label} has the column {name!r} twice; keep one of them.")
        return self.frame[name]

    def at(self, position: int) -> str:
        """Name the row at `position`: ``bars.csv, line 7``."""
        return f"{self.label}, {self.unit} {self.frame.index[position]}"

    def refuse(self, position: int, problem: str) -> NoReturn:
        """Raise the DataError of the row at `position`: ``bars.csv, line 7: …``."""
        raise DataError(f"{self.at(position)}: {problem}")

    def say(self, text: str) -> None:
        """Tell the user how the file is read: ``bars.csv: …``."""
        if self.told is not None:
            self.told.append(f"{self.label}: {text}")
        else:
            log.warning("%s: %s", self.label, text)

    def rows(self, kept: slice | npt.NDArray[np.bool_]) -> Cells:
        """Return the table with some of its rows, or with its rows in reverse."""
        return replace(self, frame=self.frame[kept])

    def numbers(self, name: str) -> FloatArray:
        """Convert a column to float64, each number read exactly; empty cells and ``NaN`` become NaN.

        Raises
        ------
        DataError
            If a cell is no number, or the file's decimal mark cannot be told.
        """
        series = self.column(name)
        if not pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_bool_dtype(series.dtype):
            return self._parsed(name, numbers.as_text(series))
        if isinstance(series.dtype, np.dtype):
            return series.to_numpy(dtype=np.float64)
        return series.to_numpy(dtype=np.float64, na_value=np.nan)

    def _parsed(self, name: str, text: pa.ChunkedArray) -> FloatArray:
        fitting = {mark: values for mark in self.decimal_marks if (values := numbers.parse(text, mark)) is not None}
        if not fitting:
            position = numbers.first_that_is_none(text, self.decimal_marks)
            self.refuse(position, f"{name} is {text[position].as_py()!r}; expected a number such as 101.25.")
        point, comma = fitting.get("."), fitting.get(",")
        if point is None or comma is None:
            return next(iter(fitting.values()))
        differs = (point != comma) & ~(np.isnan(point) & np.isnan(comma))
        if differs.any():
            position = int(differs.argmax())
            self.refuse(
                position,
                f"{name} is {text[position].as_py()!r}, which is {point[position]:.10g} with a decimal point and "
                f"{comma[position]:.10g} with a decimal comma, and nothing in the file tells which; write numbers "
                "without separators of thousands, and with a decimal point.",
            )
        return point

    @cached_property
    def decimal_marks(self) -> Sequence[str]:
        """The decimal marks that all columns of numbers admit, of those that the form of the file admits."""
        possible = set(self.marks)
        frame = self.frame if self.whole is None else self.whole
        for position in range(frame.shape[1] if len(possible) > 1 else 0):
            series = frame.iloc[:, position]
            if pd.api.types.is_numeric_dtype(series.dtype):
                continue
            text = numbers.as_text(series)
            admitted = {mark for mark in self.marks if numbers.parse(text, mark) is not None}
            possible &= admitted or possible
        return sorted(possible or set(self.marks))
