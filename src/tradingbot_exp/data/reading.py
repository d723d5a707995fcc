"""From a CSV or Parquet file to `Cells`: a header, at least one row, and nothing converted yet."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from pathlib import Path

import pandas as pd

from tradingbot_exp.data.cells import Cells
from tradingbot_exp.errors import DataError, near

_PARQUET = (".parquet", ".pq")


def read_cells(given: str, key: str = "data.path") -> Cells:
    """Read the file that `key` names, relative to the current directory.

    Raises
    ------
    DataError
        If there is no such file, or it is not a table with a header and at least one row.
    """
    path = Path(given).expanduser()
    if path.is_dir():
        raise DataError(f"{key}={given} is a directory; give one CSV or Parquet file in it.")
    if not path.is_file():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{key}={given}: there is no file {path.absolute()}.{near(path.name, siblings)}")
    name = path.name.lower()
    if not name.endswith((".csv", ".csv.gz", *_PARQUET)):
        raise DataError(f"{key}={given}: expected a file that ends in .csv, .csv.gz or .parquet.")
    content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{given} is empty; expected a header and one row for each bar.")
    if name.endswith(_PARQUET):
        return _checked(_parquet(content, given), given, "row")
    if name.endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{given} is not a gzip file ({error}); compress the CSV again.") from error
    return parse_csv(content, given)


def parse_csv(content: bytes, label: str) -> Cells:
    """Read the text of a CSV with a header, all cells as text; blank lines are left out.

    Raises
    ------
    DataError
        If it is not UTF-8 text, not separated by commas, ragged, or has no rows.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise DataError(f"{label} is not a CSV: it holds binary data or another encoding; expected UTF-8 text.")
    first = text.partition("\n")[0]
    separator = next((c for c in ";\t|" if c in first and "," not in first), None)
    if separator is not None:
        raise DataError(
            f"{label} is separated by {separator!r}, not by commas; expected commas between columns and points in "
            "numbers."
        )
    try:
        rows = pd.read_csv(
            io.StringIO(text),
            header=None,
            dtype=str,
            na_filter=False,
            skip_blank_lines=False,
            index_col=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        place = f"{label}, line {found[2]}: {found[3]} cells in a file of {found[1]} columns" if found else label
        raise DataError(f"{place}: not a well-formed CSV ({str(error).strip()}).") from error
    header = [str(cell).strip() for cell in rows.iloc[0]]
    if len(header) == 1:
        raise DataError(
            f"{label} is not a CSV: its only column is {header[0][:80]!r}; expected commas between columns."
        )
    body = rows.iloc[1:].set_axis(header, axis="columns")
    body.index = pd.RangeIndex(2, len(rows) + 1)
    return _checked(body[(body != "").any(axis="columns")], label, "line")


def _parquet(content: bytes, label: str) -> pd.DataFrame:
    try:
        return _with_plain_index(pd.read_parquet(io.BytesIO(content)))
    except (ValueError, OSError) as error:  # pyarrow's errors derive from these two
        raise DataError(f"{label} cannot be read as Parquet ({error}).") from error


def frame_cells(frame: pd.DataFrame, label: str) -> Cells:
    """Take a data frame for a file: its columns, and its index if that has a name or holds times.

    Raises
    ------
    DataError
        If a column is there twice, or there are no rows.
    """
    return _checked(_with_plain_index(frame), label, "row")


def _with_plain_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn the index into columns and count the rows from 1."""
    if isinstance(frame.index, pd.DatetimeIndex) and frame.index.name is None:
        frame = frame.rename_axis(index="date")
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    columns = pd.Index([str(column).strip() for column in frame.columns])
    return frame.set_axis(columns, axis="columns").set_axis(pd.RangeIndex(1, len(frame) + 1), axis="index")


def _checked(frame: pd.DataFrame, label: str, unit: str) -> Cells:
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{label} has the column {twice[0]!r} twice; keep one of them.")
    if frame.empty:
        raise DataError(f"{label} is empty: a header and no rows; expected one row for each bar.")
    return Cells(frame, label, unit)
